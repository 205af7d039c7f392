"""One of each kind in a window of time, and not too many kinds."""

from __future__ import annotations

import itertools
import threading
from functools import partial
from typing import Any

import pytest
from django.core.cache import cache
from hypothesis import given
from hypothesis import strategies as st

from django_signal_kit.requests.windows import MAX_KINDS, Admission, SharedWindows, Windows
from tests.threads import in_threads


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_first_of_a_kind_is_let_through_and_the_others_are_counted() -> None:
    clock = Clock()
    windows = Windows(10, 100, clock=clock)
    assert windows.admit("a") == Admission()
    assert [windows.admit("a") for _ in range(3)] == [None] * 3
    assert windows.admit("b") == Admission()
    clock.now = 9.9
    assert windows.admit("a") is None
    clock.now = 10
    assert windows.admit("a") == Admission(suppressed=4)
    clock.now = 30
    assert windows.admit("a") == Admission(suppressed=0)


def test_there_are_not_more_than_so_many_of_all_kinds() -> None:
    clock = Clock()
    windows = Windows(10, 2, clock=clock)
    assert [windows.admit(kind) is not None for kind in "aabcdcc"] == [
        *(True, False, True),
        *(False, False, False, False),
    ]
    clock.now = 10
    # What was never told of is the first of its kind.
    assert windows.admit("c") == Admission(held_back=4)
    assert windows.admit("a") == Admission(suppressed=1)
    assert windows.admit("d") is None


def test_a_kind_that_waits_for_room_keeps_its_count() -> None:
    clock = Clock()
    windows = Windows(10, 1, clock=clock)
    windows.admit("a")
    windows.admit("a")
    clock.now = 10
    assert windows.admit("b") == Admission()
    assert windows.admit("a") is None
    clock.now = 20
    assert windows.admit("a") == Admission(suppressed=2)


def test_ten_thousand_kinds_fit_into_little_memory() -> None:
    windows = Windows(10, 20_000, clock=Clock())
    for number in range(10_000):
        assert windows.admit(str(number)) is not None
    assert len(windows) == MAX_KINDS
    # The oldest are forgotten, the latest are not.
    assert windows.admit("0") is not None
    assert windows.admit("9999") is None


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 20)), max_size=60),
    st.integers(1, 3),
)
def test_nobody_is_lost_from_the_counts(steps: list[tuple[str, float]], most: int) -> None:
    clock = Clock()
    windows = Windows(10, most, clock=clock)
    admitted: list[tuple[str, float, Admission]] = []
    for kind, wait in steps:
        clock.now += wait
        admission = windows.admit(kind)
        if admission is not None:
            admitted.append((kind, clock.now, admission))
    told = sum(1 + a.suppressed + a.held_back for _, _, a in admitted)
    waiting = windows._held_back + sum(count for _, count in windows._kinds.values())
    assert told + waiting == len(steps)
    for kind in "abc":
        times = [at for name, at, _ in admitted if name == kind]
        assert all(after - before >= 10 for before, after in itertools.pairwise(times))


def count_admitted(windows: Any, kinds: list[str]) -> int:
    barrier = threading.Barrier(len(kinds))
    admitted: list[str] = []

    def ask(kind: str) -> None:
        barrier.wait(30)
        for _ in range(50):
            if windows.admit(kind) is not None:
                admitted.append(kind)

    in_threads(*(partial(ask, kind) for kind in kinds))
    return len(admitted)


def test_threads_let_one_through_together() -> None:
    assert count_admitted(Windows(1000, 100), ["a"] * 8) == 1
    assert count_admitted(SharedWindows("default", "x", 1000, 100), ["a"] * 8) == 1


def test_those_who_share_a_cache_count_together() -> None:
    first, second = (SharedWindows("default", "x", 1000, 100) for _ in range(2))
    assert first.admit("a") == Admission()
    assert [windows.admit("a") for windows in (first, second, second)] == [None] * 3
    # The time is over.
    cache.delete(f"{first.prefix}:{_digest('a')}")
    assert second.admit("a") == Admission(suppressed=3)
    assert second.admit("a") is None


def test_those_of_another_prefix_count_by_themselves() -> None:
    first, second = (SharedWindows("default", prefix, 1000, 100) for prefix in "xy")
    assert first.admit("a") is not None
    assert second.admit("a") is not None
    assert SharedWindows("second", "x", 1000, 100).admit("a") is not None


def test_a_cache_lets_not_more_than_so_many_through() -> None:
    # Whenever a test runs, it may see the border of two windows.
    windows = SharedWindows("default", "x", 1e9, 2)
    assert [windows.admit(kind) is not None for kind in "abccd"] == [True, True, *[False] * 3]
    windows.most = 100
    assert windows.admit("c") == Admission(held_back=3)


@pytest.mark.parametrize("kind", ["x" * 10_000, "a b\n\0", "\ud800"])
def test_any_text_is_a_kind(kind: str) -> None:
    windows = SharedWindows("default", "\n " * 500, 0.001, 100)
    assert windows.admit(kind) is not None
    assert windows.length == 1


def _digest(kind: str) -> str:
    from hashlib import sha256

    return sha256(kind.encode()).hexdigest()


# What did not arrive


def test_what_did_not_arrive_gives_its_place_to_the_next() -> None:
    clock = Clock()
    windows = Windows(3600, 1, clock=clock)
    first = windows.admit("a")
    assert first is not None
    assert windows.admit("b") is None
    windows.settle("a", first, arrived=False)
    assert windows.admit("a") == Admission(suppressed=1, held_back=1)
    assert windows.admit("a") is None


def test_what_fails_again_is_tried_again_after_a_pause_that_grows() -> None:
    clock = Clock()
    windows = Windows(3600, 5, clock=clock)
    tried = []
    for _ in range(300):
        for kind in "ab":
            admission = windows.admit(kind)
            if admission is not None:
                tried.append(clock.now)
                windows.settle(kind, admission, arrived=False)
        clock.now += 1
    assert tried[:6] == [0, 0, 1, 3, 7, 15]
    assert tried[-1] - tried[-2] == 60
    clock.now += 60
    admission = windows.admit("a")
    assert admission is not None
    windows.settle("a", admission, arrived=True)
    assert windows.admit("b") is not None
    clock.now += 3600
    again = windows.admit("a")
    assert again is not None
    windows.settle("a", again, arrived=False)
    assert windows.admit("a") is not None


def test_nothing_is_lost_of_the_counts_whatever_arrives() -> None:
    clock = Clock()
    windows = Windows(10, 3, clock=clock)
    told = sent = 0
    for number in range(500):
        clock.now += number % 3
        sent += 1
        admission = windows.admit("a")
        if admission is not None:
            arrived = number % 2 == 0
            windows.settle("a", admission, arrived=arrived)
            told += (1 + admission.suppressed) if arrived else 0
    clock.now += 100
    last = windows.admit("a")
    assert last is not None
    assert told + last.suppressed == sent


def test_what_did_not_arrive_is_tried_again_by_whoever_shares_the_cache() -> None:
    cache.clear()
    one, other = (SharedWindows("default", "x", 3600, 1) for _ in range(2))
    first = one.admit("a")
    assert first is not None
    assert other.admit("b") is None
    one.settle("a", first, arrived=False)
    second = other.admit("a")
    assert second == Admission(suppressed=1, held_back=1)
    other.settle("a", second, arrived=False)
    # Twice in a row: there is a pause now, for all of them.
    assert one.admit("a") is None
    cache.delete(f"{one.prefix}:closed")
    third = one.admit("a")
    assert third is not None
    assert third.suppressed == 3
    one.settle("a", third, arrived=True)
    assert one.admit("a") is None
