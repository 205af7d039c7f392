"""An item of ``models`` that means no model is told, with the reason or with what is near."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import Warning

from django_signal_kit import ModelReceiver
from django_signal_kit.checks import check_signal_kit
from django_signal_kit.exceptions import tell_class
from django_signal_kit.receivers import AuditLog, FileCleanup, LastModified, WelcomeEmail
from tests.apps.testapp.models import Stamped, Tag


class Saves(ModelReceiver):
    def post_save(self, **kwargs: Any) -> None: ...


class Tagg:
    """A mixin that no model has."""


class Unlike:
    """Another, whose name is like none."""


def get_messages() -> list[tuple[str | None, str, str | None]]:
    messages = check_signal_kit()
    assert all(isinstance(message, Warning) for message in messages)
    return [(message.id, str(message.msg), message.hint) for message in messages]


@pytest.mark.parametrize(
    ("cls", "options", "hint"),
    [
        (Saves, {}, "Set its option 'models'."),
        (Saves, {"models": [Tagg]}, f"Nothing matches {Tagg!r}. There is 'testapp.Tag'"),
        (Saves, {"models": [f"{__name__}.Tagg"]}, "wiring.test_uncovered.Tagg'. There is 'testap"),
        (Saves, {"models": [Unlike]}, f"Nothing matches {Unlike!r}."),
        (Saves, {"models": ["staticfiles.*"]}, "Nothing matches 'staticfiles.*'. There is "),
        (
            Saves,
            {"models": ["testapp.Tag"], "exclude": ["testapp.*"]},
            "The option 'exclude' leaves out testapp.Tag.",
        ),
        (
            LastModified,
            {"models": ["sessions.*"]},
            "sessions.Session has no date or datetime field 'updated_at'",
        ),
        (
            FileCleanup,
            {"models": ["sessions.*", "messages.*"]},
            "sessions.Session has no file field to clean up. Nothing matches 'messages.*'. There ",
        ),
        (
            AuditLog,
            {"models": ["sessions.*"]},
            "sessions.Session is covered only if it is named outright.",
        ),
        (
            FileCleanup,
            {"models": ["auth.*"], "exclude": ["auth.Group"]},
            "auth.Permission has no file field to clean up and auth.User has no file field to ",
        ),
        (Saves, {"models": ["signal_kit_audit.*"]}, "Nothing matches 'signal_kit_audit.*'. There"),
    ],
)
def test_who_covers_nothing_is_told_why(
    wire: Any, cls: type, options: dict[str, Any], hint: str
) -> None:
    wire((cls, options))
    [(id, msg, told)] = get_messages()
    assert (id, msg) == (
        "signal_kit.W001",
        f"{tell_class(cls)} covers no model, so it hears nothing.",
    )
    assert told is not None
    assert hint in told


@pytest.mark.parametrize(
    ("app", "near"),
    [
        ("messages", "'sessions.*'"),
        ("staticfiles", "'"),
    ],
)
def test_near_labels_are_those_of_apps_that_have_models(wire: Any, app: str, near: str) -> None:
    wire((Saves, {"models": [f"{app}.*"]}))
    [(_, _, hint)] = get_messages()
    assert hint is not None
    _, _, labels = hint.partition("There is ")
    assert near in labels
    assert f"'{app}.*'" not in labels
    assert "signal_kit" not in labels


def test_of_many_models_some_are_named(wire: Any) -> None:
    wire((FileCleanup, {"models": ["relations.*"], "fields": ["image"]}))
    [(id, _, hint)] = get_messages()
    assert id == "signal_kit.W001"
    assert hint is not None
    assert hint.count("has no file field") == 3
    assert hint.endswith(" more.")


def test_one_item_in_vain_among_others_is_told(wire: Any) -> None:
    wire((LastModified, {"models": [Stamped, "sessions.*", "messages.*"]}))
    assert [message[:2] for message in get_messages()] == [
        (
            "signal_kit.W009",
            "The option 'models' of LastModified has 'sessions.*', which adds no model.",
        ),
        (
            "signal_kit.W009",
            "The option 'models' of LastModified has 'messages.*', which adds no model.",
        ),
    ]
    assert get_messages()[0][2] == (
        "sessions.Session has no date or datetime field 'updated_at', 'modified', 'modified_at' "
        "or 'last_modified'."
    )


def test_an_item_whose_models_another_has_too_is_not_in_vain(wire: Any) -> None:
    wire((Saves, {"models": ["testapp.*", Tag, "testapp.Tag"]}))
    assert get_messages() == []


def test_what_a_hook_says_is_asked_as_the_option_is(wire: Any) -> None:
    wire(WelcomeEmail)
    assert get_messages() == []
