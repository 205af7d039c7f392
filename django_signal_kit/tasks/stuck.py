"""Tasks of killed workers: in a queue that leaves them RUNNING for ever, and lost by one that
forgets them; and failed ones in the first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from django.apps import apps
from django.db import router
from django.db.models import Count
from django.db.models.fields.json import KT
from django.utils import timezone

from django_signal_kit.tasks.batches import TASK_PATH, Batch
from django_signal_kit.tasks.known import find_options, restore_items
from django_signal_kit.tasks.outbox import unpack
from django_signal_kit.tasks.places import get_outbox_model
from django_signal_kit.tasks.retrying import give_up

#: The model of the queue of django-tasks-db.
_LABEL = "django_tasks_database.DBTaskResult"


class Freed(NamedTuple):
    """How many tasks are run again, and how many were run too often."""

    requeued: int
    given_up: int


class WorkerKilledError(Exception):
    """A task has been begun as often as it may be, and has never come to an end."""


def get_queues() -> Iterator[tuple[Any, str]]:
    """(model, database) of each queue that is installed and leaves tasks RUNNING."""
    if _LABEL.partition(".")[0] in apps.app_configs:
        model = apps.get_model(_LABEL)
        yield model, router.db_for_write(model)


def free(model: Any, using: str, before: datetime) -> Freed:
    """Have the tasks run again that were begun before that moment and have not ended: their worker
    is taken for dead. One that has been begun as often as its receiver may try is given up."""
    rows = model._base_manager.using(using).filter(task_path=TASK_PATH)
    requeued = given_up = 0
    for row in list(rows.filter(status="RUNNING", started_at__lt=before)):
        # Somebody else may have freed it, and a worker begun it again.
        same = rows.filter(pk=row.pk, status="RUNNING", started_at=row.started_at)
        batch = Batch.from_arguments(**row.args_kwargs["kwargs"])
        attempt = batch.attempt - 1 + len(row.worker_ids)
        if attempt < find_options(batch.receiver).attempts:
            requeued += same.update(status="READY", started_at=None)
            continue
        error = WorkerKilledError(f"Its worker was killed, {attempt} times in all.")
        path = f"{WorkerKilledError.__module__}.{WorkerKilledError.__qualname__}"
        ended = {"finished_at": timezone.now(), "exception_class_path": path}
        if same.update(status="FAILED", traceback=str(error), **ended):
            given_up += 1
            give_up(batch, error, restore_items(batch.receiver, batch.items), batch.items)
    return Freed(requeued, given_up)


def free_taken(using: str, before: datetime) -> Freed:
    """The same of the tasks in the outbox of this database that a queue elsewhere took before that
    moment. They are due at once."""
    rows: Any = get_outbox_model()._base_manager.using(using).filter(failed_at=None)
    requeued = given_up = 0
    for row in list(rows.filter(taken_at__lt=before)):
        # A worker may have flushed it, or somebody else freed it.
        same = rows.filter(pk=row.pk, taken_at=row.taken_at, attempt=row.attempt)
        now = timezone.now()
        if row.attempt < find_options(row.receiver).attempts:
            requeued += same.update(due_at=now, taken_at=None, attempt=row.attempt + 1)
        elif same.update(taken_at=now):
            given_up += 1
            batch = unpack(row, using)
            error = WorkerKilledError(f"No worker has ended it, {row.attempt} times in all.")
            give_up(batch, error, restore_items(batch.receiver, batch.items), batch.items)
    return Freed(requeued, given_up)


def requeue(model: Any, using: str, names: frozenset[str] | None) -> int:
    """Have the failed tasks run again, with all their attempts: those of the receivers of these
    names, or all. Returns how many there are."""
    rows = model._base_manager.using(using).filter(task_path=TASK_PATH, status="FAILED")
    requeued = 0
    for row in list(rows):
        batch = Batch.from_arguments(**row.args_kwargs["kwargs"])
        if names is None or batch.receiver in names:
            arguments = replace(batch, attempt=1).get_arguments()
            requeued += rows.filter(pk=row.pk).update(
                status="READY",
                started_at=None,
                finished_at=None,
                worker_ids=[],
                args_kwargs={"args": [], "kwargs": arguments},
            )
    return requeued


def count_waiting(model: Any, using: str) -> Counter[str]:
    """Name of a receiver -> how many of its tasks wait here, or are being flushed; those that an
    outbox holds as well left out."""
    rows = model._base_manager.using(using).filter(task_path=TASK_PATH)
    alone = rows.filter(status__in=("READY", "RUNNING"), args_kwargs__kwargs__row__isnull=True)
    named = alone.annotate(named=KT("args_kwargs__kwargs__receiver"))
    return Counter(dict(named.order_by().values_list("named").annotate(Count("pk"))))


def count_failed(model: Any, using: str) -> Counter[str]:
    """Name of a receiver -> how many of its tasks have failed."""
    rows = model._base_manager.using(using).filter(task_path=TASK_PATH, status="FAILED")
    found = rows.values_list("args_kwargs", flat=True)
    return Counter(arguments["kwargs"]["receiver"] for arguments in found)
