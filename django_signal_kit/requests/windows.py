"""Lets the first of its kind through, and counts those like it for a while.

In memory for one process, or in a cache for all that share it.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from threading import Lock

from django.core.cache import caches

#: How many kinds are remembered in memory at once.
MAX_KINDS = 1000


@dataclass(frozen=True, slots=True)
class Admission:
    """One is let through."""

    #: How many of the same kind were held back since the last one.
    suppressed: int = 0
    #: How many of other kinds were held back because there were too many of all kinds.
    held_back: int = 0


def get_pause(failures: int, length: float) -> float:
    """Seconds to wait after so many failures in a row: none after the first, and a minute at
    most."""
    return 0.0 if failures < 2 else min(2.0 ** min(failures - 2, 6), 60.0, length)


class Windows:
    """One of a kind each ``length`` seconds, and ``most`` of all kinds. Threads may share it."""

    def __init__(
        self, length: float, most: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.length = length
        self.most = most
        self._clock = clock
        self._lock = Lock()
        #: Kind -> when one was let through last, and how many were not since; least recent first.
        self._kinds: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._since = -math.inf
        self._admitted = 0
        self._held_back = 0
        #: How often in a row what was let through did not arrive.
        self._failures = 0
        self._closed_until = -math.inf

    def __len__(self) -> int:
        return len(self._kinds)

    def admit(self, kind: str) -> Admission | None:
        """None if this one is held back."""
        with self._lock:
            now = self._clock()
            since, suppressed = self._kinds.get(kind, (-math.inf, 0))
            if now - since < self.length or now < self._closed_until:
                self._note(kind, since, suppressed + 1)
                return None
            if now - self._since >= self.length:
                self._since, self._admitted = now, 0
            if self._admitted >= self.most:
                if kind in self._kinds:
                    self._note(kind, since, suppressed + 1)
                else:
                    self._held_back += 1
                return None
            self._admitted += 1
            self._note(kind, now, 0)
            held_back, self._held_back = self._held_back, 0
            return Admission(suppressed, held_back)

    def settle(self, kind: str, admission: Admission, *, arrived: bool) -> None:
        """Say what became of one that was let through. If it did not arrive, the next of its kind
        takes its place: at once, and after a pause that grows if that fails, too."""
        with self._lock:
            if arrived:
                self._failures = 0
                return
            self._failures += 1
            self._closed_until = self._clock() + get_pause(self._failures, self.length)
            self._admitted = max(0, self._admitted - 1)
            self._held_back += admission.held_back
            _, suppressed = self._kinds.get(kind, (-math.inf, 0))
            self._note(kind, -math.inf, suppressed + admission.suppressed + 1)

    def _note(self, kind: str, since: float, suppressed: int) -> None:
        self._kinds[kind] = since, suppressed
        self._kinds.move_to_end(kind)
        if len(self._kinds) > MAX_KINDS:
            self._kinds.popitem(last=False)


class SharedWindows:
    """The same for all processes that share the cache ``alias``, under ``prefix``.

    Counts are lost if the cache loses them. Raises what the cache raises.
    """

    def __init__(self, alias: str, prefix: str, length: float, most: int) -> None:
        self.alias = alias
        self.prefix = f"signal_kit:{sha256(prefix.encode()).hexdigest()[:16]}"
        self.length = max(1, math.ceil(length))
        self.most = most

    def admit(self, kind: str) -> Admission | None:
        cache = caches[self.alias]
        key = self._get_key(kind)
        if cache.get(f"{self.prefix}:closed") or not cache.add(key, 1, self.length):
            self._count(f"{key}:suppressed")
            return None
        if self._count(self._get_admitted()) > self.most:
            # It has not been told of, so it is the first of its kind next time.
            cache.delete(key)
            self._count(self._get_admitted(), -1)
            self._count(f"{self.prefix}:held_back")
            return None
        return Admission(self._take(f"{key}:suppressed"), self._take(f"{self.prefix}:held_back"))

    def settle(self, kind: str, admission: Admission, *, arrived: bool) -> None:
        """See ``Windows.settle``."""
        cache = caches[self.alias]
        if arrived:
            cache.delete(f"{self.prefix}:failures")
            return
        pause = get_pause(self._count(f"{self.prefix}:failures"), self.length)
        if pause:
            cache.set(f"{self.prefix}:closed", 1, math.ceil(pause))
        key = self._get_key(kind)
        self._count(f"{key}:suppressed", admission.suppressed + 1)
        if admission.held_back:
            self._count(f"{self.prefix}:held_back", admission.held_back)
        self._count(self._get_admitted(), -1)
        cache.delete(key)

    def _get_admitted(self) -> str:
        return f"{self.prefix}:admitted:{int(time.time() // self.length)}"

    def _get_key(self, kind: str) -> str:
        return f"{self.prefix}:{sha256(kind.encode(errors='replace')).hexdigest()}"

    def _count(self, key: str, step: int = 1) -> int:
        cache = caches[self.alias]
        cache.add(key, 0, 10 * self.length)
        try:
            return int(cache.incr(key, step))
        except ValueError:
            # It has expired in between.
            return 1

    def _take(self, key: str) -> int:
        cache = caches[self.alias]
        count = int(cache.get(key, 0))
        if count:
            cache.delete(key)
        return count
