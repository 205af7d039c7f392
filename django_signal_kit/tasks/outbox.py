"""Tasks in the transaction of the write, until a queue elsewhere has taken them.

The row of a task is committed with the write. Whoever has written it enqueues the task after the
commit, and deletes the row. If he dies in between, whoever sweeps the table does.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import DatabaseError
from django.utils import timezone

from django_signal_kit.tasks.batches import Batch
from django_signal_kit.tasks.options import TaskOptions
from django_signal_kit.tasks.places import get_outbox_model
from django_signal_kit.units.unit import make_id

#: So long a row is left to whoever has written or taken it. An enqueue takes no longer.
GRACE = timedelta(minutes=1)

logger = logging.getLogger("django_signal_kit")


class Waiting(NamedTuple):
    """A task whose row is in the transaction."""

    row: Any
    batch: Batch
    options: TaskOptions


def store(
    batches: Iterable[Batch], options: TaskOptions, using: str, due_at: datetime | None = None
) -> list[Waiting]:
    """Write the rows of these tasks in one statement. They are due when their writer has had his
    time to send them, or at ``due_at``."""
    model, now = get_outbox_model(), timezone.now()
    found = [
        Waiting(_make_row(model, batch, now, due_at or now + GRACE), batch, options)
        for batch in batches
    ]
    model._base_manager.using(using).bulk_create([waiting.row for waiting in found])
    return found


def store_failed(batch: Batch, error: Exception) -> None:
    """Keep a task that is not tried again, for ``requeuetasks``."""
    model, now = get_outbox_model(), timezone.now()
    row = _make_row(model, batch, now, None)
    row.failed_at, row.error = now, f"{type(error).__name__}: {error}"[:2000]
    model._base_manager.using(batch.using).bulk_create([row])


def _make_row(model: Any, batch: Batch, now: datetime, due_at: datetime | None) -> Any:
    return model(
        id=make_id(),
        receiver=batch.receiver,
        payload=json.dumps({"items": batch.items, "context": batch.context}),
        attempt=batch.attempt,
        created_at=now,
        due_at=due_at,
    )


def unpack(row: Any, using: str) -> Batch:
    """The task of a row of this database."""
    payload = json.loads(row.payload)
    return Batch(row.receiver, using, payload["items"], payload["context"], row.attempt)


def send(items: Iterable[Waiting], using: str) -> int:
    """Enqueue these tasks and delete the rows of those that were taken. Returns how many were. A
    backend that takes one not is not asked again."""
    sent, down = [], set()
    for waiting in items:
        backend = waiting.options.backend
        if backend in down:
            continue
        try:
            waiting.batch.enqueue(waiting.options)
        except Exception as error:
            down.add(backend)
            logger.warning(
                "A task of %s could not be enqueued, and waits in the outbox of the database %r "
                "until relaytasks sends it: %r",
                waiting.batch.receiver,
                using,
                error,
                exc_info=error,
            )
        else:
            sent.append(waiting.row.pk)
    if not sent:
        return 0
    try:
        # Without a transaction of its own, which would be two round trips more.
        get_outbox_model()._base_manager.using(using).filter(pk__in=sent)._raw_delete(using)
    except DatabaseError:
        logger.exception("%d tasks are sent twice: their rows could not be deleted", len(sent))
    return len(sent)
