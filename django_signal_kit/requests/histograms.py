"""How long requests took, counted in fixed buckets, so that memory stays what it is."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from threading import Lock

#: Upper bounds of the buckets, in seconds; what took longer is in one more.
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

#: Where routes are counted together once there are too many.
OTHERS = "(others)"


@dataclass(frozen=True, slots=True)
class Timing:
    """What a request took. Durations are in seconds."""

    method: str
    path: str
    #: The pattern of the URL; empty if none matched, or if nobody could tell.
    route: str
    #: None without the middleware, and if the client went away before there was a response.
    status: int | None
    #: The key of the user, if somebody has looked the user up in the request.
    user_pk: object
    #: From ``request_started`` to ``request_finished``, the sending of the response included.
    duration: float
    #: Until the response was ready to be sent; None where the status is.
    response_duration: float | None
    #: None if queries are not counted.
    query_count: int | None
    query_duration: float | None


@dataclass(slots=True)
class Histogram:
    """The requests of one route."""

    count: int = 0
    #: How many were answered with a status of 500 or above.
    error_count: int = 0
    #: Seconds of all requests together.
    duration: float = 0.0
    query_count: int = 0
    query_duration: float = 0.0
    #: How many requests took at most as long as each of ``BOUNDS`` and longer than the one before;
    #: the last number is of those that took longer than any.
    buckets: tuple[int, ...] = (0,) * (len(BOUNDS) + 1)

    def get_quantile(self, quantile: float) -> float:
        """Seconds within which this part of the requests was done, rounded up to a bound.

        ``quantile`` is from 0 to 1. Infinity if it took longer than any bound; 0 without requests.
        """
        reached = 0
        for bound, count in zip((*BOUNDS, float("inf")), self.buckets, strict=True):
            reached += count
            if count and reached >= quantile * self.count:
                return bound
        return 0.0


class Histograms:
    """One histogram a route, for a limited number of routes. Threads may share it."""

    def __init__(self, max_routes: int) -> None:
        self.max_routes = max_routes
        self._lock = Lock()
        self._buckets: dict[str, list[int]] = {}
        self._sums: dict[str, list[float]] = {}

    def add(self, timing: Timing) -> None:
        index = bisect_left(BOUNDS, timing.duration)
        is_error = timing.status is not None and timing.status >= 500
        with self._lock:
            route = timing.route
            if route not in self._buckets and len(self._buckets) >= self.max_routes:
                route = OTHERS
            buckets = self._buckets.setdefault(route, [0] * (len(BOUNDS) + 1))
            sums = self._sums.setdefault(route, [0, 0.0, 0, 0.0])
            buckets[index] += 1
            sums[0] += is_error
            sums[1] += timing.duration
            sums[2] += timing.query_count or 0
            sums[3] += timing.query_duration or 0.0

    def copy(self) -> dict[str, Histogram]:
        with self._lock:
            return {
                route: Histogram(
                    count=sum(buckets),
                    error_count=int(self._sums[route][0]),
                    duration=self._sums[route][1],
                    query_count=int(self._sums[route][2]),
                    query_duration=self._sums[route][3],
                    buckets=tuple(buckets),
                )
                for route, buckets in self._buckets.items()
            }
