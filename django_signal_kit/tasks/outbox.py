"""Tasks in the transaction of the write, until a worker has flushed them.

The row of a task is committed with the write. Whoever has written it enqueues the task after the
commit, and notes that in the row. If he dies in between, whoever sweeps the table enqueues it. The
worker deletes the row: many a queue forgets the task of one that is killed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import DatabaseError
from django.utils import timezone

from django_signal_kit.rows.values import to_text
from django_signal_kit.tasks.batches import Batch
from django_signal_kit.tasks.options import TaskOptions
from django_signal_kit.tasks.places import get_outbox_model
from django_signal_kit.units.ids import make_id
from django_signal_kit.units.loggers import get_logger

#: So long a row is left to whoever has written or taken it. An enqueue takes no longer.
GRACE = timedelta(minutes=1)

logger = get_logger("django_signal_kit.tasks")


class Waiting(NamedTuple):
    """A task whose row is in the transaction."""

    row: Any
    batch: Batch
    options: TaskOptions


class Sent(NamedTuple):
    """How many tasks were taken, and those that were not offered, as one before them was not."""

    taken: int
    unasked: list[Waiting]


def store(
    batches: Iterable[Batch], options: TaskOptions, using: str, due_at: datetime | None = None
) -> list[Waiting]:
    """Write the rows of these tasks in one statement. They are due when their writer has had his
    time to send them, or at ``due_at``."""
    model, now = get_outbox_model(), timezone.now()
    found = []
    for batch in batches:
        row = _make_row(model, batch, now, due_at or now + GRACE)
        found.append(Waiting(row, replace(batch, row=str(row.pk)), options))
    model._base_manager.using(using).bulk_create([waiting.row for waiting in found])
    return found


def is_kept(batch: Batch) -> bool:
    """Is its row still there, or did it never have one? If it is gone, the task has been flushed,
    and comes a second time because the queue was slow. Yes, if the database does not answer."""
    with suppress(DatabaseError):
        return batch.row is None or bool(_get_row(batch).exists())
    return True


def forget(batch: Batch) -> None:
    """The task has been flushed."""
    if batch.row is not None:
        # Without a transaction of its own, which would be two round trips more.
        _get_row(batch)._raw_delete(batch.using)


def change(batch: Batch, **values: Any) -> bool:
    """Have its row, if it has one, say what the task now is. Returns whether there is one."""
    if batch.row is None:
        return False
    told = {"payload": _dump(batch), "attempt": batch.attempt, **values}
    changed: int = _get_row(batch).update(**told)
    return changed > 0


def _get_row(batch: Batch) -> Any:
    return get_outbox_model()._base_manager.using(batch.using).filter(pk=batch.row)


def store_failed(batch: Batch, error: BaseException) -> None:
    """Keep a task that is not tried again, for ``requeuetasks``."""
    model, now = get_outbox_model(), timezone.now()
    told = {"failed_at": now, "error": to_text(f"{type(error).__name__}: {error}"[:2000])}
    if batch.row is not None:
        change(batch, due_at=None, taken_at=None, **told)
        return
    row = _make_row(model, batch, now, None)
    row.failed_at, row.error = told["failed_at"], told["error"]
    model._base_manager.using(batch.using).bulk_create([row])


def _make_row(model: Any, batch: Batch, now: datetime, due_at: datetime | None) -> Any:
    return model(
        id=make_id(),
        receiver=batch.receiver,
        payload=_dump(batch),
        attempt=batch.attempt,
        created_at=now,
        due_at=due_at,
    )


def _dump(batch: Batch) -> str:
    return json.dumps({"items": batch.items, "context": batch.context})


def unpack(row: Any, using: str) -> Batch:
    """The task of a row of this database."""
    kept = json.loads(row.payload)
    return Batch(row.receiver, using, kept["items"], kept["context"], row.attempt, str(row.pk))


def send(items: Iterable[Waiting], using: str) -> Sent:
    """Enqueue these tasks, and note in the rows which were taken. A backend that takes one not is
    not asked again."""
    sent: dict[int, list[Any]] = {}
    unasked = []
    down = set()
    for waiting in items:
        backend = waiting.options.backend
        if backend in down:
            unasked.append(waiting)
            continue
        try:
            waiting.batch.enqueue(waiting.options)
        except Exception as error:
            down.add(backend)
            logger.warning(
                "A task of %s could not be enqueued, and waits in the outbox of the database %r "
                "until relaytasks sends it: %s",
                waiting.batch.receiver,
                using,
                type(error).__name__,
                exc_info=error,
                extra={
                    "receiver": waiting.batch.receiver,
                    "using": using,
                    "count": len(waiting.batch.items),
                    "attempt": waiting.batch.attempt,
                    "error": type(error).__name__,
                },
            )
        else:
            sent.setdefault(waiting.batch.attempt, []).append(waiting.row.pk)
    try:
        for attempt, keys in sent.items():
            note_taken(keys, attempt, using, timezone.now())
    except DatabaseError as error:
        logger.exception(
            "Tasks are sent twice: that a queue has taken them could not be noted",
            extra={
                "using": using,
                "count": sum(map(len, sent.values())),
                "error": type(error).__name__,
            },
        )
    return Sent(sum(map(len, sent.values())), unasked)


def note_taken(keys: list[Any], attempt: int, using: str, at: datetime) -> None:
    """A queue has taken these rows, and keeps them until ``at``. A worker may have been faster:
    what has failed there is in its next attempt, or given up."""
    rows = get_outbox_model()._base_manager.using(using)
    same = rows.filter(pk__in=keys, attempt=attempt, failed_at=None)
    same.update(due_at=None, taken_at=at)
