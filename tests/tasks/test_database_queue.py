"""With a queue in the database of the write, the task is part of the transaction."""

from __future__ import annotations

import datetime
import io
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_signal_kit.sight.counting import get_tasks
from django_signal_kit.sight.figures import Tasks
from django_signal_kit.tasks.models import OutboxTask
from django_signal_kit.tasks.options import read_options
from django_signal_kit.tasks.places import find_place
from django_signal_kit.wiring.registry import registry
from tests.apps.testapp.models import Tag
from tests.tasks.collectors import Everything, Fails, FailsInPart, Names

pytest.importorskip("django_tasks_db", reason="django-tasks-db is not installed")

from django_tasks_db.management.commands.db_worker import Worker
from django_tasks_db.models import DBTaskResult

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

DATABASE = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}


@pytest.fixture(autouse=True)
def _queue(settings: Any) -> None:
    settings.TASKS = DATABASE


def work() -> None:
    """What a worker of django-tasks-db does until nothing is ready any more."""
    Worker(
        queue_names=["default"],
        interval=0,
        batch=True,
        backend_name="default",
        startup_delay=False,
        max_tasks=None,
        worker_id="a",
        excluded_queue_names=[],
    ).run()


def run(name: str, *args: Any, **options: Any) -> str:
    out = io.StringIO()
    call_command(name, *args, stdout=out, stderr=out, **options)
    return out.getvalue()


def get_items() -> list[Any]:
    return [
        row.args_kwargs["kwargs"]["items"] for row in DBTaskResult.objects.order_by("enqueued_at")
    ]


def test_the_task_is_enqueued_in_the_transaction(wire: Any, flushed: Any) -> None:
    wire(Names)
    with transaction.atomic():
        Tag.objects.create(name="a")
        with pytest.raises(ValueError), transaction.atomic():
            Tag.objects.create(name="lost")
            raise ValueError
        Tag.objects.create(name="b")
    with pytest.raises(ValueError), transaction.atomic():
        Tag.objects.create(name="lost")
        raise ValueError
    assert get_items() == [["a", "b"]]
    assert not OutboxTask.objects.exists()
    work()
    assert flushed == [("Names", ["a", "b"])]
    assert DBTaskResult.objects.get().status == "SUCCESSFUL"


def test_the_write_and_its_task_are_both_there_or_neither(wire: Any) -> None:
    wire(Names)

    def refuse(execute: Any, sql: str, *args: Any) -> Any:
        if "django_tasks_database" in sql:
            raise DatabaseError("the disk is full")
        return execute(sql, *args)

    with pytest.raises(DatabaseError), connection.execute_wrapper(refuse):
        Tag.objects.create(name="a")
    assert not Tag.objects.exists()
    Tag.objects.create(name="b")
    assert get_items() == [["b"]]


def test_a_request_pays_one_insert(wire: Any) -> None:
    wire(Names)
    with CaptureQueriesContext(connection) as queries, transaction.atomic():
        for number in range(5):
            Tag.objects.create(name=f"{number}")
    statements = [query["sql"].lstrip().partition(" ")[0] for query in queries]
    assert statements.count("INSERT") == 6
    assert set(statements) <= {"BEGIN", "INSERT", "COMMIT"}


def test_a_write_to_another_database_has_the_outbox(wire: Any) -> None:
    wire(Names)
    assert [find_place(read_options(), using) for using in ("default", "other")] == [
        "in_transaction",
        "outbox",
    ]
    Tag.objects.using("other").create(name="a")
    assert get_items() == [["a"]]
    assert not OutboxTask.objects.using("other").filter(taken_at=None).exists()


def test_a_failed_task_is_enqueued_again_for_later(wire: Any, flushed: Any, failures: Any) -> None:
    wire(FailsInPart, TASKS={"ATTEMPTS": 2, "BACKOFF": 1000})
    Tag.objects.bulk_create([Tag(name="a"), Tag(name="b")])
    work()
    first, second = DBTaskResult.objects.order_by("enqueued_at")
    assert (first.status, second.status) == ("SUCCESSFUL", "READY")
    assert timezone.now() + datetime.timedelta(seconds=400) < second.run_after
    assert get_items() == [["a", "b"], ["b"]]
    DBTaskResult.objects.filter(pk=second.pk).update(run_after=timezone.now())
    work()
    assert flushed == [("FailsInPart", ["a", "b"]), ("FailsInPart", ["b"])]
    assert [told["items"] for told in failures] == [["b"]]
    assert DBTaskResult.objects.get(pk=second.pk).status == "FAILED"
    assert run("requeuetasks") == "default: FailsInPart: 1 failed tasks.\n"


def test_a_task_whose_worker_was_killed_is_run_again_but_not_for_ever(
    wire: Any, flushed: Any, failures: Any
) -> None:
    wire(Names, TASKS={"ATTEMPTS": 2})
    Tag.objects.create(name="a")
    row = DBTaskResult.objects.get()
    row.claim("killed")
    work()
    assert flushed == []
    # It may still be alive.
    run("relaytasks")
    row.refresh_from_db()
    assert row.status == "RUNNING"
    begin_long_ago()
    assert run("relaytasks") == (
        "default: 1 tasks of killed workers are run again, 0 were run too often.\n"
    )
    row.refresh_from_db()
    assert row.status == "READY"
    row.claim("killed as well")
    begin_long_ago()
    assert run("relaytasks") == (
        "default: 0 tasks of killed workers are run again, 1 were run too often.\n"
    )
    row.refresh_from_db()
    assert row.status == "FAILED"
    assert "Its worker was killed, 2 times in all." in row.traceback
    (told,) = failures
    assert (told["receiver"].name, told["items"]) == ("Names", ["a"])
    assert run("requeuetasks", "Names").startswith("default: 1 tasks are run again.\n")
    work()
    assert flushed == [("Names", ["a"])]


def begin_long_ago() -> None:
    long_ago = timezone.now() - datetime.timedelta(hours=2)
    DBTaskResult.objects.filter(status="RUNNING").update(started_at=long_ago)


def test_how_long_a_task_may_run_can_be_said(wire: Any) -> None:
    wire(Names)
    Tag.objects.create(name="a")
    DBTaskResult.objects.get().claim("killed")
    begin_long_ago()
    assert run("relaytasks", stuck_after="3h") == ""
    assert run("relaytasks", "--stuck-after", "2h").startswith("default: 1 tasks of killed")


def test_the_tasks_of_others_are_left_alone(wire: Any) -> None:
    wire(Names)
    Tag.objects.create(name="a")
    DBTaskResult.objects.get().claim("killed")
    DBTaskResult.objects.update(task_path="shop.work.report")
    begin_long_ago()
    assert run("relaytasks") == ""
    assert DBTaskResult.objects.get().status == "RUNNING"


def test_without_an_outbox_the_queue_itself_keeps_what_has_failed(
    wire: Any, settings: Any, flushed: Any, monkeypatch: Any
) -> None:
    settings.INSTALLED_APPS = [
        name for name in settings.INSTALLED_APPS if name != "django_signal_kit.tasks"
    ]
    wire(Fails, TASKS={"ATTEMPTS": 1})
    Tag.objects.create(name="a")
    work()
    assert run("requeuetasks") == "default: Fails: 1 failed tasks.\n"
    with pytest.raises(CommandError, match=r"No task of 'Names' has failed"):
        run("requeuetasks", "Names")
    monkeypatch.setattr(Fails, "flush", Names.flush)
    assert run("requeuetasks", all=True) == "default: 1 tasks are run again.\n"
    work()
    assert flushed == [("Fails", ["a"]), ("Fails", ["a"])]
    assert DBTaskResult.objects.get().status == "SUCCESSFUL"


def test_a_receiver_of_everything_hears_nothing_of_the_queue(wire: Any, flushed: Any) -> None:
    receiver = wire(Everything)
    Tag.objects.create(name="a")
    work()
    assert flushed == [("Everything", ["testapp.Tag"])]
    assert DBTaskResult.objects.count() == 1
    assert receiver.name == "Everything"


def test_where_it_waits_is_shown(wire: Any) -> None:
    wire(Names)
    assert "task (in the transaction)" in run("showreceivers")


def test_tasks_in_the_queue_are_counted_by_their_receivers(wire: Any, settings: Any) -> None:
    wire(Names, Fails)
    for name in ("a", "b"):
        Tag.objects.create(name=name)
    assert get_tasks() == {"Names": Tasks(2, 0), "Fails": Tasks(2, 0)}
    # One that an outbox holds as well is counted there.
    wire(Names, TASKS={"OUTBOX": True})
    with transaction.atomic(using="other"):
        registry.receivers[0].collect("c", using="other")
    assert OutboxTask.objects.using("other").count() == 1
    assert DBTaskResult.objects.count() == 5
    assert get_tasks()["Names"] == Tasks(3, 0)
