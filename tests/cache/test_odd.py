"""Values that cannot be stored or read, locks that nobody gives back, and processes that fork."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.cache import cache, caches
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.utils import timezone

from django_signal_kit.cache import TaggedCache, cache_view, recovery, tagged
from django_signal_kit.receivers import CacheInvalidation
from tests.apps.testapp.models import Product
from tests.factories import ProductFactory
from tests.threads import in_threads

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def empty() -> None:
    cache.clear()


def get(view: Any, **headers: str) -> Any:
    return view(RequestFactory().get("/", headers=headers))


class Meeting:
    """How many were in it at once, at most; each stays until ``count`` have been."""

    def __init__(self, count: int) -> None:
        self.barrier = threading.Barrier(count)
        self.broken = 0

    def attend(self, wait: float) -> None:
        try:
            self.barrier.wait(wait)
        except threading.BrokenBarrierError:
            self.broken += 1


# What cannot be stored, or read


def test_a_value_that_cannot_be_stored_is_given_to_the_caller() -> None:
    made: list[Callable[[], int]] = []

    def make() -> Callable[[], int]:
        made.append(lambda: 1)
        return made[-1]

    assert tagged().get_or_set("odd", make, tags=["t"]) is made[0]
    assert tagged().get_or_set("odd", make, tags=["t"]) is made[1]


def test_nobody_waits_for_a_value_that_cannot_be_stored() -> None:
    tagged().get_or_set("odd", lambda: lambda: 1, tags=["t"])
    meeting = Meeting(3)

    def make() -> Callable[[], int]:
        meeting.attend(10)
        return lambda: 1

    in_threads(*[lambda: tagged().get_or_set("odd", make, tags=["t"])] * 3)
    assert not meeting.broken


class Gone:
    """Of a release that is not there any more."""


def test_a_value_that_cannot_be_read_any_more_is_made_anew(monkeypatch: Any) -> None:
    tagged().get_or_set("page", Gone, tags=["t"])
    tagged().get_or_set("card", lambda: "card", tags=["t"])
    monkeypatch.delattr(f"{__name__}.Gone")

    found = tagged().get_many({"page": ["t"], "card": ["t"]})
    assert (found, list(found.missing)) == ({"card": "card"}, ["page"])
    assert tagged().get_or_set("page", lambda: "new", tags=["t"]) == "new"
    assert tagged().get_or_set("page", lambda: "newer", tags=["t"]) == "new"


def test_text_that_has_no_bytes_is_a_key_and_a_tag() -> None:
    assert tagged().get_or_set("\ud800", lambda: 1, tags=["\ud800"]) == 1
    tagged().touch("\ud800")
    assert tagged().get_or_set("\ud800", lambda: 2, tags=["\ud800"]) == 2


# Locks


def test_a_key_that_looks_like_a_lock_is_none() -> None:
    tagged().get_or_set("page:lock", lambda: 1, tags=["t"])
    others = TaggedCache(lock=3600)
    assert others.get_or_set("page", lambda: 2, tags=["t"]) == 2


def test_who_has_waited_long_enough_leaves_the_lock_to_its_holder() -> None:
    lock = "signal_kit:lock:page"
    cache.set(lock, 1, 3600)
    assert TaggedCache(lock=0.01).get_or_set("page", lambda: 1, tags=["t"]) == 1
    assert cache.get(lock) == 1


def test_who_has_made_too_long_leaves_the_lock_to_the_next() -> None:
    lock = "signal_kit:lock:page"

    def make() -> int:
        time.sleep(0.06)
        assert cache.add(lock, "the next", 3600)
        return 1

    assert TaggedCache(lock=0.05).get_or_set("page", make, tags=["t"]) == 1
    assert cache.get(lock) == "the next"


def test_visitors_of_a_private_page_do_not_wait_for_one_another() -> None:
    meeting = Meeting(3)

    @cache_view(tags=["t"])
    def page(request: HttpRequest) -> HttpResponse:
        if "X-First" not in request.headers:
            meeting.attend(10)
        return HttpResponse("mine", headers={"Cache-Control": "private"})

    get(page, **{"X-First": "1"})
    in_threads(*[lambda: get(page)] * 3)
    assert not meeting.broken


def test_a_page_that_is_private_no_more_is_cached_at_once() -> None:
    said = ["private", "public"]

    @cache_view(tags=["t"])
    def page(request: HttpRequest) -> HttpResponse:
        return HttpResponse("page", headers={"Cache-Control": said.pop(0)})

    assert [get(page)["Cache-Control"] for _ in range(3)] == ["private", "public", "public"]


# Who asks for a page


def test_a_response_to_one_who_says_who_he_is_is_not_for_others() -> None:
    @cache_view(tags=["t"])
    def show(request: HttpRequest) -> HttpResponse:
        return HttpResponse(request.headers.get("Authorization", "nobody"))

    assert get(show).content == b"nobody"
    assert get(show, Authorization="Token ann").content == b"Token ann"
    assert get(show, Authorization="Token bea").content == b"Token bea"
    assert get(show).content == b"nobody"


def test_each_of_those_may_have_a_page_of_his_own() -> None:
    made: list[str] = []

    @cache_view(tags=["t"], vary=["Authorization"])
    def show(request: HttpRequest) -> HttpResponse:
        made.append(request.headers["Authorization"])
        return HttpResponse(made[-1])

    for name in ("ann", "bea", "ann", "bea"):
        response = get(show, Authorization=name)
        assert response.content.decode() == name
        assert response["Vary"].lower() == "authorization"
    assert made == ["ann", "bea"]


def test_a_page_is_of_one_time_zone() -> None:
    @cache_view(tags=["t"])
    def show(request: HttpRequest) -> HttpResponse:
        return HttpResponse(timezone.get_current_timezone_name())

    for name in ("Asia/Tokyo", "Europe/Madrid"):
        with timezone.override(name):
            assert get(show).content.decode() == name


# Touching by hand


def test_who_touches_by_hand_in_a_transaction_shows_nobody_what_is_not_committed() -> None:
    product = ProductFactory(name="old")
    seen: list[str] = []

    def look() -> str:
        return tagged().get_or_set(
            "n", lambda: Product.objects.get(pk=product.pk).name, tags=["t"]
        )

    def write(*tags: str) -> None:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("UPDATE testapp_product SET name = 'new'")
            tagged().touch(*tags)
            assert look() == "new"
            in_threads(lambda: seen.append(look()))
            transaction.set_rollback(True)

    for tags in (["t"], []):
        assert look() == "old"
        write(*tags)
        assert seen.pop() == "old"
        assert look() == "old"


def test_after_it_the_cache_is_read_again() -> None:
    with transaction.atomic():
        tagged().touch("t")
    made = iter(range(9))
    assert [tagged().get_or_set("n", lambda: next(made), tags=["t"]) for _ in "ab"] == [0, 0]


# Processes


def _is_settled(answers: Any) -> None:
    end = time.monotonic() + 10
    while recovery.is_owed("default") and time.monotonic() < end:
        time.sleep(0.01)
    answers.put(recovery.is_owed("default"))


def test_a_process_that_is_forked_pays_what_its_parent_owes(settings: Any, tmp_path: Any) -> None:
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
            "LOCATION": str(tmp_path / "cache"),
        }
    }
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    # As if it were down: nothing of the parent answers.
    recovery._owed["default"] = {"page"}
    try:
        child = context.Process(target=_is_settled, args=(answers,))
        child.start()
        assert answers.get(timeout=20) is False
        child.join(20)
    finally:
        recovery._forget("default")
    assert caches["default"].get("page") is None


# Event loops


def test_asynchronous_code_in_a_transaction_shows_nobody_what_is_not_committed(wire: Any) -> None:
    wire((CacheInvalidation, {"models": ["testapp.Product"], "tags": ["product:{pk}"]}))
    product = ProductFactory(name="old")
    tags = [f"product:{product.pk}"]

    async def alook() -> Any:
        make = sync_to_async(lambda: Product.objects.get(pk=product.pk).name)
        return await tagged().aget_or_set("n", make, tags=tags)

    @cache_view(tags=tags)
    async def show(request: HttpRequest) -> HttpResponse:
        return HttpResponse((await Product.objects.aget(pk=product.pk)).name)

    def look() -> tuple[str, str]:
        request = RequestFactory().get("/", headers={"If-None-Match": etag})
        response = async_to_sync(show)(request)
        return async_to_sync(alook)(), response.content.decode() or str(response.status_code)

    etag = async_to_sync(show)(RequestFactory().get("/"))["ETag"]
    assert look() == ("old", "304")
    with transaction.atomic():
        Product.objects.filter(pk=product.pk).update(name="new")
        assert look() == ("new", "new")
        transaction.set_rollback(True)
    assert look() == ("old", "304")


# A cache in the database


def test_a_table_that_is_missing_leaves_the_transaction_as_it_is(wire: Any, settings: Any) -> None:
    backend = "django.core.cache.backends.db.DatabaseCache"
    settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": "no_such_table"}}
    wire((CacheInvalidation, {"models": ["testapp.Product"], "tags": ["product:{pk}"]}))
    product = ProductFactory()
    try:
        recovery._forget("default")
        with transaction.atomic():
            assert tagged().get_or_set("n", Product.objects.count, tags=["other"]) == 1
            product.name = "new"
            product.save()
            tagged().touch("other")
            product.refresh_from_db()
    finally:
        recovery._forget("default")
    assert Product.objects.get(pk=product.pk).name == "new"
