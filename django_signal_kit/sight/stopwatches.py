"""Counts and times calls, in less than half a microsecond each.

Each call is counted, and each is timed while a receiver is called now and then. Of one that is
busy one call in eight or nine is, as chance has it: in turn it might be always the same of two
that alternate. Those that are not timed are taken to be as long as those that are.

No call waits for a lock: durations are appended to a list, which is atomic, and sorted into
buckets when there are some hundreds, unless another thread does so already.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable
from functools import cache, partial, wraps
from inspect import iscoroutinefunction
from random import Random
from time import perf_counter, time
from types import CodeType
from typing import Any, TypeAlias

from django_signal_kit.sight.figures import BOUNDS, Histogram
from django_signal_kit.sight.queries import follow, get_waiting, thread
from django_signal_kit.sight.ticks import Ticks
from django_signal_kit.wiring.catalog import ARGUMENTS
from django_signal_kit.wiring.dispatch import NAMED

Function: TypeAlias = Callable[..., Any]

#: Durations that wait to be sorted. Who has so many between two readings is busy.
CHUNK = 256
#: Of a busy one from 0 to 15 calls are not timed after one that is.
_BITS = 4
# Not that of the project, whose numbers may be those of a seed.
_draw = Random().getrandbits

# The arguments are named, as in what calls it: packing them again costs more than the rest.
_SOURCE = """
{keyword}def counted({parameters}):
    left = stopwatch.left
    if left:
        stopwatch.left = left - 1
        skip()
        start = None
    else:
        start = begin()
    {enter}
    try:
        return {call}
    except Exception as error:
        fail(error)
        raise
    finally:
        {leave}
        if start is not None:
            end(start)
"""
_ENTER = (
    "here = thread.here; asks, under = here.asks, here.under; "
    "here.asks, here.under = ask, get_waiting()"
)
_LEAVE = "here.asks, here.under = asks, under"


class Stopwatch:
    """Counts and times what belongs together, from any thread, and counts its queries."""

    def __init__(self, wake: Callable[[], None]) -> None:
        """``wake`` is called after the first call."""
        self._wake = wake
        self._durations: list[float] = []
        self._skipped = Ticks()
        self._queries = Ticks()
        self.begin_anew()

    def begin_anew(self) -> None:
        self._lock = threading.Lock()
        self._durations.clear()
        self._skipped.begin_anew()
        self._queries.begin_anew()
        self._seconds = 0.0
        self._buckets = [0] * (len(BOUNDS) + 1)
        # How many of those that were not timed are in the buckets, and what they are like if none
        # has been timed since.
        self._skipped_before = 0
        self._latest: list[float] = []
        #: Seconds since 1970, when durations were last sorted; 0 if there were none.
        self.ran_at = 0.0
        self.rest()

    def rest(self) -> None:
        """The next call is the first again."""
        #: So many durations wait before they are sorted.
        self._room = 1
        self._go_slow()

    def _go_slow(self) -> None:
        self._is_busy = False
        #: So many calls are not timed from now on. Threads may lose a number.
        self.left = 0

    @property
    def has_run(self) -> bool:
        return self.ran_at > 0 or bool(self._durations)

    def time(
        self,
        function: Function,
        name: str,
        fail: Callable[[Exception], Any],
        take: Callable[[list[Any]], list[Any]] | None = None,
    ) -> Function:
        """What is called in the place of ``function``, which receives the signal ``name``, or is a
        ``"flush"``, whose items go through ``take()``. ``fail`` is called with what it raises."""
        namespace: dict[str, Any] = {
            # It is no place in the code of the project.
            "__name__": __name__,
            "ask": self._queries.tick,
            "begin": self.begin,
            "end": self.end,
            "fail": fail,
            "follow": follow,
            "get_waiting": get_waiting,
            "method": function,
            "partial": partial,
            "skip": self._skipped.tick,
            "stopwatch": self,
            "take": take,
            "thread": thread,
        }
        is_async = iscoroutinefunction(function)
        exec(_compile(name, is_async), namespace)
        made: Function = namespace["counted"]
        if is_async or name == "flush" or name in NAMED:
            return wraps(function)(made)

        @wraps(function)
        def counted(**given: Any) -> Any:
            return made(given)

        counted.packed = counted, made  # type: ignore[attr-defined]
        return counted

    def begin(self) -> float:
        """A call begins that is timed."""
        if self._is_busy:
            self.left = _draw(_BITS)
        return perf_counter()

    def end(self, start: float) -> None:
        durations = self._durations
        durations.append(perf_counter() - start)
        # Not even one that is set off by the garbage of whoever holds the lock has to wait.
        if len(durations) < self._room or not self._lock.acquire(blocking=False):
            return
        try:
            self._settle()
            is_first, self._is_busy = self._room == 1, self._room > 1
            self._room = CHUNK
        finally:
            self._lock.release()
        if is_first:
            self._wake()

    def read(self) -> tuple[Histogram, int]:
        """What has been counted, and how many queries."""
        with self._lock:
            self._settle()
            self._go_slow()
            buckets = tuple(self._buckets)
            return Histogram(sum(buckets), self._seconds, buckets), self._queries.read()

    def _settle(self) -> None:
        """Sort the durations that wait into buckets, as many times as there were calls."""
        taken = self._durations[:]
        # What others append meanwhile comes behind them.
        del self._durations[: len(taken)]
        skipped = self._skipped.read()
        count = len(taken) + skipped - self._skipped_before
        known = taken or self._latest
        if count and known:
            times, more = divmod(count, len(known))
            self._add(known, times)
            # Which ones is chance: they are in the order in which they ended.
            self._add(known[:more], 1)
            self._skipped_before, self._latest = skipped, known[-1:]
            self.ran_at = time()

    def _add(self, durations: list[float], times: int) -> None:
        ordered, start = sorted(durations), 0
        for place, bound in enumerate(BOUNDS):
            if start == len(ordered):
                break
            # Those of one receiver are much alike: most buckets stay as they are.
            if ordered[start] <= bound:
                end = bisect_right(ordered, bound, start)
                self._buckets[place] += times * (end - start)
                start = end
        self._buckets[-1] += times * (len(ordered) - start)
        self._seconds += times * sum(ordered)


@cache
def _compile(name: str, is_async: bool) -> CodeType:
    parameters, call = "given", "method(**given)"
    if name == "flush":
        parameters, call = "items", "method(take(items))"
    elif name in NAMED:
        names = ("signal", "sender", *ARGUMENTS[name])
        given = ", ".join(f"{each}={each}" for each in names)
        parameters = ", ".join((*names, "**extra"))
        call = f"(partial(method, **extra) if extra else method)({given})"
    elif is_async:
        parameters = "**given"
    source = _SOURCE.format(
        keyword="async " * is_async,
        parameters=parameters,
        enter="pass" if is_async else _ENTER,
        call=f"await follow({call}, ask)" if is_async else call,
        leave="pass" if is_async else _LEAVE,
    )
    return compile(source, f"<counted {name}>", "exec")
