"""A task that fails is tried again, later and later; what is lost is told, and can come back."""

from __future__ import annotations

import datetime
import io
import json
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from django_signal_kit.exceptions import FlushFailedError
from django_signal_kit.tasks import relaying
from django_signal_kit.tasks.models import OutboxTask
from django_signal_kit.tasks.options import LONGEST, TaskOptions
from django_signal_kit.tasks.travelling import match
from tests.apps.testapp.models import Tag
from tests.tasks.collectors import Awaits, Empties, Fails, FailsInPart, Names, Rows
from tests.tasks.queues import (
    BROKER,
    IMMEDIATE,
    LATER,
    RETRYING,
    Broker,
    RetryingBroker,
    get_messages,
    work,
)

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

LONG_AGO = datetime.timedelta(minutes=5)


@pytest.fixture(params=["queue", "outbox"])
def again(request: Any, settings: Any, monkeypatch: Any) -> Any:
    """Where a failed task waits: in a queue that knows of times, or in the outbox. Returns what
    runs the next attempt; it returns the seconds after which it would have come."""
    settings.TASKS = LATER if request.param == "queue" else BROKER
    monkeypatch.setattr(relaying, "_looked", {"default": float("inf"), "other": float("inf")})

    def run() -> float | None:
        now = timezone.now()
        if request.param == "queue":
            due = next((at for _, _, at in Broker.messages if at is not None), None)
        else:
            due = next((row.due_at for row in OutboxTask.objects.exclude(due_at=None)), None)
            OutboxTask.objects.exclude(due_at=None).update(due_at=now - LONG_AGO)
            call_command("relaytasks", verbosity=0)
        run.failures = work()  # type: ignore[attr-defined]
        return None if due is None else (due - now).total_seconds()

    return run


def test_a_task_is_tried_again_until_its_attempts_are_used_up(
    wire: Any, again: Any, flushed: Any, failures: Any, caplog: Any
) -> None:
    receiver = wire(Fails, TASKS={"ATTEMPTS": 3, "BACKOFF": 100})
    Tag.objects.create(name="a")
    assert again() is None
    assert (again.failures, failures) == ([], [])
    first = again()
    assert 49 <= first <= 100
    assert "Fails failed in a task, in attempt 1 of 3; 1 of 1 items are tried again" in caplog.text
    assert failures == []
    second = again()
    assert 98 <= second <= 200
    assert again.failures == [failures[0]["exception"]]
    assert again() is None
    assert flushed == [("Fails", ["a"])] * 3
    (told,) = failures
    assert (told["receiver"], told["signal_name"], told["items"]) == (receiver, "flush", ["a"])


def test_only_what_has_failed_is_tried_again(wire: Any, again: Any, flushed: Any) -> None:
    wire(FailsInPart)
    Tag.objects.bulk_create([Tag(name=name) for name in ("a", "b1", "c", "b2")])
    again()
    again()
    assert flushed[:2] == [("FailsInPart", ["a", "b1", "c", "b2"]), ("FailsInPart", ["b1", "b2"])]


def test_a_flush_that_empties_its_list_is_tried_again_with_all_items(
    wire: Any, again: Any, flushed: Any, failures: Any
) -> None:
    wire(Empties, TASKS={"ATTEMPTS": 2})
    Tag.objects.bulk_create([Tag(name=name) for name in ("a", "b", "c")])
    again()
    again()
    assert flushed == [("Empties", ["a"]), ("Empties", ["b"])] * 2
    assert failures[0]["items"] == ["a", "b", "c"]


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_a_worker_that_is_interrupted_ends_and_leaves_the_task_to_another(
    wire: Any, again: Any, flushed: Any, failures: Any, monkeypatch: Any, interrupt: Any
) -> None:
    def flush(self: Any, items: Any) -> None:
        raise interrupt

    wire(Names)
    Tag.objects.create(name="a")
    with monkeypatch.context() as patch:
        patch.setattr(Names, "flush", flush)
        with pytest.raises(interrupt):
            again()
    again()
    assert flushed == [("Names", ["a"])]
    assert failures == []
    assert not OutboxTask.objects.exists()


def test_a_flush_that_works_at_last_is_done(
    wire: Any, again: Any, flushed: Any, failures: Any, monkeypatch: Any
) -> None:
    wire(Fails)
    Tag.objects.create(name="a")
    again()
    monkeypatch.setattr(Fails, "flush", Names.flush)
    again()
    assert again() is None
    assert flushed == [("Fails", ["a"]), ("Fails", ["a"])]
    assert failures == []
    assert not OutboxTask.objects.exists()


def test_a_worker_of_another_version_leaves_the_task_to_one_that_knows_it(
    wire: Any, again: Any, flushed: Any
) -> None:
    wire(Names)
    Tag.objects.create(name="a")
    wire(Awaits)
    again()
    wire(Names)
    again()
    assert flushed == [("Names", ["a"])]


def test_what_was_lost_can_be_brought_back(
    wire: Any, again: Any, flushed: Any, failures: Any, monkeypatch: Any
) -> None:
    wire(Fails, FailsInPart, TASKS={"ATTEMPTS": 1})
    for name in ("a", "b"):
        Tag.objects.create(name=name)
    again()
    assert sorted(str(told["items"]) for told in failures) == ["['a']", "['b']", "['b']"]
    assert run("requeuetasks") == (
        "default: Fails: 2 failed tasks.\ndefault: FailsInPart: 1 failed tasks.\n"
    )
    row = OutboxTask.objects.filter(receiver="Fails").first()
    assert row is not None
    assert (row.error, row.due_at, row.failed_at is None) == ("ValueError: not today", None, False)
    # What was given up is sent by nobody.
    assert run("relaytasks", verbosity=0) == ""
    assert get_messages() == []
    with pytest.raises(CommandError, match=r"'Fail' has failed. Did you mean 'Fails'\?"):
        run("requeuetasks", "Fail")
    monkeypatch.setattr(Fails, "flush", Names.flush)
    flushed.clear()
    assert run("requeuetasks", "Fails").startswith("default: 2 tasks are run again.\n")
    assert work() == []
    assert sorted(flushed) == [("Fails", ["a"]), ("Fails", ["b"])]
    assert run("requeuetasks").startswith("default: FailsInPart: 1 failed tasks.\n")
    run("requeuetasks", all=True)
    assert [(task["receiver"], task["items"], task["attempt"]) for task in get_messages()] == [
        ("FailsInPart", ["b"], 1)
    ]
    assert run("requeuetasks") == "No task has failed.\n"


def run(name: str, *args: Any, **options: Any) -> str:
    out = io.StringIO()
    call_command(name, *args, stdout=out, stderr=out, **options)
    return out.getvalue()


def test_names_or_all_are_brought_back_and_not_both() -> None:
    with pytest.raises(CommandError, match="Give names or --all, not both"):
        run("requeuetasks", "Fails", all=True)


def test_without_an_outbox_nothing_is_kept(settings: Any) -> None:
    apps = [name for name in settings.INSTALLED_APPS if "tasks" not in name]
    settings.INSTALLED_APPS = apps
    with pytest.raises(CommandError, match=r"without 'django_signal_kit\.tasks'"):
        run("requeuetasks")
    assert run("relaytasks") == ""


def test_the_failure_of_an_immediate_backend_is_told_at_once_and_kept(
    wire: Any, settings: Any, failures: Any, flushed: Any
) -> None:
    settings.TASKS = IMMEDIATE
    wire(Fails, TASKS={"ATTEMPTS": 3})
    Tag.objects.create(name="a")
    assert flushed == [("Fails", ["a"])]
    assert [told["items"] for told in failures] == [["a"]]
    assert OutboxTask.objects.get().error == "ValueError: not today"


def test_a_call_of_exit_in_an_immediate_backend_is_told_and_ends_the_process(
    wire: Any, settings: Any, failures: Any, monkeypatch: Any
) -> None:
    settings.TASKS = IMMEDIATE
    wire(Names)
    monkeypatch.setattr(Names, "flush", lambda self, items: sys.exit(1))
    with pytest.raises(SystemExit):
        Tag.objects.create(name="a")
    assert Tag.objects.count() == 1
    assert [type(told["exception"]) for told in failures] == [SystemExit]
    assert OutboxTask.objects.exclude(failed_at=None).count() == 1


def test_an_immediate_backend_with_an_outbox_tries_again(
    wire: Any, settings: Any, failures: Any, flushed: Any
) -> None:
    settings.TASKS = IMMEDIATE
    wire(Fails, TASKS={"ATTEMPTS": 2, "OUTBOX": True})
    Tag.objects.create(name="a")
    assert failures == []
    OutboxTask.objects.update(due_at=timezone.now() - LONG_AGO)
    run("relaytasks")
    assert flushed == [("Fails", ["a"])] * 2
    assert [told["items"] for told in failures] == [["a"]]


def test_a_queue_that_is_down_when_a_task_fails_gets_it_later(
    wire: Any, settings: Any, flushed: Any, failures: Any, monkeypatch: Any
) -> None:
    settings.TASKS = LATER
    wire(Fails)
    Tag.objects.create(name="a")
    monkeypatch.setattr(Broker, "is_down", True)
    assert work() == []
    monkeypatch.setattr(Broker, "is_down", False)
    assert failures == []
    row = OutboxTask.objects.get()
    assert (json.loads(row.payload)["items"], row.attempt) == (["a"], 2)


def test_a_failure_is_kept_whose_text_no_database_can_store(
    wire: Any, settings: Any, failures: Any, monkeypatch: Any
) -> None:
    def flush(self: Any, items: Any) -> None:
        raise ValueError("a\x00b\ud800")

    settings.TASKS = LATER
    wire(Names, TASKS={"ATTEMPTS": 1})
    monkeypatch.setattr(Names, "flush", flush)
    Tag.objects.create(name="a")
    work()
    assert OutboxTask.objects.get().error == "ValueError: a\ufffdb\ufffd"


def test_a_failure_that_cannot_be_kept_is_told_all_the_same(
    wire: Any, settings: Any, failures: Any, caplog: Any
) -> None:
    settings.TASKS = LATER
    wire(Fails, TASKS={"ATTEMPTS": 1})
    Tag.objects.create(name="a")

    def refuse(execute: Any, sql: str, *args: Any) -> Any:
        raise DatabaseError("the disk is full")

    with connection.execute_wrapper(refuse):
        (error,) = work()
    assert str(error) == "not today"
    assert [told["items"] for told in failures] == [["a"]]
    assert "A failed task of Fails could not be kept" in caplog.text


def test_a_backend_that_retries_by_itself_does(
    wire: Any, settings: Any, flushed: Any, failures: Any
) -> None:
    settings.TASKS = RETRYING
    RetryingBroker.policies.clear()
    wire(Fails, TASKS={"ATTEMPTS": 3, "BACKOFF": 100})
    Tag.objects.create(name="a")
    ((attempts, back_off),) = RetryingBroker.policies
    assert attempts == 3
    result = SimpleNamespace(kwargs=get_messages()[0], attempts=2)
    assert 100 <= back_off(ValueError(), result).total_seconds() <= 200
    waiting = Broker.messages[:]
    for runs in (1, 2):
        (error,) = work(runs)
        assert str(error) == "not today"
        # Nobody but the backend runs it again, and nothing is lost.
        assert (Broker.messages, failures) == ([], [])
        (row,) = OutboxTask.objects.all()
        assert row.taken_at > timezone.now() + datetime.timedelta(seconds=98 * runs)
        Broker.messages[:] = waiting
    (error,) = work(3)
    assert [told["items"] for told in failures] == [["a"]]
    assert OutboxTask.objects.get().failed_at is not None
    assert flushed == [("Fails", ["a"])] * 3


def test_what_failed_in_part_there_is_a_task_of_its_own_with_the_attempts_that_are_left(
    wire: Any, settings: Any, failures: Any
) -> None:
    settings.TASKS = RETRYING
    wire(FailsInPart, TASKS={"ATTEMPTS": 3})
    Tag.objects.bulk_create([Tag(name="a"), Tag(name="b")])
    RetryingBroker.policies.clear()
    assert work(2) == []
    ((attempts, _),) = RetryingBroker.policies
    assert attempts == 1
    assert [(task["items"], task["attempt"]) for task in get_messages()] == [(["b"], 3)]
    work()
    assert [told["items"] for told in failures] == [["b"]]


def test_a_receiver_has_options_of_its_own(wire: Any, again: Any, flushed: Any) -> None:
    own = {"task_options": {"ATTEMPTS": 1}}
    wire((Fails, own), FailsInPart)
    Tag.objects.create(name="b")
    for _ in range(3):
        again()
    assert [name for name, _ in flushed].count("Fails") == 1
    assert [name for name, _ in flushed].count("FailsInPart") == 3


def test_what_a_flush_writes_in_a_worker_is_committed(wire: Any, again: Any) -> None:
    wire(Rows)
    Tag.objects.create(name="a")
    again()
    from tests.apps.testapp.models import Category

    assert Category.objects.get().name == "a"


@given(attempt=st.integers(1, 1000), backoff=st.floats(0.001, 1e9))
def test_each_attempt_waits_longer_and_none_for_ever(attempt: int, backoff: float) -> None:
    options = TaskOptions("default", "default", 0, 5, backoff, None)
    most = min(LONGEST.total_seconds(), backoff * 2 ** min(attempt - 1, 30))
    waits = {options.get_delay(attempt).total_seconds() for _ in range(20)}
    assert all(most / 2 - 1e-3 <= wait <= most + 1e-3 for wait in waits)
    # What failed together does not come back together.
    assert len(waits) > 1 or most < 1e-3


@given(st.lists(st.one_of(st.integers(0, 3), st.text(max_size=1))), st.data())
def test_what_has_failed_is_found_among_the_items(items: list[Any], data: Any) -> None:
    places = data.draw(
        st.lists(st.sampled_from(range(len(items))), unique=True) if items else st.just([])
    )
    found = match(items, [items[place] for place in places])
    assert [items[place] for place in found] == [items[place] for place in sorted(found)]
    assert sorted(map(repr, (items[p] for p in found))) == sorted(
        map(repr, (items[p] for p in places))
    )


def test_a_flush_of_which_nothing_has_failed_is_done(
    wire: Any, again: Any, failures: Any, monkeypatch: Any
) -> None:
    def flush(self: Any, items: Any) -> None:
        raise FlushFailedError([])

    wire(Names)
    Tag.objects.create(name="a")
    monkeypatch.setattr(Names, "flush", flush)
    again()
    assert failures == []
    assert not OutboxTask.objects.exists()


def test_what_is_none_of_the_items_means_all_of_them() -> None:
    assert match(["a", "b"], FlushFailedError(["x"]).items) == [0, 1]
