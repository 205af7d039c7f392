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

from django.core.cache import caches
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_signal_kit.cache import counters, purging, recovery
from django_signal_kit.cache.guard import is_of_a_test, is_undecided
from django_signal_kit.cache.stale import WAITING
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
        if journal is None:
            continue
        receivers = list(touching)
        if journal.before.items:
            # Some tag: as long as it is not known which, none can be trusted.
            find = journal.before.find
            if any(find(by, WAITING) is not None for by in receivers):
                return True
        if journal.after.items:
            find = journal.after.find
            keys = [("tag", tag) for tag in tags]
            if any(find(by, key) is not None for key in keys for by in receivers):
                return True
    return False


def note_touched(alias: str, tags: Iterable[str], using: str) -> None:
    """``tags`` have been touched by hand in the cache ``alias``: if a transaction is open on the
    database ``using``, they are again after its commit, and are its own until then."""
    if connections[using].in_atomic_block:
        again = _Again(alias, tags, using)
        _by_hand.add(again)
        transaction.on_commit(again, using, robust=True)
        purging.tell_falling(again.tags, (alias,), using)
    else:
        recovery.insist(alias, [get_version_key(tag) for tag in tags])
        purging.tell_fallen(tuple(tags), using)


class _Again:
    """What waits for the commit; Django forgets it if that never comes."""

    def __init__(self, alias: str, tags: Iterable[str], using: str) -> None:
        self.alias = alias
        self.tags = frozenset(tags)
        self.using = using

    def __call__(self) -> None:
        keys = [get_version_key(tag) for tag in self.tags]
        counters.of(self.alias).count_dropped(0, len(keys))
        recovery.delete_many(self.alias, keys)
        recovery.insist(self.alias, keys)
        purging.tell_fallen(self.tags, self.using, is_told=True)


def may_store(alias: str) -> bool:
    """May what this thread makes be stored in the cache ``alias``? Not what has been written over
    by a transaction that is committed, perhaps, nor what others do not see yet."""
    is_old = any(_is_snapshot(connection) for connection in _get_open())
    return not is_old and not is_undecided(caches[alias])


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
