"""A method that nobody would call is told at start-up: hooks are derived from the bases."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partialmethod
from typing import Any

import pytest

from django_signal_kit import ModelReceiver, Receiver, receivers
from django_signal_kit.exceptions import Misconfigured
from django_signal_kit.wiring import catalog
from django_signal_kit.wiring.names import check_names, is_method, list_option_slips
from tests.typos import get_typos

SIGNALS = catalog.get_paths()


def make(name: str, *bases: type, **attributes: Any) -> Any:
    return type(name, bases, {"__module__": "shop.signals", "__qualname__": name, **attributes})


def refuse(cls: Any) -> str:
    """The sentence about the class."""
    with pytest.raises(Misconfigured) as raised:
        check_names(cls, SIGNALS)
    return str(raised.value)


def get_hooks(cls: type) -> Iterator[str]:
    for base in cls.__mro__[:-1]:
        for name, value in vars(base).items():
            # Words of three letters resemble too many.
            if not name.startswith("_") and is_method(value) and len(name) > 4:
                yield name


def method(self: Any, *args: Any, **kwargs: Any) -> Any: ...


@pytest.mark.parametrize("ready_made", receivers.__all__)
def test_each_slip_in_the_name_of_a_hook_of_a_ready_made_is_told(ready_made: str) -> None:
    cls = getattr(receivers, ready_made)
    hooks = sorted({*get_hooks(cls)} - {*SIGNALS})
    assert len(hooks) > 5
    for hook in hooks:
        for typo in get_typos(hook):
            said = refuse(make("A", cls, **{typo: method}))
            assert said.startswith(f"shop.signals.A.{typo}() has the name of no signal and of no ")
            assert f"Did you mean {hook!r}? A helper of your own starts with an under" in said
            assert said.endswith("(signal_kit.E009)")


@pytest.mark.parametrize("signal", SIGNALS)
def test_each_slip_in_the_name_of_a_signal_is_told(signal: str) -> None:
    for base in (Receiver, ModelReceiver):
        for typo in get_typos(signal):
            assert f"Did you mean {signal!r}?" in refuse(make("A", base, **{typo: method}))


@pytest.mark.parametrize("ready_made", receivers.__all__)
def test_what_is_written_rightly_is_not_told(ready_made: str) -> None:
    cls = getattr(receivers, ready_made)
    check_names(cls, SIGNALS)
    check_names(make("A", cls, **dict.fromkeys(get_hooks(cls), method)), SIGNALS)
    check_names(make("A", cls, post_delete=None, _get_x=method, colour="red", x=method), SIGNALS)


@pytest.mark.parametrize("name", ["get_price", "should_go", "pre_flight", "post_to_slack"])
def test_what_is_named_as_a_hook_has_to_be_one(name: str) -> None:
    said = refuse(make("A", ModelReceiver, **{name: method}))
    assert f"shop.signals.A.{name}() has the name of no signal and of no hook, so it" in said
    assert said.endswith(
        "A helper of your own starts with an underscore, or stands in a base class of your own. "
        "(signal_kit.E009)"
    )


@pytest.mark.parametrize(
    "wrap", [staticmethod, classmethod, partialmethod, lambda function: function]
)
def test_a_method_is_one_however_it_is_made(wrap: Any) -> None:
    assert "'should_delete'" in refuse(make("A", receivers.FileCleanup, shoud_delete=wrap(method)))


def test_a_name_that_is_far_from_all_is_answered_without_a_guess() -> None:
    said = refuse(make("A", Receiver, post_zzzzzzzzzzzzzzz=method))
    assert "never called. A helper of your own" in said


def test_the_hooks_of_a_base_of_ones_own_are_hooks() -> None:
    base = make("Base", ModelReceiver, get_tenant=method, should_tell=method)
    check_names(make("A", base), SIGNALS)
    check_names(make("A", base, get_tenant=method), SIGNALS)
    assert "shop.signals.A.get_tennant() " in refuse(make("A", base, get_tennant=method))
    assert "Did you mean 'should_tell'?" in refuse(make("A", base, shoud_tell=method))


def test_a_slip_in_a_base_or_a_mixin_is_told_with_its_class() -> None:
    base = make("Base", receivers.FileCleanup, shoud_delete=method)
    assert "shop.signals.Base.shoud_delete() " in refuse(make("A", base))
    mixin = make("Mixin", shoud_delete=method, get_price=method)
    assert "shop.signals.Mixin.shoud_delete() " in refuse(make("A", mixin, receivers.FileCleanup))


def test_a_helper_in_a_mixin_is_nobodys_slip() -> None:
    mixin = make("Mixin", get_price=method)
    check_names(make("A", mixin, ModelReceiver), SIGNALS)
    check_names(make("A", mixin, ModelReceiver, get_price=method), SIGNALS)


def test_a_hook_that_is_no_method_is_told() -> None:
    assert refuse(make("A", receivers.FileCleanup, should_delete=False)) == (
        "shop.signals.A.should_delete has the name of a hook, and is no method. Write def "
        "should_delete(self, file), or choose another name. (signal_kit.E045)"
    )
    for value in (None, property(method), "x", type):
        assert "(signal_kit.E045)" in refuse(make("A", ModelReceiver, get_models=value))


def test_an_attribute_that_is_nearly_an_option_is_told() -> None:
    base = make("Base", receivers.AuditLog, exlude_fields=["iban"], model=[], colours=1)
    cls = make("A", base, modles=[], exclude_fields=[], colour=1, _model=1, fild=method)
    assert sorted(list_option_slips(cls)) == [
        ("shop.signals.A.colour", "colours"),
        ("shop.signals.A.modles", "models"),
        ("shop.signals.Base.exlude_fields", "exclude_fields"),
        ("shop.signals.Base.model", "models"),
    ]
    assert list(list_option_slips(receivers.AuditLog)) == []
