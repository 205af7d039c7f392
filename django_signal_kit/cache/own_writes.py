"""What the open transactions of this thread forbid to whoever caches a value.

Inside a transaction that has touched a tag the rows are not yet what others may see, and what the
cache holds is not what its writer may see: he makes the value anew and stores nothing. Where a
transaction reads all its rows as they were when it began, a value may be older than the version
of its tags: it is not stored either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from weakref import WeakSet

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_signal_kit.units.journal import Journal, is_in_transaction
from django_signal_kit.units.pile import Flusher

#: The receivers that have collected tags to touch after a commit.
touching: WeakSet[Flusher] = WeakSet()

#: Isolation levels in which each statement sees what was committed before it.
_BY_STATEMENT = ("read committed", "read uncommitted")


def has_touched(tags: Iterable[str]) -> bool:
    """Has a transaction that is open in this thread touched one of ``tags``?"""
    if not touching:
        return False
    for connection in _get_open():
        journal: Journal | None = connection.__dict__.get("_signal_kit_journal")
        if journal is not None and journal.after.items:
            find, receivers = journal.after.find, list(touching)
            if any(find(by, ("tag", tag)) is not None for tag in tags for by in receivers):
                return True
    return False


def may_be_old() -> bool:
    """May what this thread reads have been written over by a transaction that is committed?"""
    return any(_is_snapshot(connection) for connection in _get_open())


def _get_open() -> Iterator[BaseDatabaseWrapper]:
    for connection in connections.all(initialized_only=True):
        if is_in_transaction(connection) and not _is_of_a_test(connection):
            yield connection


def _is_of_a_test(connection: BaseDatabaseWrapper) -> bool:
    """Is there none but the transactions that a ``TestCase`` opens round its tests?"""
    blocks = connection.atomic_blocks
    return bool(blocks) and all(block._from_testcase for block in blocks)  # type: ignore[attr-defined]


def _is_snapshot(connection: Any) -> bool:
    if connection.vendor == "sqlite":
        return True
    level = getattr(connection, "isolation_level", None)
    if connection.vendor == "mysql":
        # None is the server's default, REPEATABLE READ unless somebody has changed it.
        return level not in _BY_STATEMENT
    if connection.vendor == "postgresql":
        return level is not None and level.name not in ("READ_COMMITTED", "READ_UNCOMMITTED")
    return True
