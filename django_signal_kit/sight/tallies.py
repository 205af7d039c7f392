"""What one process has counted of one receiver."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from threading import RLock
from typing import Any

from django_signal_kit.sight.stopwatches import Function, Stopwatch
from django_signal_kit.sight.ticks import Ticks


class Tally:
    """Calls, flushes and items, from any thread. ``note_failure`` is called with the name of the
    signal, or ``"flush"``, and what was raised; ``wake`` at the first call."""

    def __init__(
        self, wake: Callable[[], None], note_failure: Callable[[str, Exception], None]
    ) -> None:
        self._note_failure = note_failure
        self.calls = Stopwatch(wake)
        self.flushes = Stopwatch(wake)
        self._collected = Ticks()
        self.begin_anew()

    def begin_anew(self) -> None:
        self._lock = RLock()
        self.calls.begin_anew()
        self.flushes.begin_anew()
        self._collected.begin_anew()
        self.errors = self.flush_errors = self.flushed = 0

    def rest(self) -> None:
        self.calls.rest()
        self.flushes.rest()

    def wrap(self, name: str, method: Function) -> Function:
        """What counts calls of ``method``, which receives the signal ``name``, or is ``collect``
        or ``flush``."""
        fail = partial(self._fail, name)
        if name == "collect":
            return self._count_collected(method)
        if name == "flush":
            return self.flushes.time(method, name, fail, self._count_flushed)
        return self.calls.time(method, name, fail)

    @property
    def ran_at(self) -> float:
        """Seconds since 1970, to within some; 0 if it never ran."""
        return max(self.calls.ran_at, self.flushes.ran_at)

    @property
    def has_run(self) -> bool:
        return self.calls.has_run or self.flushes.has_run

    def read(self) -> dict[str, Any]:
        """The numbers, as they are added up."""
        (calls, queries), (flushes, flush_queries) = self.calls.read(), self.flushes.read()
        with self._lock:
            return {
                "calls": list(calls.buckets),
                "seconds": calls.seconds,
                "errors": self.errors,
                "queries": queries,
                "flushes": list(flushes.buckets),
                "flush_seconds": flushes.seconds,
                "flush_errors": self.flush_errors,
                "flush_queries": flush_queries,
                "collected": self._collected.read(),
                "flushed": self.flushed,
            }

    def _count_collected(self, method: Function) -> Function:
        tick = self._collected.tick

        @wraps(method)
        def collect(item: Any, *, key: Any = None, flush_on: Any = None, using: Any = None) -> Any:
            tick()
            return method(item, key=key, flush_on=flush_on, using=using)

        return collect

    def _count_flushed(self, items: list[Any]) -> list[Any]:
        with self._lock:
            self.flushed += len(items)
        return items

    def _fail(self, name: str, error: Exception) -> None:
        with self._lock:
            if name == "flush":
                self.flush_errors += 1
            else:
                self.errors += 1
        self._note_failure(name, error)
