"""Bad input: a check with its id, and the same sentence at start-up, with the remedy."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db.models.signals import post_save
from django.dispatch import Signal
from django.test import override_settings

from django_signal_kit import ModelReceiver, Receiver, registry
from django_signal_kit.apps import wire as wire_up
from django_signal_kit.checks import check_signal_kit
from django_signal_kit.receivers import AuditLog, WelcomeEmail
from tests.conftest import get_path
from tests.testapp.models import Tag

known_signal = Signal()
no_signal = object()


class Sound(ModelReceiver):
    models = ["testapp.Tag"]
    #: How loud.
    volume: int = 1

    def post_save(self, **kwargs: Any) -> None: ...


class Sounder(Sound):
    pass


class Misspelt(ModelReceiver):
    models = ["testapp.Tag"]

    def post_safe(self, **kwargs: Any) -> None: ...


class HalfMisspelt(Sound):
    def postsave(self, **kwargs: Any) -> None: ...


class Deaf(ModelReceiver):
    models = ["testapp.Tag"]


class Everywhere(Receiver):
    def post_save(self, **kwargs: Any) -> None: ...


class Shadowing(Sound):
    post_delete = "no method"


class Silenced(AuditLog):
    models = ["testapp.Tag"]
    post_delete = None  # type: ignore[assignment]


class Template(ModelReceiver):
    def known_signal(self, **kwargs: Any) -> None: ...


class TagForm:
    pass


def plain(**kwargs: Any) -> None: ...


SOUND = get_path(Sound)


def entry(cls: Any, name: str | None = None, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"RECEIVER": get_path(cls), "OPTIONS": options}
    return found if name is None else found | {"NAME": name}


def receivers(*entries: Any) -> dict[str, Any]:
    return {"RECEIVERS": list(entries)}


BAD: dict[str, tuple[Any, str, str]] = {
    "unknown key": ({"RECIEVERS": []}, "E001", "Did you mean 'RECEIVERS'?"),
    "no dict": ([], "E002", 'Write SIGNAL_KIT = {"RECEIVERS": [...]}.'),
    "receivers are no list": ({"RECEIVERS": SOUND}, "E002", "It has to be a list."),
    "excludes are no strings": ({"DISCOVER_EXCLUDE": [1]}, "E002", "a list of strings"),
    "extra signals are no dict": ({"EXTRA_SIGNALS": []}, "E002", "a dict such as"),
    "entry is a number": (receivers(7), "E003", "Write a dotted path"),
    "entry has an unknown key": (
        receivers({"RECEIVER": SOUND, "OPTOINS": {}}),
        "E003",
        "Did you mean 'OPTIONS'?",
    ),
    "entry names nothing": (receivers({"OPTIONS": {}}), "E003", "no dotted path"),
    "options are no dict": (
        receivers({"RECEIVER": SOUND, "OPTIONS": []}),
        "E003",
        "Write a dict.",
    ),
    "name is no string": (receivers({"RECEIVER": SOUND, "NAME": 7}), "E003", "Write a string."),
    "path leads nowhere": (receivers("shop.nowhere.X"), "E004", "Give the dotted path"),
    "path is nearly right": (
        receivers("django_signal_kit.receivers.AuditLgo"),
        "E004",
        "Did you mean 'django_signal_kit.receivers.AuditLog'?",
    ),
    "a function": (receivers(f"{__name__}.plain"), "E005", "Django's own @receiver"),
    "unknown option": (receivers(entry(Sound, volum=1)), "E006", "Did you mean 'volume'?"),
    "option of a wrong type": (receivers(entry(Sound, volume="x")), "E007", "a whole number"),
    "choice that is none": (
        receivers(entry(Sound, on_error="ignore")),
        "E007",
        "It has to be 'raise' or 'log'.",
    ),
    "models as a string": (receivers(entry(Sound, models="testapp.Tag")), "E007", "a list"),
    "unknown model": (
        receivers(entry(Sound, models=["testapp.Tagg"])),
        "E008",
        "Did you mean 'testapp.Tag'?",
    ),
    "unknown app": (
        receivers(entry(Sound, models=["tesapp.*"])),
        "E008",
        "Did you mean 'testapp'?",
    ),
    "unknown model to exclude": (
        receivers(entry(Sound, exclude=["testapp.Tagg"])),
        "E008",
        "Did you mean 'testapp.Tag'?",
    ),
    "nearly a signal": (receivers(entry(Misspelt)), "E009", "Did you mean 'post_save'?"),
    "nearly a signal beside a signal": (
        receivers(entry(HalfMisspelt)),
        "E009",
        "Did you mean 'post_save'?",
    ),
    "two of one name": (
        receivers(entry(Sound, "a"), entry(Sounder, "a")),
        "E010",
        "Give one of them a NAME of its own",
    ),
    "one class twice": (receivers(entry(Sound), entry(Sound)), "E010", "NAME"),
    "a named model that lacks the field": (
        receivers(entry("django_signal_kit.receivers.LastModified", models=["testapp.Tag"])),
        "E012",
        "it has no field 'updated_at'",
    ),
    "an audited field that is none": (
        receivers(entry(AuditLog, models=["testapp.Tag"], fields=["nmae"])),
        "E012",
        "Did you mean 'name'?",
    ),
    "a signal that is none": (
        receivers(entry(WelcomeEmail, signal="user_signed_upp")),
        "E012",
        "which is no signal with a user",
    ),
    "a signal that is no method": (receivers(entry(Shadowing)), "E013", "Rename it."),
    "an extra signal over Django's": (
        {"EXTRA_SIGNALS": {"post_save": f"{__name__}.known_signal"}},
        "E013",
        "Choose another name.",
    ),
    "an extra signal named as an option": (
        {"EXTRA_SIGNALS": {"models": f"{__name__}.known_signal"}},
        "E013",
        "Choose another name.",
    ),
    "an extra signal that is no name": (
        {"EXTRA_SIGNALS": {"signed up": f"{__name__}.known_signal"}},
        "E013",
        "public Python identifier",
    ),
    "all models unasked": (receivers(entry(Everywhere)), "E014", "ModelReceiver"),
    "hears nothing": (receivers(entry(Deaf)), "E015", "such as 'post_save'"),
    "an extra signal that is not there": (
        {"EXTRA_SIGNALS": {"signed_up": "shop.nowhere.signed_up"}},
        "E016",
        "Give the dotted path of a django.dispatch.Signal.",
    ),
    "an extra signal that is none": (
        {"EXTRA_SIGNALS": {"signed_up": f"{__name__}.no_signal"}},
        "E016",
        "which is no signal",
    ),
    "an excluded app that is none": (
        {"DISCOVER_EXCLUDE": ["tests.tesapp"]},
        "E017",
        "Did you mean 'tests.testapp'?",
    ),
}


@pytest.mark.parametrize(("value", "id", "words"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_a_check_and_the_same_sentence_at_start_up(
    wire: Any, value: Any, id: str, words: str
) -> None:
    wire((Sound, {}))
    before = list(registry.registry.receivers)
    with pytest.raises(ImproperlyConfigured) as caught, override_settings(SIGNAL_KIT=value):
        pass
    assert words in str(caught.value)
    # What was wired before still is.
    assert [type(receiver) for receiver in registry.registry.receivers] == [Sound]
    assert [receiver.name for receiver in registry.registry.receivers] == [before[0].name]
    assert post_save.has_listeners(Tag)
    with pytest.MonkeyPatch.context() as patch:
        from django.conf import settings

        patch.setattr(settings, "SIGNAL_KIT", value)
        [message] = [message for message in check_signal_kit() if message.id[-4] == "E"]
    assert message.id == f"signal_kit.{id}"
    assert words in f"{message.msg} {message.hint}"
    assert f"{message.msg} {message.hint}" in str(caught.value)


def test_each_mistake_is_told_and_not_only_the_first(wire: Any) -> None:
    wire()
    entries = receivers("shop.nowhere.X", entry(Sound, volum=1), entry(Deaf))
    with pytest.raises(ImproperlyConfigured) as caught, override_settings(SIGNAL_KIT=entries):
        pass
    assert [line[-5:-1] for line in str(caught.value).splitlines()] == ["E004", "E006", "E015"]


def test_an_audit_log_without_its_app_says_what_to_add(wire: Any, settings: Any) -> None:
    wire()
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if "audit" not in app]
    settings.SIGNAL_KIT = {}
    with pytest.raises(ImproperlyConfigured, match=r"Add 'django_signal_kit\.audit'.*E011"):
        settings.SIGNAL_KIT = receivers(entry(AuditLog, models=["testapp.Tag"]))


def test_no_models_is_a_warning(wire: Any) -> None:
    wire((Sound, {"models": []}))
    [message] = check_signal_kit()
    assert (message.id, message.hint) == ("signal_kit.W001", "Set its option 'models'.")
    wire((Sound, {"models": [TagForm]}))
    [message] = check_signal_kit()
    assert message.id == "signal_kit.W001"


def test_what_is_sound_is_no_message(wire: Any) -> None:
    wire((Sound, {}), Silenced)
    assert check_signal_kit() == []


def test_a_subclass_may_leave_a_signal_to_others(wire: Any) -> None:
    wire(Silenced)
    signals = {connection.signal_name for connection in registry.registry.connections}
    assert "post_save" in signals
    assert "post_delete" not in signals


def test_a_string_is_short_for_no_options(wire: Any) -> None:
    receiver = wire(SOUND)
    assert (type(receiver), receiver.volume, receiver.name) == (Sound, 1, "Sound")


def test_options_and_name_are_taken(wire: Any) -> None:
    receiver = wire(entry(Sound, "loud", volume=11))
    assert (receiver.volume, receiver.name) == (11, "loud")


def test_classes_of_one_name_are_told_apart_by_their_apps(wire: Any) -> None:
    shop = type("Sound", (Sound,), {"__module__": "tests.testapp.receivers"})
    registry.declarations.append(registry.Declaration("test", shop, None, {}))
    try:
        receivers_ = wire((Sound, {}))
        assert [receiver.name for receiver in receivers_] == [f"{__name__}.Sound", "testapp.Sound"]
    finally:
        registry.declarations.pop()
        wire_up()


def test_register_refuses_what_is_no_receiver_class() -> None:
    with pytest.raises(TypeError, match="Django's own @receiver"):
        registry.register(plain)  # type: ignore[arg-type]
