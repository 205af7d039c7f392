"""What has been counted, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

#: Upper bounds of the buckets, in seconds; what took longer is in one more.
BOUNDS = (
    *(0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005),
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0),
)


@dataclass(frozen=True)
class Histogram:
    """How often something ran, and how long."""

    count: int = 0
    #: All together; of a receiver that is busy by sample.
    seconds: float = 0.0
    #: How many took at most as long as each of ``BOUNDS`` and longer than the one before; the last
    #: number is of those that took longer than any.
    buckets: tuple[int, ...] = (0,) * (len(BOUNDS) + 1)

    @property
    def mean(self) -> float:
        """Seconds; 0 if it never ran."""
        return self.seconds / self.count if self.count else 0.0

    @property
    def p95(self) -> float:
        """Seconds within which 95 of 100 were done, roughly."""
        return self.get_quantile(0.95)

    def get_quantile(self, quantile: float) -> float:
        """Seconds within which this part of them was done; ``quantile`` is from 0 to 1.

        As if those of one bucket were spread over it evenly. What took longer than any bound is
        taken for the last one; 0 if it never ran.
        """
        wanted = quantile * self.count
        reached, lower = 0, 0.0
        for bound, count in zip(BOUNDS, self.buckets, strict=False):
            if count and reached + count >= wanted:
                return lower + (bound - lower) * max(wanted - reached, 0) / count
            reached, lower = reached + count, bound
        return lower if self.count else 0.0


@dataclass(frozen=True)
class Figures:
    """Those of one receiver."""

    #: Its methods that receive signals. What is muted is not called; a row of a bulk write that is
    #: heard row by row is a call.
    calls: Histogram = field(default_factory=Histogram)
    #: Calls that raised.
    errors: int = 0
    #: Queries that its calls sent themselves: those of receivers that they set off are not.
    queries: int = 0
    #: Its ``flush()``, in workers too.
    flushes: Histogram = field(default_factory=Histogram)
    #: Flushes that raised.
    flush_errors: int = 0
    #: Queries that its flushes sent themselves.
    flush_queries: int = 0
    #: How many items were given to ``collect()``, and to ``flush()``.
    collected: int = 0
    flushed: int = 0
    #: To within some seconds; None if it never ran.
    ran_at: datetime | None = None
    #: What the receiver counts itself: see ``Receiver.get_own_figures()``.
    own: Mapping[str, int] = field(default_factory=dict)

    @property
    def has_run(self) -> bool:
        return bool(self.calls.count or self.flushes.count)


@dataclass(frozen=True)
class Failure:
    """Exceptions of one receiver that are the same: of one class, raised in one line."""

    receiver: str
    #: The name of the signal, or ``"flush"``.
    where: str
    #: When the latest was raised.
    at: datetime
    #: The dotted path of the class.
    exception: str
    #: Of the first; without secrets, and cut to 500 characters.
    message: str
    #: Of the first, as Python prints it: without the values of variables, without secrets, and of
    #: a long one the last 8,000 characters.
    traceback: str
    count: int
    #: Sixteen hexadecimal digits, the same in each process.
    id: str


@dataclass(frozen=True)
class Process:
    """One that counts, or has counted."""

    #: ``"host:pid"``.
    name: str
    began: datetime
    #: When it last told what it had counted.
    seen: datetime
    #: False if that is a minute ago.
    is_alive: bool


@dataclass(frozen=True)
class Counters:
    """What all processes have counted, those that have ended too."""

    #: ``SIGNAL_KIT["COUNTERS"]``.
    is_on: bool
    #: Name -> figures: of all receivers that are wired, in their order, and then of those that
    #: other processes tell of.
    receivers: Mapping[str, Figures]
    #: The latest first, at most twenty a process.
    errors: list[Failure]
    #: This one first. One that has ended is here until another takes over what it has counted.
    processes: list[Process]
    #: False if the default cache is one that other processes do not see.
    is_shared: bool
    #: When the oldest of the processes began, or of those whose sums they have taken over.
    since: datetime | None
    #: Why other processes are missing: what the cache raised. Empty if none is.
    problem: str

    def get_failure(self, id: str) -> Failure | None:
        return next((failure for failure in self.errors if failure.id == id), None)


class Tasks(NamedTuple):
    """Of one receiver, those that wait for a worker and those that have failed for good."""

    waiting: int
    failed: int
