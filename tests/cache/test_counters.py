"""Each counter counts what it says, in whichever way it comes about, and no more."""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.cache import cache
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.template import Context, engines
from django.test import RequestFactory

from django_signal_kit.cache import (
    Counted,
    cache_view,
    cached,
    counters,
    gathering,
    get_counters,
    tagged,
)
from django_signal_kit.receivers import CacheInvalidation
from tests.factories import ProductFactory
from tests.threads import in_threads

pytestmark = pytest.mark.django_db(transaction=True)

NONE = Counted(0, 0, 0, 0, 0)


@pytest.fixture(autouse=True)
def anew() -> None:
    cache.clear()
    counters._counters.clear()


def count(**expected: int) -> None:
    """What has been counted since the last time."""
    assert get_counters().get("default", NONE) == NONE._replace(**expected)
    counters._counters.clear()


def test_nothing_is_counted_of_a_cache_that_is_not_used() -> None:
    assert get_counters() == {}
    tagged("second").touch("a")
    assert get_counters() == {"second": NONE._replace(tags=1)}


def test_a_receiver_tells_those_of_its_caches(wire: Any) -> None:
    options = {"models": ["testapp.Product"], "tags": ["a"], "caches": ["default", "second"]}
    receiver = wire((CacheInvalidation, options))
    tagged().get_or_set("page", lambda: 1, tags=["a"])
    tagged("second").get_or_set("page", lambda: 1, tags=["a"])
    tagged("second").get_or_set("page", lambda: 1, tags=["a"])
    tagged().touch("a", "b")
    assert receiver.get_own_figures() == {
        "cache_hits": 1,
        "cache_misses": 2,
        "keys_dropped": 0,
        "tags_touched": 2,
    }


def test_of_a_cache_that_several_share_one_tells(wire: Any) -> None:
    first, second = wire(
        (CacheInvalidation, {"models": ["testapp.Product"], "tags": ["product"]}),
        {
            "RECEIVER": "django_signal_kit.receivers.CacheInvalidation",
            "NAME": "Both",
            "OPTIONS": {
                "models": ["testapp.Tag"],
                "tags": ["tag"],
                "caches": ["default", "second"],
            },
        },
    )
    tagged().get_or_set("page", lambda: "page", tags=["product"])
    assert first.get_own_figures()["cache_misses"] == 1
    assert second.get_own_figures()["cache_misses"] == 0


def test_hits_and_misses() -> None:
    for _ in range(3):
        tagged().get_or_set("page", lambda: 1, tags=["a"])
    count(hits=2, misses=1)
    tagged().touch("a")
    count(tags=1)
    tagged().get_or_set("page", lambda: 1, tags=["a"])
    count(misses=1)
    with pytest.raises(ZeroDivisionError):
        tagged().get_or_set("fails", lambda: 1 // 0, tags=["a"])
    count(misses=1)
    tagged().get_or_set("none", lambda: None, tags=["a"])
    tagged().get_or_set("none", lambda: None, tags=["a"])
    count(hits=1, misses=1)


def test_hits_and_misses_of_many() -> None:
    pages = {"x": ["a"], "y": ["b"], "z": []}
    found = tagged().get_many(pages)
    count(misses=3)
    tagged().set_many({"x": 1, "y": 2}, found)
    count()
    tagged().get_many(pages)
    count(hits=2, misses=1)


def test_functions_fragments_and_pages_are_counted_too() -> None:
    @cached(tags=["a"])
    def function() -> int:
        return 1

    @cached(tags=["a"])
    async def coroutine() -> int:
        return 1

    @cache_view(tags=["a"])
    def page(request: HttpRequest) -> HttpResponse:
        return HttpResponse("page")

    fragment = engines["django"].from_string(
        '{% load signal_kit %}{% cachetagged 60 "a" tags="a" %}{% endcachetagged %}'
    )
    for call in (function, async_to_sync(coroutine), lambda: fragment.render(Context().flatten())):
        call()
        call()
        count(hits=1, misses=1)
    response = page(RequestFactory().get("/"))
    count(misses=1)
    page(RequestFactory().get("/"))
    count(hits=1)
    headers = {"If-None-Match": response["ETag"]}
    assert page(RequestFactory().get("/", headers=headers)).status_code == 304
    count(hits=1)


def test_who_waits_for_another_has_a_hit() -> None:
    may_go = threading.Event()

    def make() -> str:
        started.set()
        may_go.wait(30)
        return "page"

    started = threading.Event()
    threads = [
        threading.Thread(target=tagged().get_or_set, args=("page", make), kwargs={"tags": ["a"]})
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    started.wait(30)
    may_go.set()
    for thread in threads:
        thread.join(30)
    count(hits=3, misses=1)


@pytest.mark.parametrize("times", [{"timeout": 0, "stale": 60}, {"timeout": 60, "early": 1e18}])
def test_who_makes_a_value_anew_has_a_miss_and_who_is_served_meanwhile_a_hit(times: Any) -> None:
    found: list[str] = []

    def look(word: str) -> str:
        return tagged().get_or_set("page", lambda: make(word), tags=["a"], **times)

    def make(word: str) -> str:
        if word == "new":
            thread = threading.Thread(target=lambda: found.append(look("newer")))
            thread.start()
            thread.join(30)
        return word

    assert look("old") == "old"
    count(misses=1)
    assert look("new") == "new"
    assert found == ["old"]
    count(hits=1, misses=1)


def test_fragments_that_are_read_ahead_are_counted_when_they_are_needed() -> None:
    fragments = engines["django"].from_string(
        "{% load signal_kit %}"
        '{% prefetchtagged "card" n tags="card:{n}" for n in numbers %}'
        "{% for n in shown %}"
        '{% cachetagged 60 "card" n tags="card:{n}" %}{{ n }}{% endcachetagged %}'
        "{% endfor %}"
    )

    def render() -> Any:
        with gathering.gather() as found:
            assert fragments.render({"numbers": "123", "shown": "12"}) == "12"
        return [*found]

    assert render() == ["card:1", "card:2"]
    count(misses=2)
    assert render() == ["card:1", "card:2"]
    count(hits=2)


def test_what_is_dropped_is_counted_each_time(wire: Any) -> None:
    options = {"keys": ["product:{pk}", "{pk}"], "tags": ["products"], "models": ["testapp.*"]}
    wire((CacheInvalidation, {**options, "caches": ["default", "second"]}))
    ProductFactory()
    assert get_counters()["second"] == NONE._replace(keys=2, tags=1)
    count(keys=2, tags=1)
    with transaction.atomic():
        ProductFactory()
    count(keys=4, tags=2)
    with transaction.atomic():
        tagged().touch("a", "b")
    count(tags=4)
    tagged().touch()
    count(tags=1)


def test_a_value_that_comes_too_late_is_counted_and_not_stored() -> None:
    def make() -> str:
        tagged().touch("a")
        return "old"

    assert tagged().get_or_set("page", make, tags=["a", "b"]) == "old"
    count(misses=1, tags=1, late=1)
    assert cache.get("page") is None
    found = tagged().get_many({"x": ["a"], "y": ["b"], "z": ["a"]})
    tagged().touch("a")
    tagged().set_many({"x": 1, "y": 2, "z": 3}, found)
    count(misses=3, tags=1, late=2)
    assert (cache.get("x"), cache.get("z")) == (None, None)
    assert tagged().get_many({"x": ["a"], "y": ["b"], "z": ["a"]}) == {"y": 2}


def test_who_waits_for_a_value_that_comes_too_late_makes_it_anew() -> None:
    made: list[str] = []
    started = threading.Event()

    def first() -> str:
        started.set()
        waiter.start()
        tagged().touch("a")
        made.append("old")
        return "old"

    def second() -> str:
        made.append("new")
        return "new"

    found: list[str] = []
    waiter = threading.Thread(
        target=lambda: found.append(tagged().get_or_set("page", second, tags=["a"]))
    )
    assert tagged().get_or_set("page", first, tags=["a"]) == "old"
    waiter.join(30)
    assert (made, found) == (["old", "new"], ["new"])
    assert tagged().get_or_set("page", first, tags=["a"]) == "new"


def test_threads_lose_no_count() -> None:
    tagged().get_or_set("page", lambda: 1, tags=[])
    start = threading.Barrier(8)

    def look() -> None:
        start.wait(30)
        for _ in range(500):
            counters.of("default").count_hit()
            counters.of("other").count_dropped(1, 2)

    in_threads(*[look] * 8)
    assert get_counters()["other"] == NONE._replace(keys=4000, tags=8000)
    count(hits=4000, misses=1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork()")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_begins_anew_though_a_lock_was_held() -> None:
    tagged().touch("a")
    with counters.of("default")._lock:
        pid = os.fork()
        if not pid:
            os._exit(0 if get_counters() == {"default": NONE} else 1)
    assert os.waitpid(pid, 0)[1] == 0
    count(tags=1)
