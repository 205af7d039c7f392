"""A value whose time is over, or nearly, is served while one reader makes it anew; one of which a
tag has been touched never is.

A value with the timeout 0 and a time to be stale has no time of its own at all: nobody waits for
its end.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection, connections, transaction
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from django_signal_kit.cache import TaggedCache, cache_view, cached, lookup, recovery, tagged
from django_signal_kit.cache.entry import drop_late
from django_signal_kit.cache.freshness import is_due, is_over
from django_signal_kit.cache.versions import lasts
from django_signal_kit.receivers import CacheInvalidation
from tests.apps.testapp.models import Product
from tests.cache.redis_server import serve_redis
from tests.factories import ProductFactory

pytestmark = pytest.mark.django_db(transaction=True)

STALE = {"timeout": 0, "stale": 60}
# As long as it took to make, so many times that it is always.
EARLY = {"timeout": 3600, "early": 1e18}
BOTH = pytest.mark.parametrize("times", [STALE, EARLY], ids=["stale", "early"])


@pytest.fixture(autouse=True)
def empty() -> None:
    cache.clear()


def look(make: Callable[[], Any], **times: Any) -> Any:
    return tagged().get_or_set("page", make, tags=["a"], **(times or STALE))


def fail() -> str:
    raise AssertionError("it is served, and not made")


class Thread:
    """A call in a thread; ``get()`` waits for its result."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.result = self.function()
        finally:
            connections.close_all()

    def get(self) -> Any:
        self.thread.join(30)
        return self.result


class Slow:
    """A maker that has begun, and ends when it is told to."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __call__(self) -> Any:
        self.begun.set()
        assert self.go_on.wait(30)
        return self.value


# While one makes it anew


@BOTH
def test_one_makes_it_anew_and_the_others_get_what_there_is(times: Any) -> None:
    look(lambda: "old", **times)
    slow = Slow("new")
    maker = Thread(lambda: look(slow, **times))
    assert slow.begun.wait(30)
    others = [Thread(lambda: look(fail, **times)) for _ in range(6)]
    assert [other.get() for other in others] == ["old"] * 6
    slow.go_on.set()
    assert maker.get() == "new"
    assert look(lambda: look(fail, **times), **times) == "new"


@BOTH
def test_of_many_who_come_at_once_one_makes_it_anew(times: Any) -> None:
    look(lambda: "old", **times)
    barrier, served, made = threading.Barrier(8), threading.Semaphore(0), []

    def make() -> str:
        made.append(1)
        for _ in range(7):
            assert served.acquire(timeout=30)
        return "new"

    def read() -> Any:
        barrier.wait(30)
        value = look(make, **times)
        served.release()
        return value

    readers = [Thread(read) for _ in range(8)]
    assert sorted(reader.get() for reader in readers) == ["new", *["old"] * 7]
    assert made == [1]


@BOTH
def test_a_value_of_which_a_tag_has_been_touched_is_served_to_nobody(times: Any) -> None:
    look(lambda: "old", **times)
    slow = Slow("late")
    maker = Thread(lambda: look(slow, **times))
    assert slow.begun.wait(30)
    tagged().touch("a")
    impatient = TaggedCache(lock=0)
    made = [
        impatient.get_or_set("page", lambda: "new", tags=["a"], timeout=60, stale=60)
        for _ in range(2)
    ]
    assert made == ["new", "new"]
    slow.go_on.set()
    assert maker.get() == "late"
    # It comes last, was made before the tag was touched, and is not put in the place of the new.
    assert tagged().get_or_set("page", fail, tags=["a"]) == "new"


@BOTH
def test_a_value_of_which_a_tag_is_touched_just_before_it_is_stored_is_served_to_nobody(
    times: Any, monkeypatch: Any
) -> None:
    look(lambda: "old", **times)

    def touch_late(alias: str, entries: Any) -> Any:
        good = drop_late(alias, entries)
        tagged().touch("a")
        return good

    with monkeypatch.context() as patch:
        patch.setattr(lookup, "drop_late", touch_late)
        assert look(lambda: "late", **times) == "late"
    assert cache.get("page")[2] == "late", "it is there"
    assert look(lambda: "new", **times) == "new"


def test_whoever_waits_after_a_touch_gets_no_old_value() -> None:
    look(lambda: "old")
    slow = Slow("late")
    maker = Thread(lambda: look(slow))
    assert slow.begun.wait(30)
    tagged().touch("a")
    waiting = Thread(lambda: look(lambda: "new"))
    slow.go_on.set()
    assert (maker.get(), waiting.get()) == ("late", "new")


def test_a_transaction_that_has_touched_the_tag_is_not_served_what_is_stale(wire: Any) -> None:
    wire((CacheInvalidation, {"models": ["testapp.Product"], "tags": ["a"]}))
    look(lambda: "old")
    with transaction.atomic():
        ProductFactory()
        assert look(lambda: "mine") == "mine"
        transaction.set_rollback(True)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="each statement reads what is committed")
def test_a_transaction_that_may_read_what_is_old_makes_nothing_anew() -> None:
    look(lambda: "old")
    with transaction.atomic():
        Product.objects.count()
        assert look(fail) == "old"


def test_a_maker_that_fails_is_told_and_the_next_one_tries() -> None:
    look(lambda: "old")

    def raise_it() -> str:
        assert look(fail) == "old"
        raise LookupError("no page")

    for _ in range(2):
        with pytest.raises(LookupError, match="no page"):
            look(raise_it)
    assert look(lambda: "new") == "new"


def test_what_cannot_be_stored_leaves_what_there_is_to_the_others() -> None:
    look(lambda: "old")
    assert callable(look(lambda: lambda: "new"))
    assert look(fail) == "old"


def test_where_nobody_waits_one_makes_it_anew_too() -> None:
    impatient = TaggedCache(lock=0)

    def read(make: Any) -> Any:
        return impatient.get_or_set("page", make, tags=["a"], **STALE)

    def make() -> str:
        assert read(fail) == "old"
        return "new"

    assert read(lambda: "old") == "old"
    assert read(make) == "new"
    assert read(lambda: "newer") == "newer"


def test_asynchronous_readers_are_served_while_one_of_them_makes_it_anew() -> None:
    async def check() -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def make() -> str:
            begun.set()
            await go_on.wait()
            return "new"

        async def read(make: Any) -> Any:
            return await tagged().aget_or_set("page", make, tags=["a"], **STALE)

        assert await read(lambda: "old") == "old"
        maker = asyncio.create_task(read(make))
        await asyncio.wait_for(begun.wait(), 30)
        assert await asyncio.gather(*(read(fail) for _ in range(5))) == ["old"] * 5
        go_on.set()
        assert await maker == "new"

    asyncio.run(check())


# How long


def test_whoever_does_not_ask_for_it_is_served_nothing_stale() -> None:
    look(lambda: "old")
    assert tagged().get_many({"page": ["a"]}) == {}
    assert look(lambda: "new", timeout=60) == "new"


def test_a_value_that_is_too_old_is_made_by_whoever_comes() -> None:
    look(lambda: "old", timeout=0, stale=60)
    # So long ago that it is over: to one who takes it for no time at all.
    assert look(lambda: "new", timeout=0, stale=1e-9) == "new"


def test_a_value_that_is_never_over_is_never_stale() -> None:
    look(lambda: "old", timeout=None, stale=60, early=1e18)
    assert look(fail, timeout=None, stale=60, early=1e18) == "old"


def test_the_versions_of_tags_are_kept_as_long_as_the_value() -> None:
    look(lambda: "old", timeout=10, stale=100_000)
    assert lasts(cache.get("signal_kit:tag:a"), 100_000)


def test_the_time_that_it_took_stands_beside_the_value() -> None:
    look(lambda: time.sleep(0.02), timeout=100, early=1)
    ends, cost = cache.get("page")[3]
    assert 0.02 <= cost < 30
    assert 60 < ends - time.time() <= 100


@given(ends=st.floats(-1e6, 1e6), stale=st.floats(0, 1e6), cost=st.floats(0, 1e3))
def test_no_value_is_over_before_it_is_due(ends: float, stale: float, cost: float) -> None:
    made = (time.time() + ends, cost)
    assert not is_over(made, stale) or is_due(made, 0)
    assert is_over(made, 0) == is_due(made, 0)
    assert not is_over(made, stale) or is_over(made, 0)
    # Early is never late.
    assert not is_due(made, 0) or is_due(made, 1)


def test_it_is_made_early_the_likelier_the_nearer_its_end_and_the_longer_it_takes() -> None:
    random.seed(1)

    def count(left: float, cost: float, early: float) -> int:
        made = (time.time() + left, cost)
        return sum(is_due(made, early) for _ in range(2000))

    # exp(-left / (cost * early)) of them.
    assert count(1000, 1000, 1) == pytest.approx(736, abs=100)
    assert count(1000, 500, 2) == pytest.approx(736, abs=100)
    assert count(2000, 1000, 1) == pytest.approx(271, abs=70)
    assert count(1000, 1, 1) == 0
    assert count(1000, 1000, 0) == 0


# Wherever values are cached


def test_functions_take_both_times() -> None:
    made: list[int] = []

    @cached(tags=["a"], key="page", **STALE)
    def page() -> int:
        made.append(1)
        assert len(made) == 1 or page() == 1
        return len(made)

    assert [page(), page()] == [1, 2]


def test_asynchronous_functions_take_both_times() -> None:
    made: list[int] = []

    @cached(tags=["a"], key="page", **EARLY)
    async def page() -> int:
        made.append(1)
        assert len(made) == 1 or await page() == 1
        return len(made)

    async def check() -> None:
        assert [await page(), await page()] == [1, 2]

    asyncio.run(check())


def test_views_take_both_times() -> None:
    said = ["old", "private", "new"]

    @cache_view(tags=["a"], **STALE)
    def page(request: HttpRequest) -> HttpResponse:
        word = said.pop(0)
        if word != "old":
            # Whoever comes meanwhile.
            assert page(RequestFactory().get("/")).content == b"old"
        control = "private" if word == "private" else "public"
        return HttpResponse(word, headers={"Cache-Control": control})

    def get() -> str:
        return str(page(RequestFactory().get("/")).content.decode())

    assert [get(), get()] == ["old", "private"]
    # Nobody makes it anew at once: it would be for one alone again.
    assert get() == "old"
    cache.delete_many([key for key in _list_keys() if "lock" in key])
    assert get() == "new"


def _list_keys() -> list[str]:
    return [key.split(":", 2)[2] for key in cache._cache]  # type: ignore[attr-defined]


def test_fragments_take_both_times() -> None:
    template = engines["django"].from_string(
        "{% load signal_kit %}{% cachetagged 0 'card' tags='a' stale=60 early=1 %}{{ make }}"
        "{% endcachetagged %}"
    )

    def make() -> str:
        assert template.render({"make": fail}) == "old"
        return "new"

    assert template.render({"make": "old"}) == "old"
    assert template.render({"make": make}) == "new"


@pytest.mark.parametrize(
    ("times", "error", "words"),
    [
        ({"stale": -1}, ValueError, r"stale=-1 is below 0 or endless. Write stale=0 for none"),
        ({"early": float("nan")}, ValueError, r"early=nan is below 0 or endless"),
        ({"stale": "60"}, TypeError, r"stale='60' is no number. Write stale=60"),
        ({"early": None}, TypeError, r"early=None is no number"),
    ],
)
def test_times_that_are_none_are_refused_at_once(times: Any, error: Any, words: str) -> None:
    for use in (
        lambda: look(fail, **times),
        lambda: asyncio.run(tagged().aget_or_set("page", fail, tags=["a"], **times)),
        lambda: cached(tags=["a"], **times),
        lambda: cache_view(tags=["a"], **times),
    ):
        with pytest.raises(error, match=words):
            use()


# Processes


@pytest.fixture
def redis(settings: Any, tmp_path: Path) -> Iterator[None]:
    with serve_redis(settings, tmp_path):
        yield


def _read(times: Any, barrier: Any, served: Any, others: int, results: Any) -> None:
    made: list[int] = []

    def make() -> str:
        made.append(1)
        for _ in range(others):
            assert served.acquire(timeout=30)
        return "new"

    barrier.wait(30)
    value = look(make, **times)
    served.release()
    results.put((value, len(made)))


@pytest.mark.parametrize(
    ("times", "is_there"),
    [({"timeout": 60}, False), (STALE, True), (EARLY, True)],
    ids=["cold", "stale", "early"],
)
def test_of_many_processes_one_makes_a_value(redis: None, times: Any, is_there: bool) -> None:
    if is_there:
        look(lambda: "old", **times)
    recovery.disconnect(cache)
    context = multiprocessing.get_context("fork")
    barrier, served, results = context.Barrier(4), context.Semaphore(0), context.Queue()
    others = 3 if is_there else 0
    arguments = (times, barrier, served, others, results)
    children = [context.Process(target=_read, args=arguments) for _ in range(4)]
    for child in children:
        child.start()
    found = sorted(results.get(timeout=60) for _ in children)
    for child in children:
        child.join(30)
    rest = ("old", 0) if is_there else ("new", 0)
    assert found == sorted([("new", 1), rest, rest, rest])
