"""A task is committed with the write it is about, and is sent however the process ends."""

from __future__ import annotations

import datetime
import io
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, OperationalError, connection, connections, transaction
from django.db.models import F
from django.test import TestCase
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_signal_kit import batch
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.receivers import AuditLog
from django_signal_kit.tasks import relaying
from django_signal_kit.tasks.models import OutboxTask
from django_signal_kit.tasks.outbox import GRACE
from django_signal_kit.tasks.relaying import relay
from tests.apps.testapp.models import Category, Tag
from tests.conftest import as_entry
from tests.tasks.collectors import Counts, Fails, Logged, Names
from tests.tasks.queues import BROKER, IMMEDIATE, Broker, get_messages, work
from tests.threads import in_threads

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

ROOT = Path(__file__).parents[2]
LONG_AGO = datetime.timedelta(minutes=5)


@pytest.fixture(autouse=True)
def _broker(settings: Any, monkeypatch: Any) -> None:
    settings.TASKS = BROKER
    # No commit sends what another test has left, unless the test asks for it.
    monkeypatch.setattr(relaying, "_looked", dict.fromkeys(connections, float("inf")))


def make_due() -> None:
    """As if their writers' time to send them were over."""
    OutboxTask.objects.update(due_at=timezone.now() - LONG_AGO)


def run(name: str, *args: Any, **options: Any) -> str:
    out = io.StringIO()
    call_command(name, *args, stdout=out, stderr=out, **options)
    return out.getvalue()


def waiting(using: str = "default") -> int:
    """How many tasks no queue has taken."""
    return OutboxTask.objects.using(using).filter(taken_at=None).count()


def test_the_row_is_in_the_transaction_and_gone_when_the_task_is_done(wire: Any) -> None:
    wire(Names)
    seen: list[int] = []
    with transaction.atomic():
        Tag.objects.create(name="a")
        Tag.objects.create(name="b")
        transaction.on_commit(lambda: seen.append(len(Broker.messages)))
    assert [task["items"] for task in get_messages()] == [["a", "b"]]
    (row,) = OutboxTask.objects.all()
    assert (row.due_at, row.failed_at, row.attempt) == (None, None, 1)
    assert row.taken_at is not None
    assert seen == [1]
    assert work() == []
    assert not OutboxTask.objects.exists()


def test_a_task_that_the_queue_has_lost_is_sent_again(wire: Any, flushed: Any) -> None:
    wire(Names)
    Tag.objects.create(name="a")
    # A worker has taken it, and was killed.
    Broker.messages.clear()
    assert run("relaytasks") == ""
    OutboxTask.objects.update(taken_at=timezone.now() - datetime.timedelta(hours=2))
    assert run("relaytasks", "--stuck-after", "3h") == ""
    assert run("relaytasks").splitlines() == [
        "default: 1 tasks of killed workers are run again, 0 were run too often.",
        "default: 1 tasks sent.",
    ]
    assert [task["attempt"] for task in get_messages()] == [2]
    assert work() == []
    assert flushed == [("Names", ["a"])]
    assert not OutboxTask.objects.exists()


def test_a_task_that_was_only_late_is_not_flushed_twice(wire: Any, flushed: Any) -> None:
    wire(Names)
    Tag.objects.create(name="a")
    OutboxTask.objects.update(taken_at=timezone.now() - datetime.timedelta(hours=2))
    run("relaytasks")
    assert len(get_messages()) == 2
    assert work() == []
    assert flushed == [("Names", ["a"])]


def test_a_task_that_kills_each_worker_is_given_up(wire: Any, flushed: Any, failures: Any) -> None:
    receiver = wire(Names, TASKS={"ATTEMPTS": 3})
    Tag.objects.create(name="a")
    late = list(Broker.messages)
    for _ in range(3):
        Broker.messages.clear()
        OutboxTask.objects.update(taken_at=timezone.now() - datetime.timedelta(hours=2))
        said = run("relaytasks")
    assert said == "default: 0 tasks of killed workers are run again, 1 were run too often.\n"
    (told,) = failures
    assert (told["receiver"], told["items"]) == (receiver, ["a"])
    assert run("requeuetasks") == "default: Names: 1 failed tasks.\n"
    assert Broker.messages == []
    # And if a queue was only that slow, it is done as well.
    Broker.messages += late
    assert work() == []
    assert flushed == [("Names", ["a"])]
    assert run("requeuetasks") == "No task has failed.\n"


@pytest.mark.parametrize("receiver", [Names, Fails])
def test_a_worker_that_is_faster_than_the_note_of_it_leaves_what_it_says(
    wire: Any, receiver: Any, flushed: Any
) -> None:
    wire(receiver)
    noted: list[Any] = []

    def work_first(execute: Any, sql: str, *args: Any) -> Any:
        if sql.startswith("UPDATE") and not noted:
            noted.append(sql)
            assert work() == []
        return execute(sql, *args)

    with connection.execute_wrapper(work_first):
        Tag.objects.create(name="a")
    assert noted
    assert flushed == [(receiver.__name__, ["a"])]
    rows = list(OutboxTask.objects.values_list("attempt", "taken_at"))
    assert rows == ([] if receiver is Names else [(2, None)])


def test_a_request_pays_one_insert_and_after_the_commit_one_update(wire: Any) -> None:
    wire(Names)
    with CaptureQueriesContext(connection) as plain, transaction.atomic():
        for number in range(5):
            Category.objects.create(name=f"{number}")
    with CaptureQueriesContext(connection) as told, transaction.atomic():
        for number in range(5):
            Tag.objects.create(name=f"{number}")
    assert len(get_messages()) == 1
    statements = [query["sql"].lstrip().partition(" ")[0] for query in told]
    assert len(statements) == len(plain) + 2
    commit = statements.index("COMMIT") if "COMMIT" in statements else len(statements) - 1
    assert statements[commit - 1 : commit + 2].count("INSERT") == 1
    assert statements[-1] == "UPDATE"


def test_in_autocommit_the_write_and_its_task_are_one_transaction(wire: Any) -> None:
    wire(Names)
    Broker.is_down = True
    Tag.objects.create(name="a")
    assert OutboxTask.objects.get().receiver == "Names"
    with pytest.raises(DatabaseError):
        with connection.execute_wrapper(refuse_the_outbox):
            Tag.objects.create(name="b")
    # Not even the row: both or none.
    assert [tag.name for tag in Tag.objects.all()] == ["a"]
    tag = Tag(name="c")
    with pytest.raises(DatabaseError), connection.execute_wrapper(refuse_the_outbox):
        tag.save()
    assert (tag.pk, tag._state.adding) == (None, True)
    tag.save()
    assert Tag.objects.count() == 2


def refuse_the_outbox(execute: Any, sql: str, *args: Any) -> Any:
    if sql.startswith("INSERT") and "signal_kit_tasks_outboxtask" in sql:
        raise DatabaseError("the disk is full")
    return execute(sql, *args)


def test_in_a_block_the_whole_of_it_is_rolled_back(wire: Any) -> None:
    wire(Names)
    with pytest.raises(DatabaseError), connection.execute_wrapper(refuse_the_outbox):
        with transaction.atomic():
            Category.objects.create(name="c")
            Tag.objects.create(name="a")
    assert not Tag.objects.exists()
    assert not Category.objects.exists()
    assert connection.get_autocommit()
    # The connection is as good as new.
    with transaction.atomic():
        Tag.objects.create(name="b")
    assert [task["items"] for task in get_messages()] == [["b"]]


def test_the_entries_of_an_audit_log_do_not_commit_before_the_task_is_there(wire: Any) -> None:
    # Where the database takes it, the last statement of a transaction brings its COMMIT along.
    wire((AuditLog, {"models": ["testapp.Tag"]}), Names)
    with pytest.raises(DatabaseError), connection.execute_wrapper(refuse_the_outbox):
        Tag.objects.create(name="a")
    assert not Tag.objects.exists()
    assert not AuditEntry.objects.exists()
    Tag.objects.create(name="b")
    assert AuditEntry.objects.count() == 1
    assert [task["items"] for task in get_messages()] == [["b"]]


def test_what_is_no_database_error_rolls_back_as_well(wire: Any) -> None:
    wire(Names)

    def fail(execute: Any, sql: str, *args: Any) -> Any:
        if sql.startswith("INSERT") and "outboxtask" in sql:
            raise ZeroDivisionError
        return execute(sql, *args)

    with pytest.raises(ZeroDivisionError), connection.execute_wrapper(fail):
        with transaction.atomic():
            Tag.objects.create(name="a")
    assert not Tag.objects.exists()
    Tag.objects.create(name="b")
    assert [task["items"] for task in get_messages()] == [["b"]]


def test_a_receiver_that_only_logs_loses_its_task_and_not_the_write(
    wire: Any, failures: Any
) -> None:
    receiver = wire(Logged)
    with connection.execute_wrapper(refuse_the_outbox):
        Tag.objects.create(name="a")
    assert Tag.objects.get().name == "a"
    (told,) = failures
    assert (told["receiver"], told["items"]) == (receiver, ["a"])
    assert isinstance(told["exception"], DatabaseError)


def test_what_a_receiver_that_only_logs_has_collected_before_it_failed_is_taken_back(
    wire: Any,
) -> None:
    wire((Logged, {"atomic": False}))
    with batch():
        Tag.objects.create(name="good")
        Tag.objects.create(name="bad")
    assert [task["items"] for task in get_messages()] == [["good"]]
    with transaction.atomic():
        Tag.objects.create(name="fine")
        Tag.objects.create(name="bad")
    # No savepoint takes it back where there is no transaction.
    Tag.objects.create(name="bad")
    assert [task["items"] for task in get_messages()] == [["good"], ["fine"]]


def test_what_is_flushed_just_before_the_commit_is_in_the_transaction(wire: Any) -> None:
    wire(Commits)
    COMMITTED.clear()
    with transaction.atomic():
        Tag.objects.create(name="a")
        assert COMMITTED == []
    # Once at collect() and once at the flush, when Django has left its block already.
    assert COMMITTED == [1, 1]
    assert [task["items"] for task in get_messages()] == [["a"]]


COMMITTED: list[int] = []


class Commits(Names):
    """Asks for what only a transaction gives."""

    def serialize(self, item: Any) -> Any:
        list(Tag.objects.select_for_update())
        transaction.on_commit(lambda: COMMITTED.append(Tag.objects.count()))
        return item


def test_where_the_user_says_commit_the_row_is_in_what_he_commits(wire: Any) -> None:
    wire(Names)
    Broker.is_down = True
    transaction.set_autocommit(False)
    try:
        Tag.objects.create(name="a")
        transaction.rollback()
        Tag.objects.create(name="b")
        transaction.commit()
        if connection.vendor != "postgresql":
            # To begin with autocommit again is a COMMIT, where that may be said at all.
            Tag.objects.create(name="c")
    finally:
        transaction.set_autocommit(True)
    rows = [json.loads(row.payload)["items"] for row in OutboxTask.objects.all()]
    assert rows == ([["b"]] if connection.vendor == "postgresql" else [["b"], ["c"]])


def test_a_broker_that_is_down_harms_nobody_and_gets_the_task_later(
    wire: Any, caplog: Any, failures: Any
) -> None:
    wire(Names, Counts)
    Broker.is_down = True
    Tag.objects.create(name="a")
    assert Tag.objects.count() == 1
    assert OutboxTask.objects.count() == 2
    # The second is not even tried.
    assert caplog.text.count("could not be enqueued, and waits in the outbox") == 1
    assert failures == []
    Broker.is_down = False
    # They are left to their writer for a while.
    assert run("relaytasks") == ""
    make_due()
    assert run("relaytasks") == "default: 2 tasks sent.\n"
    assert [task["items"] for task in get_messages()] == [["a"], [{"name": "a", "count": 1}]]
    assert not waiting()


def test_a_task_that_the_queue_never_takes_does_not_keep_back_the_others(
    wire: Any, monkeypatch: Any
) -> None:
    enqueue = Broker.enqueue

    def refuse(self: Any, task: Any, args: Any, kwargs: Any) -> Any:
        if kwargs["items"] == ["too large"]:
            raise ValueError("the message is too large")
        return enqueue(self, task, args, kwargs)

    wire(Names)
    Broker.is_down = True
    for name in ("too large", "a", "b"):
        Tag.objects.create(name=name)
    Broker.is_down = False
    monkeypatch.setattr(Broker, "enqueue", refuse)
    OutboxTask.objects.update(due_at=F("due_at") - 2 * GRACE)
    for _ in range(2):
        with pytest.raises(CommandError, match="No queue takes"):
            run("relaytasks")
        OutboxTask.objects.exclude(due_at=None).update(due_at=F("due_at") - GRACE)
    assert [task["items"] for task in get_messages()] == [["a"], ["b"]]
    assert waiting() == 1


def test_relaytasks_says_that_no_queue_takes_them(wire: Any) -> None:
    wire(Names)
    Broker.is_down = True
    Tag.objects.create(name="a")
    make_due()
    with pytest.raises(CommandError, match="No queue takes 1 of the tasks"):
        run("relaytasks")
    row = OutboxTask.objects.get()
    assert row.due_at is not None
    assert timezone.now() < row.due_at <= timezone.now() + GRACE


def test_the_next_commit_sends_what_another_has_left(wire: Any, monkeypatch: Any) -> None:
    wire(Names)
    Broker.is_down = True
    for name in "abc":
        Tag.objects.create(name=name)
    make_due()
    Broker.is_down = False
    monkeypatch.setattr(relaying, "_looked", {})
    Tag.objects.create(name="d")
    assert sorted(task["items"][0] for task in get_messages()) == ["a", "b", "c", "d"]
    # And looks no more for a minute.
    with CaptureQueriesContext(connection) as queries:
        Tag.objects.create(name="e")
    assert not any(query["sql"].startswith("SELECT") for query in queries)


def test_two_that_sweep_at_once_send_each_task_once(wire: Any) -> None:
    wire(Names)
    Broker.is_down = True
    for number in range(60):
        Tag.objects.create(name=f"{number}")
    Broker.is_down = False
    make_due()
    barrier = threading.Barrier(3)

    def sweep() -> None:
        barrier.wait()
        relay("default")

    in_threads(*[sweep] * 3)
    relay("default")
    sent = sorted(int(task["items"][0]) for task in get_messages())
    assert sent == list(range(60))
    assert not waiting()


def test_a_process_that_is_killed_after_the_commit_leaves_its_task(
    wire: Any, tmp_path: Path, flushed: Any
) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "tests.tasks.killed"],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.tasks.killed_settings",
            "SIGNAL_KIT_FAULTS_DATABASE": str(connection.settings_dict["NAME"]),
            "SIGNAL_KIT_FAULTS_RECEIVERS": json.dumps([as_entry(Names)]),
            "TMPDIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert result.returncode == -signal.SIGKILL, result.stderr
    assert Tag.objects.get().name == "a"
    wire(Names)
    make_due()
    assert run("relaytasks") == "default: 1 tasks sent.\n"
    assert work() == []
    assert flushed == [("Names", ["a"])]


def test_each_database_has_its_own(wire: Any, settings: Any) -> None:
    wire(Names)
    Broker.is_down = True
    with transaction.atomic(using="other"):
        Tag.objects.using("other").create(name="a")
        Tag.objects.create(name="b")
    assert [row.receiver for row in OutboxTask.objects.using("other")] == ["Names"]
    assert OutboxTask.objects.count() == 1
    Broker.is_down = False
    for using in ("default", "other"):
        OutboxTask.objects.using(using).update(due_at=timezone.now() - LONG_AGO)
    assert run("relaytasks") == "default: 1 tasks sent.\nother: 1 tasks sent.\n"
    assert [(task["using"], task["items"]) for task in get_messages()] == [
        ("default", ["b"]),
        ("other", ["a"]),
    ]


def test_a_database_without_the_table_does_not_keep_back_the_others(wire: Any) -> None:
    wire(Names)
    Broker.is_down = True
    Tag.objects.create(name="a")
    Broker.is_down = False
    make_due()

    def refuse(execute: Any, sql: str, *args: Any) -> Any:
        raise OperationalError("no such table")

    told = "'other' are not sent: no such table. If its table is missing, run migrate"
    with connections["other"].execute_wrapper(refuse), pytest.raises(CommandError, match=told):
        run("relaytasks")
    assert [task["items"] for task in get_messages()] == [["a"]]


class OnlyDefault:
    """A router that allows the outbox in one database."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return db == "default" if app_label == "signal_kit_tasks" else None


def test_a_database_that_may_have_no_outbox_has_none(wire: Any, settings: Any) -> None:
    settings.DATABASE_ROUTERS = [f"{__name__}.OnlyDefault"]
    wire(Names)
    Tag.objects.using("other").create(name="a")
    assert [task["items"] for task in get_messages()] == [["a"]]
    assert "default: 0 tasks sent.\n" in run("relaytasks", verbosity=2)
    assert "other" not in run("relaytasks", verbosity=2)


def test_an_outbox_can_be_had_without_a_broker(wire: Any, settings: Any, flushed: Any) -> None:
    settings.TASKS = IMMEDIATE
    wire(Names, TASKS={"OUTBOX": True})
    with CaptureQueriesContext(connection) as queries:
        Tag.objects.create(name="a")
    assert flushed == [("Names", ["a"])]
    assert any("outboxtask" in query["sql"] for query in queries)
    assert not OutboxTask.objects.exists()


def test_an_outbox_can_be_done_without(wire: Any) -> None:
    wire(Names, TASKS={"OUTBOX": False})
    with CaptureQueriesContext(connection) as queries:
        Tag.objects.create(name="a")
    assert len(get_messages()) == 1
    assert not any("outboxtask" in query["sql"] for query in queries)
    # Nothing opens a transaction either.
    assert not any(query["sql"].startswith("BEGIN") for query in queries)


class InATestCase(TestCase):
    """What a TestCase captures is the task and what sends it."""

    databases = frozenset(("default", "other"))

    def test_the_task_is_sent_by_the_captured_callbacks(self) -> None:
        with self.settings(TASKS=BROKER, SIGNAL_KIT={"RECEIVERS": [as_entry(Names)]}):
            with self.captureOnCommitCallbacks():
                Tag.objects.create(name="a")
            assert get_messages() == []
            with self.captureOnCommitCallbacks(execute=True):
                Tag.objects.create(name="b")
                Tag.objects.create(name="c")
            assert [task["items"] for task in get_messages()] == [["b", "c"]]
            assert not waiting()
