"""Counts and times calls, in about half a microsecond each.

All that a call does is to append its duration to a list, which is atomic. A lock is taken when
there are some hundreds of them to be sorted into buckets, so that threads lose none.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable
from functools import cache, partial, wraps
from inspect import iscoroutinefunction
from time import perf_counter, time
from types import CodeType
from typing import Any, TypeAlias

from django_signal_kit.sight.figures import BOUNDS, Histogram
from django_signal_kit.wiring.catalog import ARGUMENTS
from django_signal_kit.wiring.dispatch import NAMED

Function: TypeAlias = Callable[..., Any]

#: Durations that wait to be sorted.
CHUNK = 256

# The arguments are named, as in what calls it: packing them again costs more than the rest.
_SOURCE = """
{keyword}def counted({parameters}**extra):
    start = now()
    try:
        return {waiting}{call}
    except Exception as error:
        fail(error)
        raise
    finally:
        note(now() - start)
        if len(durations) >= stopwatch.room:
            settle()
"""


class Stopwatch:
    """Times what belongs together, from any thread."""

    def __init__(self, wake: Callable[[], None]) -> None:
        """``wake`` is called after the first call."""
        self._wake = wake
        self._durations: list[float] = []
        self.begin_anew()

    def begin_anew(self) -> None:
        # What is collected as garbage meanwhile may call a receiver.
        self._lock = threading.RLock()
        self._durations.clear()
        self._seconds = 0.0
        self._buckets = [0] * (len(BOUNDS) + 1)
        #: So many durations wait before they are sorted.
        self.room = 1
        #: Seconds since 1970, when durations were last sorted; 0 if there were none.
        self.ran_at = 0.0

    def rest(self) -> None:
        """The next call is the first again."""
        self.room = 1

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
            "durations": self._durations,
            "fail": fail,
            "method": function,
            "note": self._durations.append,
            "now": perf_counter,
            "partial": partial,
            "settle": self.settle,
            "stopwatch": self,
            "take": take,
        }
        exec(_compile(name, iscoroutinefunction(function)), namespace)
        return wraps(function)(namespace["counted"])

    def read(self) -> Histogram:
        self.settle()
        with self._lock:
            return Histogram(sum(self._buckets), self._seconds, tuple(self._buckets))

    def settle(self) -> None:
        """Sort the durations that wait into buckets."""
        with self._lock:
            taken = self._durations[:]
            # What others append meanwhile comes behind them.
            del self._durations[: len(taken)]
            if taken:
                self._add(taken)
            is_first = bool(taken) and self.room == 1
            if is_first:
                self.room = CHUNK
        if is_first:
            self._wake()

    def _add(self, taken: list[float]) -> None:
        taken.sort()
        start = 0
        for place, bound in enumerate(BOUNDS):
            # Those of one receiver are much alike: most buckets stay as they are.
            if taken[start] <= bound:
                end = bisect_right(taken, bound, start)
                self._buckets[place] += end - start
                start = end
                if start == len(taken):
                    break
        self._buckets[-1] += len(taken) - start
        self._seconds += sum(taken)
        self.ran_at = time()


@cache
def _compile(name: str, is_async: bool) -> CodeType:
    parameters, call = "", "method(**extra)"
    if name == "flush":
        parameters, call = "items, ", "method(take(items))"
    elif name in NAMED:
        names = ("signal", "sender", *ARGUMENTS[name])
        given = ", ".join(f"{each}={each}" for each in names)
        parameters = "".join(f"{each}, " for each in names)
        call = f"(partial(method, **extra) if extra else method)({given})"
    source = _SOURCE.format(
        keyword="async " * is_async, waiting="await " * is_async, parameters=parameters, call=call
    )
    return compile(source, f"<counted {name}>", "exec")
