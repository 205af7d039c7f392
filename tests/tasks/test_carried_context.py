"""Who has caused what a task of the kit's flushes."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction

from django_signal_kit import batch, context, get_context
from django_signal_kit.receivers import AuditLog
from tests.apps.testapp.models import Category, Tag
from tests.factories import UserFactory
from tests.tasks.collectors import FLUSHED, Counts, Names, Rows
from tests.tasks.queues import BROKER, IMMEDIATE, LATER, Broker, get_messages, work

pytestmark = pytest.mark.django_db(transaction=True)


class Tells(Names):
    """Tells in the worker who has caused each item."""

    def flush(self, items: list[Any]) -> None:
        FLUSHED.append((str(get_context()["actor"]), sorted(items)))


class TellsAndFails(Tells):
    def flush(self, items: list[Any]) -> None:
        super().flush(items)
        if len(FLUSHED) == 1:
            raise ZeroDivisionError


@pytest.fixture(autouse=True)
def _queue(settings: Any) -> None:
    settings.TASKS = BROKER


@pytest.mark.parametrize("tasks", [BROKER, IMMEDIATE])
def test_an_entry_written_in_a_flush_names_who_has_caused_it(
    wire: Any, settings: Any, tasks: Any
) -> None:
    from django_signal_kit.audit.models import AuditEntry

    settings.TASKS = tasks
    wire(Rows, (AuditLog, {"models": [Category]}))
    user = UserFactory(username="ann")
    with context(actor=lambda: user, request_id="abcdefgh", reason="sale"):
        Tag.objects.create(name="a")
    assert work() == []
    entry = AuditEntry.objects.get()
    assert (entry.object_text, entry.actor_id, entry.actor_text) == ("a", user.pk, "ann")
    assert entry.context == {"request_id": "abcdefgh", "reason": "sale"}


def test_the_context_is_that_of_the_write_and_not_of_the_commit(wire: Any) -> None:
    wire(Tells)
    with context(actor="commit"), transaction.atomic():
        with context(actor="ann"):
            Tag.objects.create(name="a")
        with transaction.atomic(), context(actor="bob"):
            Tag.objects.create(name="b")
    assert work() == []
    assert sorted(FLUSHED) == [("ann", ["a"]), ("bob", ["b"])]


def test_one_task_has_what_was_caused_in_equal_contexts(wire: Any) -> None:
    wire(Tells)
    user = UserFactory(username="ann")
    with batch():
        for name in "abc":
            with context(actor=user, reason="import"):
                Tag.objects.create(name=name)
        Tag.objects.create(name="d")
    assert len(get_messages()) == 2
    assert work() == []
    assert FLUSHED == [("ann", ["a", "b", "c"]), ("None", ["d"])]


def test_nothing_travels_where_nobody_is_known(wire: Any) -> None:
    wire(Tells)
    Tag.objects.create(name="a")
    (message,) = get_messages()
    assert message["carried"] == {}


def test_what_waits_under_a_key_is_one_item_whoever_comes_to_it(wire: Any, flushed: Any) -> None:
    wire(Counts)
    with batch():
        for actor in ("ann", "bob"):
            with context(actor=actor):
                Tag.objects.create(name="a")
        assert get_messages() == []
    (message,) = get_messages()
    assert message["items"] == [{"name": "a", "count": 2}]
    assert message["carried"] == {"actor": "ann"}


def test_a_savepoint_that_is_rolled_back_takes_back_what_was_changed(wire: Any) -> None:
    wire(Counts)
    with context(actor="ann"), transaction.atomic():
        Tag.objects.create(name="a")
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            Tag.objects.create(name="a")
            raise ZeroDivisionError
    (message,) = get_messages()
    assert message["items"] == [{"name": "a", "count": 1}]
    assert message["carried"] == {"actor": "ann"}


def test_an_attempt_more_has_the_same_context(wire: Any, settings: Any) -> None:
    settings.TASKS = LATER
    wire(TellsAndFails)
    with context(actor="ann"):
        Tag.objects.create(name="a")
    assert work() == []
    assert work() == []
    assert FLUSHED == [("ann", ["a"])] * 2


def test_a_queue_that_is_down_is_told_with_the_items_as_they_were(
    wire: Any, failures: Any, settings: Any
) -> None:
    settings.SIGNAL_KIT = {}
    Broker.is_down = True
    wire(Tells, TASKS={"OUTBOX": False})
    with context(actor="ann"):
        Tag.objects.create(name="a")
    (told,) = failures
    assert told["items"] == ["a"]
