"""What has been collected for the transaction, flushed into it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django_signal_kit.units.isolation import Isolation
from django_signal_kit.units.journal import CHUNK, Journal, call_flush, is_doomed, split
from django_signal_kit.units.pile import Flusher

_MAX_ROUNDS = 100


def flush_before_commit(journal: Journal, start: int, *, is_last: bool) -> None:
    """Flush what goes into the transaction, and what that made others collect.

    ``start``: where it begins; ``is_last``: nothing but the COMMIT comes after it.
    """
    _flush_in_rounds(journal, partial(journal.take_before, start), is_last=is_last)


def flush_for_commit(journal: Journal) -> None:
    """Flush what goes into the transaction as its last, just before its COMMIT. Whoever commits
    has to roll back if this raises."""
    connection = journal.connection
    # Django has left the block already when it commits.
    is_in_block, connection.in_atomic_block = connection.in_atomic_block, True
    try:
        _flush_in_rounds(journal, journal.take_for_commit, is_last=False)
        connection.validate_no_broken_transaction()
    finally:
        connection.in_atomic_block = is_in_block


def _flush_in_rounds(
    journal: Journal, take: Callable[[], dict[Flusher, list[Any]]], *, is_last: bool
) -> None:
    for _ in range(_MAX_ROUNDS):
        grouped = take()
        if not grouped:
            return
        _flush(journal, grouped, is_last=is_last)
    names = ", ".join(sorted(receiver.name for receiver in grouped))
    raise RuntimeError(
        f"flush() of {names} has collected new items {_MAX_ROUNDS} times in a row. A flush may "
        f"write what other receivers hear, but not what its own receiver collects each time."
    )


def relieve(journal: Journal) -> None:
    """Flush before its time what has piled up, unless a write is in progress.

    What a savepoint that is open could not take back stays.
    """
    unit = journal.unit
    if unit is None or not (unit.is_block or unit.done) or is_doomed(journal.connection):
        return
    while unit.parent is not None:
        unit = unit.parent
        if not unit.is_block:
            return
    start = max(unit.mark[0], journal.get_innermost()[0])
    if journal.before.end - start >= CHUNK:
        _flush(journal, journal.before.take(start), is_last=False)


def _flush(journal: Journal, grouped: dict[Flusher, list[Any]], *, is_last: bool) -> None:
    parts = [(receiver, some) for receiver, items in grouped.items() for some in split(items)]
    for number, (receiver, items) in enumerate(parts, start=1):
        if receiver.on_error == "log":
            with Isolation(receiver, "flush", journal.connection, items):
                call_flush(receiver, items)
            continue
        # What others have collected in the meantime is flushed in a round of its own.
        is_end = is_last and number == len(parts) and not journal.before.items
        is_end = is_end and not journal.has_for_commit
        journal.is_last = is_end and not journal.connection.needs_rollback
        try:
            call_flush(receiver, items)
        finally:
            journal.is_last = False
