"""The task: what a worker runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django_signal_kit.exceptions import FlushFailedError
from django_signal_kit.tasks.batches import Batch
from django_signal_kit.tasks.context import restored
from django_signal_kit.tasks.framework import make_any_task
from django_signal_kit.tasks.known import get_receiver
from django_signal_kit.tasks.options import read_options
from django_signal_kit.tasks.travelling import match
from django_signal_kit.units.failures import report_failure
from django_signal_kit.units.journal import call_flush


def flush_function(
    receiver: str,
    using: str,
    items: list[Any],
    context: Mapping[str, Any],
    attempt: int = 1,
    **kwargs: Any,
) -> None:
    """Runs in a worker: the receiver of that name flushes the items."""
    batch = Batch(receiver, using, items, dict(context), attempt)
    found = get_receiver(receiver)
    unpacked = [found.deserialize(item) for item in items]
    try:
        with restored(batch.context):
            call_flush(found, unpacked)
    except Exception as error:
        failed = error.items if isinstance(error, FlushFailedError) else unpacked
        places = match(unpacked, failed)
        report_failure(found, "flush", error, [unpacked[place] for place in places])
        raise


# Workers import the task by the path of its function.
flush_function.__name__ = flush_function.__qualname__ = "flush_collected"


def __getattr__(name: str) -> Any:
    """``flush_collected``: made when asked for, as the settings say then where tasks go."""
    if name == "flush_collected":
        return make_any_task(flush_function, read_options())
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
