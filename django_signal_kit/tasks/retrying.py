"""A task that has failed: tried again later, or given up and told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal, TypeAlias

from django.utils import timezone

from django_signal_kit.tasks.batches import Batch
from django_signal_kit.tasks.framework import get_backend, retries
from django_signal_kit.tasks.known import find_options, find_receiver
from django_signal_kit.tasks.options import TaskOptions
from django_signal_kit.tasks.outbox import change, note_taken, store, store_failed
from django_signal_kit.tasks.places import has_outbox, wants_outbox
from django_signal_kit.units.failures import report_failure
from django_signal_kit.units.loggers import get_logger

logger = get_logger("django_signal_kit.tasks")

#: What is said of an error whose items are in the outbox.
KEPT = "The outbox keeps what was to be flushed: see requeuetasks."


#: ``"put_off"``: it is in a queue or the outbox again. ``"left"``: the backend runs it again if it
#: raises. ``"lost"``: nobody does.
Verdict: TypeAlias = Literal["put_off", "left", "lost"]


def try_again(batch: Batch, places: Sequence[int], error: BaseException, *, runs: int) -> Verdict:
    """Have the items at these places tried again later, if there are attempts left.

    ``runs``: how often the backend has run this very task.
    """
    options = find_options(batch.receiver)
    by_itself = retries(get_backend(options.backend))
    attempt = batch.attempt - 1 + (runs if by_itself else 1)
    if attempt >= options.attempts:
        return "lost"
    delay = options.get_delay(attempt)
    if by_itself and len(places) == len(batch.items):
        if batch.row is not None:
            # The queue keeps it at the longest so long until it runs it again.
            note_taken([batch.row], batch.attempt, batch.using, timezone.now() + 2 * delay)
        return "left"
    again = replace(batch, items=[batch.items[place] for place in places], attempt=attempt + 1)
    if not _put_off(again, options, timezone.now() + delay):
        return "lost"
    logger.warning(
        "%s failed in a task, in attempt %d of %d; %d of %d items are tried again in %d s: %s",
        batch.receiver,
        attempt,
        options.attempts,
        len(places),
        len(batch.items),
        delay.total_seconds(),
        type(error).__name__,
        exc_info=error,
        extra={
            "receiver": batch.receiver,
            "using": batch.using,
            "count": len(places),
            "attempt": attempt,
            "error": type(error).__name__,
        },
    )
    return "put_off"


def _put_off(batch: Batch, options: TaskOptions, due_at: datetime) -> bool:
    """Into the queue if it knows of times, else into the outbox."""
    can_wait = get_backend(options.backend).supports_defer
    # At once in the row, so that a kill between the two loses nothing.
    if batch.row is not None and not change(batch, due_at=due_at, taken_at=None):
        # Somebody else has flushed it meanwhile.
        return True
    if can_wait:
        try:
            batch.enqueue(options, due_at)
        except Exception as error:
            logger.exception(
                "A task of %s could not be enqueued again",
                batch.receiver,
                extra={
                    "receiver": batch.receiver,
                    "using": batch.using,
                    "count": len(batch.items),
                    "attempt": batch.attempt,
                    "error": type(error).__name__,
                },
            )
        else:
            if batch.row is not None:
                note_taken([batch.row], batch.attempt, batch.using, due_at)
            return True
    if batch.row is not None:
        return True
    if (can_wait or wants_outbox(options)) and has_outbox(batch.using):
        store([batch], options, batch.using, due_at)
        return True
    return False


def give_up(batch: Batch, error: BaseException, items: Sequence[Any], data: Sequence[Any]) -> None:
    """Tell that these ``items`` are lost, and keep the ``data`` that they were made of for
    ``requeuetasks``, if there is an outbox: then ``error`` has the note ``KEPT``, and so has what
    a queue tells of it. Never raises."""
    receiver = find_receiver(batch.receiver)
    report_failure(receiver, "flush", error, items)
    try:
        note_lost = getattr(receiver, "_note_lost", None)
        if note_lost is not None:
            note_lost(list(items))
        if has_outbox(batch.using):
            store_failed(replace(batch, items=list(data)), error)
            error.add_note(KEPT)
    except Exception as failure:
        logger.exception(
            "A failed task of %s could not be kept",
            batch.receiver,
            extra={
                "receiver": batch.receiver,
                "using": batch.using,
                "count": len(data),
                "error": type(failure).__name__,
            },
        )
