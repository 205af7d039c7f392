"""How often the caches of this process were asked, and what became of it."""

from __future__ import annotations

import os
import threading
from typing import NamedTuple


class Counted(NamedTuple):
    """What this process has counted for one cache of ``CACHES`` since it began."""

    #: Values that were cached; pages too of which the client heard that he has them (304).
    hits: int
    #: Values that had to be made.
    misses: int
    #: Cache keys that were deleted, each time that the cache was told so.
    keys: int
    #: Tags that were touched, each time that the cache was told so.
    tags: int
    #: Values that were not stored, because one of their tags was touched while they were made.
    late: int


class Counters:
    """Those of one cache. A lock makes each exact, whatever the interpreter."""

    __slots__ = ("_lock", *Counted._fields)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.hits = self.misses = self.keys = self.tags = self.late = 0

    def count_hit(self) -> None:
        with self._lock:
            self.hits += 1

    def count_miss(self) -> None:
        with self._lock:
            self.misses += 1

    def count_late(self) -> None:
        with self._lock:
            self.late += 1

    def count_dropped(self, keys: int, tags: int) -> None:
        with self._lock:
            self.keys += keys
            self.tags += tags

    def read(self) -> Counted:
        with self._lock:
            return Counted(*(getattr(self, name) for name in Counted._fields))


_counters: dict[str, Counters] = {}


def of(alias: str) -> Counters:
    """The counters of the cache ``alias``."""
    found = _counters.get(alias)
    return _counters.setdefault(alias, Counters()) if found is None else found


def get_counters() -> dict[str, Counted]:
    """Alias of each cache that has been used -> what this process has counted for it."""
    return {alias: counters.read() for alias, counters in list(_counters.items())}


def _start_anew_in_child() -> None:
    """Another thread may have held a lock when the process was forked, and is not there any more.
    What the parent has counted is the parent's."""
    for counters in _counters.values():
        Counters.__init__(counters)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew_in_child)
