"""Prometheus: what receivers did, and how long requests took, for a page of metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from django_signal_kit.requests import histograms
from django_signal_kit.requests.request_timer import RequestTimer
from django_signal_kit.sight import counting, figures
from django_signal_kit.sight.figures import Figures
from django_signal_kit.units.failures import report_once
from django_signal_kit.units.loggers import get_logger
from django_signal_kit.wiring.registry import registry

_SOURCE = "requests"

logger = get_logger("django_signal_kit.contrib")


class SignalKitCollector(Collector):
    """``REGISTRY.register(SignalKitCollector())``, or that of another registry.

    Nothing is counted for it: it reads what ``SIGNAL_KIT["COUNTERS"]`` and each ``RequestTimer``
    count, of all processes. The labels are the names of receivers, the routes that a RequestTimer
    keeps apart, and the names of the figures that receivers have of their own.
    """

    def __init__(self, *, tasks: bool = True) -> None:
        """``tasks``: ask the databases for the tasks that wait and have failed, too."""
        self.tasks = tasks
        counting.sources[_SOURCE] = _read_requests

    def describe(self) -> Iterable[Metric]:
        """Nothing: to be registered costs no look into the cache."""
        return ()

    def collect(self) -> Iterator[Metric]:
        counters = counting.get_counters()
        if counters.is_on:
            yield from _tell_receivers(counters.receivers)
            alive = sum(process.is_alive for process in counters.processes)
            yield GaugeMetricFamily(
                "signal_kit_processes", "Processes that count what receivers do.", value=alive
            )
        if self.tasks:
            yield from _tell_tasks()
        yield from _tell_requests(counting.read_sums(_SOURCE) or {})


def _tell_receivers(receivers: Mapping[str, Figures]) -> Iterator[Metric]:
    calls = _make_histogram("signal_kit_receiver", "Calls of a receiver.", ["receiver"])
    flushes = _make_histogram("signal_kit_flush", "Flushes of a receiver.", ["receiver"])
    numbers = {
        name: CounterMetricFamily(f"signal_kit_{name}", text, labels=["receiver"])
        for name, text in (
            ("receiver_errors", "Calls of a receiver that raised."),
            ("flush_errors", "Flushes of a receiver that raised."),
            ("receiver_queries", "Queries that calls of a receiver sent themselves."),
            ("flush_queries", "Queries that flushes of a receiver sent themselves."),
            ("items_collected", "Items that a receiver has collected."),
            ("items_flushed", "Items that a receiver has flushed."),
        )
    }
    own = CounterMetricFamily(
        "signal_kit_figure", "What a receiver counts itself.", labels=["receiver", "figure"]
    )
    for name, found in receivers.items():
        for family, histogram in ((calls, found.calls), (flushes, found.flushes)):
            buckets = _accumulate(figures.BOUNDS, histogram.buckets)
            family.add_metric([name], buckets, histogram.seconds)
        numbers["receiver_errors"].add_metric([name], found.errors)
        numbers["flush_errors"].add_metric([name], found.flush_errors)
        numbers["receiver_queries"].add_metric([name], found.queries)
        numbers["flush_queries"].add_metric([name], found.flush_queries)
        numbers["items_collected"].add_metric([name], found.collected)
        numbers["items_flushed"].add_metric([name], found.flushed)
        for figure, number in found.own.items():
            own.add_metric([name, figure], number)
    yield from (calls, flushes, *numbers.values(), own)


def _tell_tasks() -> Iterator[Metric]:
    try:
        tasks = counting.get_tasks()
    except Exception as error:
        # The rest is worth a page without them.
        name = type(error).__name__
        logger.warning("The metrics are told without the tasks: %s", name, extra={"error": name})
        return
    waiting = GaugeMetricFamily(
        "signal_kit_tasks_waiting", "Tasks that wait for a worker.", labels=["receiver"]
    )
    failed = GaugeMetricFamily(
        "signal_kit_tasks_failed", "Tasks that have failed for good.", labels=["receiver"]
    )
    for name, found in tasks.items():
        waiting.add_metric([name], found.waiting)
        failed.add_metric([name], found.failed)
    yield from (waiting, failed)


def _tell_requests(timers: Mapping[str, Any]) -> Iterator[Metric]:
    labels = ["timer", "route"]
    requests = _make_histogram("signal_kit_request", "Requests, by route.", labels)
    numbers = {
        name: CounterMetricFamily(f"signal_kit_request_{name}", text, labels=labels)
        for name, text in (
            ("errors", "Requests that were answered with 500 or above."),
            ("queries", "Queries of requests."),
            ("query_seconds", "How long the queries of requests took."),
        )
    }
    for timer, routes in timers.items():
        for route, told in routes.items():
            buckets = _accumulate(histograms.BOUNDS, told["buckets"])
            requests.add_metric([timer, route], buckets, told["seconds"])
            for name, family in numbers.items():
                family.add_metric([timer, route], told[name])
    if timers:
        yield from (requests, *numbers.values())


def _make_histogram(name: str, text: str, labels: list[str]) -> HistogramMetricFamily:
    return HistogramMetricFamily(f"{name}_seconds", text, labels=labels)


def _accumulate(bounds: Iterable[float], buckets: Iterable[int]) -> list[tuple[str, float]]:
    """As Prometheus has them: of each bound how many took no longer."""
    names = [*map(str, bounds), "+Inf"]
    return list(zip(names, accumulate(buckets), strict=True))


def _read_requests() -> dict[str, Any]:
    """What the timers of this process have counted."""
    timers = [each for each in registry.receivers if isinstance(each, RequestTimer)]
    return {timer.name: _read_routes(timer) for timer in timers}


def _read_routes(timer: RequestTimer) -> dict[str, Any]:
    try:
        routes = timer.get_histograms()
    except Exception as error:
        report_once(timer, "get_histograms", error)
        return {}
    return {
        route: {
            "buckets": list(found.buckets),
            "seconds": found.duration,
            "errors": found.error_count,
            "queries": found.query_count,
            "query_seconds": found.query_duration,
        }
        for route, found in routes.items()
    }
