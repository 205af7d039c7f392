"""Calls are counted exactly; how long they took is right, though of a busy receiver but some are
timed."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable
from itertools import cycle
from random import Random
from statistics import mean
from typing import Any

import pytest

from django_signal_kit.sight import stopwatches
from django_signal_kit.sight.figures import BOUNDS, Histogram
from django_signal_kit.sight.stopwatches import CHUNK, Stopwatch

CALLS = 40_000


class Clock:
    """Goes on by what a call takes."""

    def __init__(self) -> None:
        self.now = self.read = 0.0
        self.reads = 0

    def __call__(self) -> float:
        self.reads += 1
        return self.now


@pytest.fixture
def clock(monkeypatch: Any) -> Clock:
    clock = Clock()
    monkeypatch.setattr(stopwatches, "perf_counter", clock)
    monkeypatch.setattr(stopwatches, "_draw", Random(4711).getrandbits)
    return clock


def ignore(*args: Any) -> None: ...


def make(clock: Clock, draw: Callable[[], float]) -> tuple[Stopwatch, Any, list[float]]:
    """A stopwatch, a function that takes as long as ``draw()`` says, and how long it took."""
    took: list[float] = []

    def receive(**kwargs: Any) -> None:
        took.append(draw())
        clock.now += took[-1]

    stopwatch = Stopwatch(ignore)
    return stopwatch, stopwatch.time(receive, "user_logged_in", ignore), took


def _uniform() -> Callable[[], float]:
    chance = Random(1)
    return lambda: chance.uniform(0.001, 0.009)


def _exponential() -> Callable[[], float]:
    chance = Random(2)
    return lambda: chance.expovariate(1 / 0.002)


def _bimodal() -> Callable[[], float]:
    """Nine of ten find something in a cache."""
    chance = Random(3)
    return lambda: 0.00007 if chance.random() < 0.9 else chance.uniform(0.02, 0.03)


def _alternating() -> Callable[[], float]:
    """A parent and a child: in turn it would be always the same one that is timed."""
    return cycle([0.00017, 0.02]).__next__


def _in_eights() -> Callable[[], float]:
    return cycle([0.02, *[0.00017] * 7]).__next__


def _slow_at_first() -> Callable[[], float]:
    return iter([*[0.3] * CHUNK, *[0.00017] * CALLS]).__next__


@pytest.mark.parametrize(
    "kind", [_uniform, _exponential, _bimodal, _alternating, _in_eights, _slow_at_first]
)
def test_of_a_busy_receiver_some_calls_stand_for_all(clock: Clock, kind: Any) -> None:
    stopwatch, function, took = make(clock, kind())
    for _ in range(CALLS):
        function()
    found, _ = stopwatch.read()
    assert found.count == sum(found.buckets) == CALLS
    # Two readings of the clock for each that is timed.
    assert clock.reads / 2 < CALLS / 8 + CHUNK
    assert found.mean == pytest.approx(mean(took), rel=0.06)
    exact = [0] * (len(BOUNDS) + 1)
    for seconds in took:
        exact[bisect_left(BOUNDS, seconds)] += 1
    for number, right in zip(found.buckets, exact, strict=True):
        assert abs(number - right) < CALLS / 80
    p95 = sorted(took)[round(0.95 * CALLS) - 1]
    assert bisect_left(BOUNDS, found.p95) == bisect_left(BOUNDS, p95)


def test_of_one_that_is_called_now_and_then_each_is_timed(clock: Clock) -> None:
    stopwatch, function, took = make(clock, _exponential())
    for number in range(4000):
        if number % CHUNK == 0:
            # As every few seconds.
            stopwatch.read()
        function()
    found, _ = stopwatch.read()
    assert found.count == 4000
    assert found.seconds == pytest.approx(sum(took))
    assert clock.reads == 8000


def test_whenever_it_is_read_nothing_gets_less(clock: Clock) -> None:
    stopwatch, function, took = make(clock, _bimodal())
    chance, before = Random(5), Histogram()
    while len(took) < CALLS:
        for _ in range(chance.choice([0, 1, 3, CHUNK, 700])):
            function()
        found, _ = stopwatch.read()
        assert found.count == sum(found.buckets) == len(took)
        pairs = zip(found.buckets, before.buckets, strict=True)
        assert all(new >= old for new, old in pairs)
        assert found.seconds >= before.seconds
        before = found
    assert before.mean == pytest.approx(mean(took), rel=0.05)


def test_what_is_not_timed_is_counted_before_something_is_timed_again(clock: Clock) -> None:
    stopwatch, function, _ = make(clock, lambda: 0.004)
    stopwatch._is_busy = True
    for number in range(1, 3 * CHUNK):
        function()
        stopwatch.left += 1
        if number > CHUNK:
            stopwatch.left = 1000
    assert stopwatch.read()[0].count == 3 * CHUNK - 1
    assert stopwatch.read()[0].seconds == pytest.approx(0.004 * (3 * CHUNK - 1))


def test_no_call_waits_for_a_lock(clock: Clock) -> None:
    stopwatch, function, _ = make(clock, lambda: 0.004)
    done = threading.Event()

    def call() -> None:
        for _ in range(2 * CHUNK):
            function()
        done.set()

    with stopwatch._lock:
        # In this thread as well: what is collected as garbage meanwhile may call a receiver.
        function()
        threading.Thread(target=call, daemon=True).start()
        assert done.wait(60)
    assert stopwatch.read()[0].count == 2 * CHUNK + 1


def test_errors_are_counted_of_those_that_are_not_timed_too(clock: Clock) -> None:
    errors: list[Exception] = []

    def receive(**kwargs: Any) -> None:
        clock.now += 0.001
        raise ValueError

    stopwatch = Stopwatch(ignore)
    function = stopwatch.time(receive, "user_logged_in", errors.append)
    for _ in range(5000):
        with pytest.raises(ValueError):
            function(sender=None)
    assert len(errors) == 5000
    assert stopwatch.read()[0].count == 5000


def test_the_numbers_of_the_project_that_are_by_chance_stay_as_they_are(clock: Clock) -> None:
    import random

    _, function, _ = make(clock, lambda: 0.001)
    random.seed(7)
    for _ in range(3 * CHUNK):
        function()
    found = random.random()
    random.seed(7)
    assert found == random.random()
