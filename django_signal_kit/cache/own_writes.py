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

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_signal_kit.cache import recovery
from django_signal_kit.cache.guard import is_of_a_test
from django_signal_kit.cache.versions import EVERYTHING, get_version_key
from django_signal_kit.units.journal import Journal, is_in_transaction
from django_signal_kit.units.pile import Flusher

#: The receivers that have collected tags to touch after a commit.
touching: WeakSet[Flusher] = WeakSet()
#: What has been touched by hand, and is once more after a commit.
_by_hand: WeakSet[_Again] = WeakSet()

#: Isolation levels in which each statement sees what was committed before it.
_BY_STATEMENT = ("read committed", "read uncommitted")


def has_touched(tags: Iterable[str]) -> bool:
    """Has a transaction that is open in this thread touched one of ``tags``?"""
    if not touching and not _by_hand:
        return False
    tags = (EVERYTHING, *tags)
    for connection in _get_open():
        for _, again, *_ in connection.run_on_commit:
            if isinstance(again, _Again) and not again.tags.isdisjoint(tags):
                return True
        journal: Journal | None = connection.__dict__.get("_signal_kit_journal")
        if journal is not None and journal.after.items:
            find, receivers = journal.after.find, list(touching)
            keys = [("tag", tag) for tag in tags]
            if any(find(by, key) is not None for key in keys for by in receivers):
                return True
    return False


def note_touched(alias: str, tags: Iterable[str], using: str) -> None:
    """``tags`` have been touched by hand in the cache ``alias``: if a transaction is open on the
    database ``using``, they are again after its commit, and are its own until then."""
    if connections[using].in_atomic_block:
        again = _Again(alias, tags)
        _by_hand.add(again)
        transaction.on_commit(again, using, robust=True)
    else:
        recovery.insist(alias, [get_version_key(tag) for tag in tags])


class _Again:
    """What waits for the commit; Django forgets it if that never comes."""

    def __init__(self, alias: str, tags: Iterable[str]) -> None:
        self.alias = alias
        self.tags = frozenset(tags)

    def __call__(self) -> None:
        keys = [get_version_key(tag) for tag in self.tags]
        recovery.delete_many(self.alias, keys)
        recovery.insist(self.alias, keys)


def may_be_old() -> bool:
    """May what this thread reads have been written over by a transaction that is committed?"""
    return any(_is_snapshot(connection) for connection in _get_open())


def _get_open() -> Iterator[BaseDatabaseWrapper]:
    for connection in connections.all(initialized_only=True):
        if is_in_transaction(connection) and not is_of_a_test(connection):
            yield connection


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
