"""What may not stop a write is logged, once for each place in the code if it is a hook."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from django_signal_kit.receivers import AuditLog, DeletionLog
from django_signal_kit.units.failures import report_once
from tests.apps.testapp.models import Tag

pytestmark = pytest.mark.django_db(transaction=True)


class Breaks(AuditLog):
    models = ["testapp.Tag"]

    def get_object_text(self, instance: Any) -> str:
        if instance.name == "zero":
            raise ZeroDivisionError("by the name")
        if instance.name == "query":
            return str(Tag.objects.get(pk=-1))
        return str({}[instance.name])


class BreaksToo(Breaks):
    pass


class BreaksLines(DeletionLog):
    models = ["testapp.Tag"]

    def get_object_text(self, instance: Any) -> str:
        raise ValueError("no text")


def test_a_hook_that_stops_nothing_is_logged_once_for_each_place(wire: Any, caplog: Any) -> None:
    wire(Breaks)
    for name in ("zero", "zero", "query", "tea", "coffee", "query"):
        Tag.objects.create(name=name)
    told = [record.getMessage() for record in caplog.records]
    assert [text.rpartition("is not logged. ")[2] for text in told] == [
        "ZeroDivisionError",
        "DoesNotExist",
        "KeyError",
    ]
    assert all(
        text.startswith("Breaks: get_object_text() failed, and is done with") for text in told
    )
    assert all(record.levelno == logging.ERROR for record in caplog.records)
    assert "raise ZeroDivisionError" in caplog.text


def test_each_receiver_is_told_of(wire: Any, caplog: Any) -> None:
    caplog.set_level(logging.INFO, "django_signal_kit.deletions")
    wire(BreaksToo, BreaksLines)
    tag = Tag.objects.create(name="zero")
    tag.delete()
    told = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.getMessage().split(":")[0] for record in told] == ["BreaksToo", "BreaksLines"]


def test_what_has_no_frame_of_its_own_and_a_broken_handler_harm_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError

    monkeypatch.setattr(logging.getLogger("django_signal_kit.units"), "_log", fail)
    report_once(object(), "get_x", ValueError())
    try:
        raise ValueError
    except ValueError as error:
        report_once(object(), "get_x", error)
