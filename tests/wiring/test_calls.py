"""What a method cannot be called with is told at start-up, not by the first write."""

from __future__ import annotations

import ast
import functools
import inspect
from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.test.utils import override_settings

from django_signal_kit import ModelReceiver, Receiver, receivers
from django_signal_kit.checks import check_signal_kit
from django_signal_kit.exceptions import Misconfigured
from django_signal_kit.wiring import catalog
from django_signal_kit.wiring.calls import check_calls, check_init
from django_signal_kit.wiring.classes import check_set
from tests.sources import get_modules

SIGNALS = catalog.get_paths()
SAVE = "signal, sender, instance, using, created, raw, update_fields"


def make(base: Any, source: str) -> Any:
    """A subclass of ``base`` with methods as they are written."""
    namespace: dict[str, Any] = {"functools": functools}
    exec(source, namespace)
    del namespace["__builtins__"], namespace["functools"]
    return type("A", (base,), {**namespace, "__module__": "shop.signals", "__qualname__": "A"})


def refuse(cls: Any, **options: Any) -> str:
    with pytest.raises(Misconfigured) as raised:
        check_calls(cls(**options), SIGNALS)
    return str(raised.value)


@pytest.mark.parametrize(
    ("source", "why", "remedy"),
    [
        ("def post_save(self, instance): 1", "takes no **kwargs", "self, instance, **kwargs"),
        ("def post_save(self): 1", "takes no **kwargs", "self, **kwargs"),
        ("def post_save(): 1", "takes no **kwargs", "self, **kwargs"),
        ("def post_save(self, *args): 1", "takes no **kwargs", "self, **kwargs"),
        (
            "def post_save(self, sender, instance, created): 1",
            "takes no **kwargs",
            "self, sender, instance, created, **kwargs",
        ),
        (
            "def post_save(self, instance, create, **kwargs): 1",
            "asks for 'create', which is none of them",
            "self, instance, created, **kwargs",
        ),
        (
            "def post_save(self, instance, *, is_new, **kwargs): 1",
            "asks for 'is_new', which is none of them",
            "self, instance, **kwargs",
        ),
        (
            "def post_save(self, instance, crated=False, **kwargs): 1",
            "asks for 'crated', which is none of them",
            "self, instance, created, **kwargs",
        ),
        (
            "def post_save(self, instance, /, **kwargs): 1",
            "takes 'instance' by position only",
            "self, instance, **kwargs",
        ),
        (
            "def post_save(instance, **kwargs): 1",
            "has 'instance' in the place of 'self'",
            "self, instance, **kwargs",
        ),
        (
            "@staticmethod\ndef post_save(self, instance, **kwargs): 1",
            "asks for 'self', which is none of them",
            "self, instance, **kwargs",
        ),
        (
            "@functools.cache\ndef post_save(self, instance): 1",
            "takes no **kwargs",
            "self, instance, **kwargs",
        ),
        ("post_save = lambda self: 1", "takes no **kwargs", "self, **kwargs"),
    ],
)
def test_a_signal_method_that_cannot_be_called_is_told(source: str, why: str, remedy: str) -> None:
    assert refuse(make(ModelReceiver, source)) == (
        f"shop.signals.A.post_save() is called by name, with {SAVE}, and {why}. "
        f"Write def post_save({remedy}). (signal_kit.E043)"
    )


def test_an_async_method_is_told_of_as_one() -> None:
    said = refuse(make(ModelReceiver, "async def post_save(self, instance): 1"))
    assert "Write async def post_save(self, instance, **kwargs)." in said


@pytest.mark.parametrize("signal", [name for name in SIGNALS if name in catalog.ARGUMENTS])
def test_each_signal_is_checked(signal: str) -> None:
    base = ModelReceiver if signal in catalog.MODEL_SIGNALS else Receiver
    for arguments in ("self", "self, sender", "self, nothing_like_it, **kwargs"):
        said = refuse(make(base, f"def {signal}({arguments}): 1"))
        assert said.startswith(f"shop.signals.A.{signal}() is called by name, with signal, sender")
    given = ", ".join(["sender", *catalog.ARGUMENTS[signal]])
    check_calls(make(base, f"def {signal}(self, {given}, **rest): 1")(), SIGNALS)
    check_calls(make(base, f"async def {signal}(self, **kwargs): 1")(), SIGNALS)


@pytest.mark.parametrize(
    "source",
    [
        "def post_save(self, instance, created, **kwargs): 1",
        "def post_save(this, instance, **kwargs): 1",
        "def post_save(self, *args, **kwargs): 1",
        "def post_save(self, *, instance, raw=False, force=False, **extra): 1",
        "async def post_save(self, instance, signal, sender, **kwargs): 1",
        "@staticmethod\ndef post_save(instance, **kwargs): 1",
        "@classmethod\ndef post_save(cls, instance, **kwargs): 1",
        "post_save = functools.partialmethod(lambda self, x, **kwargs: 1, 5)",
        "post_save = staticmethod(functools.partial(lambda **kwargs: 1))",
        "post_save = None",
        "def pre_init(self, *args, **kwargs): 1",
        "def pre_init(self, args, **kwargs): 1",
        "def post_delete(self, instance, origin, **kwargs): 1",
    ],
)
def test_a_signal_method_that_can_be_called_is_not_told(source: str) -> None:
    check_calls(make(ModelReceiver, source)(), SIGNALS)


def test_what_an_extra_signal_sends_nobody_knows() -> None:
    signals = [*SIGNALS, "paid"]
    check_calls(make(Receiver, "def paid(self, order, amount, **kwargs): 1")(), signals)
    for arguments in ("self, order", "self, order, /, **kwargs"):
        with pytest.raises(Misconfigured, match="is called by name, with what the signal sends,"):
            check_calls(make(Receiver, f"def paid({arguments}): 1")(), signals)


def test_what_get_methods_gives_is_checked() -> None:
    cls = make(
        Receiver,
        "def get_methods(self, signal_names): return {'setting_changed': self.follow}\n"
        "def follow(self, setting): 1",
    )
    said = refuse(cls)
    assert said.startswith("shop.signals.A.setting_changed() is called by name, with signal, sen")


@pytest.mark.parametrize(
    ("base", "source", "sentence"),
    [
        (
            "AuditLog",
            "def get_changes(self, instance): 1",
            "shop.signals.A.get_changes() is called as get_changes(instance, old, new), and that "
            "fails: too many positional arguments. Write def get_changes(self, instance, old, "
            "new). (signal_kit.E043)",
        ),
        ("AuditLog", "def get_actor(): 1", "get_actor(), and that fails: too many positional"),
        (
            "AuditLog",
            "def get_changes(self, instance, old, new, more): 1",
            "and that fails: missing a required argument: 'more'. Write def get_changes(self, ins",
        ),
        (
            "AuditLog",
            "def should_record(self, *, instance, action, changes): 1",
            "is called as should_record(instance, action, changes), and that fails: ",
        ),
        (
            "AuditLog",
            "def record(self, instance, action, changes, *, using): 1",
            "is called as record(instance, action, changes, *, using, certain=True), and that "
            "fails: got an unexpected keyword argument 'certain'.",
        ),
        (
            "AuditLog",
            "def record(self, instance, action, changes, *, using, certain): 1",
            "and that fails: missing a required argument: 'certain'. Write def record(self, ins",
        ),
        (
            "AuditLog",
            "def record(self, instance, action, changes, using, /, certain=True): 1",
            "and that fails: ",
        ),
        ("FileCleanup", "def should_delete(file): 1", "should_delete(file), and that fails: too "),
        (
            "FileCleanup",
            "@staticmethod\ndef should_delete(self, file): 1",
            "and that fails: missing a required argument: 'file'",
        ),
        (
            "LoginLog",
            "def record(self, action, request, user): 1",
            "is called as record(action, request, user, **more), and takes no **more.",
        ),
        (
            "AuditLog",
            "def links_changed(self, change): 1",
            "shop.signals.A.links_changed() is called by name, with change, using, and takes no "
            "**kwargs. Write def links_changed(self, change, **kwargs).",
        ),
        (
            "AuditLog",
            "def links_changed(self, changed, **kwargs): 1",
            "and asks for 'changed', which is none of them. Write def links_changed(self, change,",
        ),
        ("CacheInvalidation", "def flush(self): 1", "is called as flush(items), and that fails"),
        ("CacheInvalidation", "def get_keys(self, instance, row): 1", "get_keys(instance), and"),
        ("Validate", "def check(self, app_configs): 1", "is called as check(), and that fails: "),
        (
            "ModelExtension",
            "def get_fields(self): 1",
            "Write def get_fields(self, model). (signal_kit.E043)",
        ),
    ],
)
def test_a_hook_that_cannot_be_called_is_told(base: str, source: str, sentence: str) -> None:
    assert sentence in refuse(make(getattr(receivers, base), source))


@pytest.mark.parametrize(
    ("base", "source"),
    [
        ("AuditLog", "def get_changes(self, row, before, after): 1"),
        ("AuditLog", "def get_changes(self, *args): 1"),
        ("AuditLog", "def get_changes(self, instance, old, new=None, more=None): 1"),
        ("AuditLog", "def get_changes(self, instance, old, new, /): 1"),
        ("AuditLog", "@functools.cache\ndef get_actor(self): 1"),
        ("AuditLog", "def record(self, *args, **kwargs): 1"),
        ("AuditLog", "@staticmethod\ndef get_actor(): 1"),
        ("FileCleanup", "@staticmethod\ndef should_delete(file): 1"),
        ("FileCleanup", "@classmethod\ndef should_delete(cls, file): 1"),
        ("FileCleanup", "should_delete = functools.partialmethod(lambda self, x, file: 1, 5)"),
        ("FileCleanup", "should_delete = dict"),
        ("WelcomeEmail", "def should_send(this, row): 1"),
        ("CacheInvalidation", "async def flush(self, items): 1"),
        ("AuditLog", "def links_changed(self, change, **more): 1"),
    ],
)
def test_a_hook_that_can_be_called_is_not_told(base: str, source: str) -> None:
    check_calls(make(getattr(receivers, base), source)(), SIGNALS)


def test_every_hook_of_every_ready_made_may_be_written_as_it_is() -> None:
    for name in receivers.__all__:
        cls = getattr(receivers, name)
        methods = {
            each: value
            for base in reversed(cls.__mro__[:-1])
            for each, value in vars(base).items()
            if not each.startswith("_") and callable(value)
        }
        check_calls(type("A", (cls,), {**methods, "__module__": "shop.signals"})(), SIGNALS)


@pytest.mark.parametrize(
    ("base", "source", "written"),
    [
        ("FileCleanup", "async def should_delete(self, file): 1", "should_delete(self, file)"),
        ("AuditLog", "async def get_actor(self): 1", "get_actor(self)"),
        ("CacheInvalidation", "async def get_keys(self, instance): yield 1", "get_keys(self, ins"),
        (
            "AuditLog",
            "async def links_changed(self, change, **kwargs): 1",
            "links_changed(self, change, **kwargs)",
        ),
        ("WelcomeEmail", "async def welcome(self, user, **kwargs): 1", "welcome(self, user, **kw"),
    ],
)
def test_a_hook_that_is_async_is_told(base: str, source: str, written: str) -> None:
    said = refuse(make(getattr(receivers, base), source))
    assert said.startswith(f"shop.signals.A.{written.partition('(')[0]}() is async, and whoever")
    assert f"Write def {written}" in said
    assert said.endswith("so may flush(). (signal_kit.E044)")


def test_a_hook_that_receives_a_signal_may_be_async() -> None:
    cls = make(receivers.WelcomeEmail, "async def receive(self, **kwargs): 1")
    check_calls(cls(signal="user_logged_in"), SIGNALS)


@pytest.mark.parametrize("arguments", ["self", "self, model, **options", "*, models"])
def test_a_class_that_does_not_take_its_options_is_told(arguments: str) -> None:
    cls = make(ModelReceiver, f"def __init__({arguments}): 1")
    with pytest.raises(Misconfigured) as raised:
        check_init(cls, {"models": []})
    assert str(raised.value).startswith(
        "shop.signals.A.__init__() is called by name, with the options that are set, models, and "
        "that fails: "
    )
    assert "Write def __init__(self, **options), and call super()" in str(raised.value)


def test_a_class_that_takes_its_options_is_not_told() -> None:
    check_init(make(ModelReceiver, "def __init__(self): 1"), {})
    check_init(make(ModelReceiver, "def __init__(self, **options): 1"), {"models": []})
    check_init(receivers.InstanceMonitor, {"limit": 5})


class Base(ModelReceiver):
    """A base class of a project, with hooks of its own."""

    def post_save(self, instance: Any, **kwargs: Any) -> None: ...

    def get_tenant(self, instance: Any, using: str) -> Any: ...

    async def get_answer(self, question: str) -> Any: ...


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (
            "def get_tenant(self): 1",
            "A.get_tenant() is called as get_tenant(instance, using), and",
        ),
        ("async def get_tenant(self, instance, using): 1", "A.get_tenant() is async, and whoever"),
        ("def post_save(self, instance): 1", "A.post_save() is called by name, with signal, "),
    ],
)
def test_the_hooks_of_a_base_of_ones_own_are_held_to_it(source: str, sentence: str) -> None:
    assert f"shop.signals.{sentence}" in refuse(make(Base, source))


@pytest.mark.parametrize(
    "source",
    [
        "def get_tenant(self, row, using): 1",
        "def get_tenant(self, *, instance, using): 1",
        "def get_tenant(self, using, instance): 1",
        "async def get_answer(self, question): 1",
    ],
)
def test_a_base_of_ones_own_may_call_by_position_or_by_name(source: str) -> None:
    check_calls(make(Base, source)(), SIGNALS)


def test_a_mistake_in_a_base_is_told_with_the_base() -> None:
    base = make(receivers.FileCleanup, "def should_delete(self): 1")
    assert "shop.signals.A.should_delete() " in refuse(type("B", (base,), {"__module__": "x"}))
    # What is overridden again is never called.
    check_calls(make(base, "def should_delete(self, file): 1")(), SIGNALS)


class Bare(ModelReceiver):
    def post_save(self, instance: Any) -> None: ...  # type: ignore[misc]


@pytest.mark.parametrize("debug", [True, False])
def test_the_start_and_the_check_say_it_whatever_debug_is(
    debug: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = {"RECEIVER": f"{__name__}.Bare", "OPTIONS": {"models": ["testapp.Tag"]}}
    signal_kit = {"RECEIVERS": [entry]}
    monkeypatch.setattr(settings, "DEBUG", debug)
    with pytest.raises(ImproperlyConfigured) as raised:
        with override_settings(SIGNAL_KIT=signal_kit):
            pass
    assert str(raised.value).startswith(f"{__name__}.Bare.post_save() is called by name, with ")
    monkeypatch.setattr(settings, "SIGNAL_KIT", signal_kit)
    (message,) = check_signal_kit()
    assert f"{message.msg} {message.hint} ({message.id})" == str(raised.value)


def list_hooks() -> dict[str, list[Any]]:
    """Name of each hook of the kit -> the parameters of those of that name."""
    hooks: dict[str, list[Any]] = {}
    bases = {base for name in receivers.__all__ for base in getattr(receivers, name).__mro__[:-1]}
    for base in bases:
        for name, value in vars(base).items():
            if not name.startswith("_") and name not in SIGNALS and inspect.isfunction(value):
                hooks.setdefault(name, []).append(inspect.signature(value).parameters)
    return hooks


def test_the_kit_calls_hooks_by_position_and_those_with_kwargs_by_name() -> None:
    """What the checks count on."""
    hooks, wrong = list_hooks(), []
    for tree in get_modules().values():
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            is_super = "super()" in ast.unparse(node.func)
            # Hooks of two classes may have one name.
            verdicts = []
            for parameters in () if is_super else hooks.get(node.func.attr, ()):
                by_position = [
                    name
                    for name, each in parameters.items()
                    if each.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
                ]
                if "kwargs" in parameters:
                    is_wrong = bool(node.args)
                else:
                    is_wrong = any(each.arg in by_position for each in node.keywords)
                verdicts.append(is_wrong)
            if verdicts and all(verdicts):
                wrong.append(ast.unparse(node))
    assert wrong == []


@pytest.mark.parametrize(
    ("base", "source"),
    [
        (ModelReceiver, "def post_save(self, instance, **kwargs): yield 1"),
        (ModelReceiver, "async def post_save(self, instance, **kwargs): yield 1"),
        (
            ModelReceiver,
            "def post_save(self, instance, **kwargs): 1\ndef flush(self, items): yield 1",
        ),
        (receivers.FileCleanup, "def should_delete(self, file): yield 1"),
        (receivers.AuditLog, "def post_delete(self, instance, **kwargs): yield 1"),
    ],
    ids=["signal", "async", "flush", "should", "ready-made"],
)
def test_a_method_of_which_nothing_would_be_run_is_told(base: Any, source: str) -> None:
    said = refuse(make(base, source))
    assert "() has a yield in it: whoever calls it gets a generator" in said
    assert said.endswith(" without yield. (signal_kit.E044)")


def test_a_hook_that_is_asked_for_many_may_yield_them() -> None:
    source = "def get_keys(self, instance): yield 1"
    check_calls(make(receivers.CacheInvalidation, source)(), SIGNALS)


def test_a_class_that_forgets_the_init_of_its_base_is_told() -> None:
    made = make(ModelReceiver, "def __init__(self, **options): self.seen = 0")
    with pytest.raises(Misconfigured) as raised:
        check_set(made(models=["testapp.Product"]))
    assert str(raised.value) == (
        "shop.signals.A.__init__() does not call that of its base, so no option is set. "
        "Call super().__init__(**options) in it. (signal_kit.E043)"
    )
    check_set(receivers.AuditLog())
