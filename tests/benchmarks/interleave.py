"""Times alternatives in turn in one run, and speaks in ratios of their medians.

Machines are noisy and drift; what is measured alternately drifts together.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from statistics import median
from time import perf_counter_ns

Prepared = tuple[AbstractContextManager[object], Callable[[], object]]


@dataclass(frozen=True)
class Result:
    """Medians in microseconds a call."""

    medians: Mapping[str, float]
    first: str

    def ratio(self, name: str) -> float:
        return self.medians[name] / self.medians[self.first]

    def difference(self, name: str) -> float:
        """Microseconds a call more than the first."""
        return self.medians[name] - self.medians[self.first]


def compare(
    alternatives: Mapping[str, Callable[[], object] | Prepared],
    *,
    rounds: int = 41,
    number: int = 200,
    clock: Callable[[], int] = perf_counter_ns,
) -> Result:
    """Call each alternative ``number`` times, in turn, ``rounds`` times over.

    An alternative is a function, or a context manager to be entered for it and a function. The
    order turns round with each round; the first alternative is the one to compare with. Where
    nothing waits, ``process_time_ns`` leaves out what other processes take.
    """
    prepared: dict[str, Prepared] = {
        name: given if isinstance(given, tuple) else (nullcontext(), given)
        for name, given in alternatives.items()
    }
    samples: dict[str, list[float]] = {name: [] for name in prepared}
    names = list(prepared)
    for round_number in range(-2, rounds):
        for name in names if round_number % 2 else reversed(names):
            manager, function = prepared[name]
            with manager:
                function()
                gc.collect()
                gc.disable()
                start = clock()
                for _ in range(number):
                    function()
                elapsed = clock() - start
                gc.enable()
            if round_number >= 0:
                samples[name].append(elapsed / number / 1000)
    return Result({name: median(times) for name, times in samples.items()}, names[0])


def show(title: str, result: Result) -> None:
    """Print a result as a table."""
    print(f"\n{title}")
    for name, time in result.medians.items():
        print(
            f"  {name:<44} {time:10.3f} µs  {result.ratio(name):6.3f} times"
            f"  {result.difference(name):+8.3f} µs"
        )
