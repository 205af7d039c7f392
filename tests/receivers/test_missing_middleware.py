"""A receiver that asks who makes a request says so where nobody would tell it."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import Warning, run_checks
from django.core.management import call_command

from django_signal_kit.middleware import MIDDLEWARE, RequestContextMiddleware
from django_signal_kit.receivers import AuditLog, DeletionLog, LastModified, LoginLog
from django_signal_kit.wiring.registry import registry

TAGS = {"models": ["testapp.Tag"]}
STAMPED = {"models": ["testapp.Place"]}
REMEDY = (
    "Add 'django_signal_kit.middleware.RequestContextMiddleware' to MIDDLEWARE. A project without "
    "requests adds 'signal_kit.W004' to SILENCED_SYSTEM_CHECKS."
)


class Subclassed(RequestContextMiddleware):
    pass


class Stamps(LastModified):
    """Of models that have such fields; which they are, nobody asks here."""

    def lacks(self, model: Any) -> str | None:
        return None


class LogByThreads(AuditLog):
    def get_actor(self) -> Any:
        return "the thread's"


class LogOfContexts(AuditLog):
    def get_context(self) -> Any:
        return {}


class DeletionsByThreads(DeletionLog):
    def get_actor(self) -> Any:
        return "the thread's"


class StampsByThreads(Stamps):
    def get_editor(self, instance: Any) -> Any:
        return None


def get_losses() -> list[str]:
    """What is said of the missing middleware, without the end of the sentence."""
    messages = [
        message
        for receiver in registry.receivers
        for message in receiver.get_warnings()
        if message.id == "signal_kit.W004"
    ]
    end = ", because RequestContextMiddleware is not in MIDDLEWARE."
    assert all(isinstance(message, Warning) for message in messages)
    assert all(message.hint == REMEDY for message in messages)
    assert all(str(message.msg).endswith(end) for message in messages)
    return [str(message.msg).removesuffix(end) for message in messages]


@pytest.mark.parametrize(
    ("cls", "options", "loss"),
    [
        (AuditLog, TAGS, "AuditLog does not know who makes a request"),
        (LogOfContexts, TAGS, "LogOfContexts does not know who makes a request"),
        (DeletionLog, TAGS, "DeletionLog does not know who makes a request"),
        (LoginLog, {}, "LoginLog does not know which entries are of one request"),
        (
            Stamps,
            {**STAMPED, "by_field": "changed_by"},
            "Stamps does not know who makes a request, and leaves 'changed_by' as it is",
        ),
        (
            Stamps,
            {**STAMPED, "by_field": "changed_by", "created_by_field": "made_by"},
            "Stamps does not know who makes a request, and leaves 'changed_by' and 'made_by' as "
            "they are",
        ),
        (
            Stamps,
            {**STAMPED, "created_by_field": "made_by"},
            "Stamps does not know who makes a request, and leaves 'made_by' as it is",
        ),
    ],
)
def test_it_says_what_is_lost_without_the_middleware(
    wire: Any, settings: Any, cls: type, options: dict[str, Any], loss: str
) -> None:
    wire((cls, options))
    assert get_losses() == []
    settings.MIDDLEWARE = []
    assert get_losses() == [loss]
    settings.MIDDLEWARE = [f"{__name__}.Subclassed"]
    assert get_losses() == []


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (LogByThreads, TAGS),
        (DeletionsByThreads, TAGS),
        (LastModified, STAMPED),
        (StampsByThreads, {**STAMPED, "by_field": "changed_by"}),
    ],
)
def test_who_does_not_ask_the_context_needs_no_middleware(
    wire: Any, settings: Any, cls: type, options: dict[str, Any]
) -> None:
    settings.MIDDLEWARE = []
    wire((cls, options))
    assert get_losses() == []


@pytest.mark.django_db(databases=["default", "other"])
def test_the_check_tells_of_each_receiver_and_can_be_silenced(
    wire: Any, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if name != MIDDLEWARE]
    wire((AuditLog, TAGS), LoginLog)
    settings.SILENCED_SYSTEM_CHECKS = []
    found = [message.id for message in run_checks() if str(message.id).startswith("signal_kit")]
    assert found == ["signal_kit.W004", "signal_kit.W004"]
    call_command("check")
    assert "AuditLog does not know who" in capsys.readouterr().err
    settings.SILENCED_SYSTEM_CHECKS = ["signal_kit.W004"]
    call_command("check")
    assert "AuditLog" not in capsys.readouterr().err
