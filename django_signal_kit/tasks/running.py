"""The task: what a worker runs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django_signal_kit.exceptions import FlushFailedError
from django_signal_kit.tasks.batches import Batch
from django_signal_kit.tasks.context import unpack
from django_signal_kit.tasks.framework import make_any_task
from django_signal_kit.tasks.known import find_options, get_receiver
from django_signal_kit.tasks.options import read_options
from django_signal_kit.tasks.outbox import forget, is_kept
from django_signal_kit.tasks.retrying import give_up, try_again
from django_signal_kit.tasks.travelling import match
from django_signal_kit.units.journal import call_flush


def flush_function(context: Any, **arguments: Any) -> None:
    """Runs in a worker: the receiver that the arguments name flushes the items. Raises what
    ``flush()`` raises if a backend is to try again by itself, or if nobody does; and always what
    is to end the worker, such as SystemExit."""
    batch = Batch.from_arguments(**arguments)
    if not is_kept(batch):
        return
    unpacked = batch.items
    try:
        receiver = get_receiver(batch.receiver)
        with unpack(batch.context):
            unpacked = [receiver.deserialize(item) for item in batch.items]
            call_flush(receiver, unpacked)
    except BaseException as error:
        if isinstance(error, FlushFailedError) and not error.items:
            forget(batch)
            return
        # A worker that is told twice to end is interrupted here, and its queue may take the task
        # for failed.
        failed = error.items if isinstance(error, FlushFailedError) else unpacked
        places = match(unpacked, failed)
        verdict = try_again(batch, places, error, runs=context.attempt)
        if verdict == "lost":
            items = [unpacked[place] for place in places]
            give_up(batch, error, items, [batch.items[place] for place in places])
        if verdict != "put_off" or not isinstance(error, Exception):
            raise
    else:
        forget(batch)


def back_off(exception: BaseException, result: Any) -> timedelta:
    """How long a backend that retries by itself waits."""
    options = find_options(result.kwargs.get("receiver", ""))
    return options.get_delay(result.kwargs.get("attempt", 1) - 1 + result.attempts)


# Workers import the task by the path of its function.
flush_function.__name__ = flush_function.__qualname__ = "flush_collected"


def __getattr__(name: str) -> Any:
    """``flush_collected``: made when asked for, as the settings say then where tasks go."""
    if name == "flush_collected":
        return make_any_task((flush_function, back_off), read_options())
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
