"""A request is one unit of work where that is wanted, and kept or undone as one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from asgiref.sync import iscoroutinefunction, sync_to_async
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.base import BaseHandler
from django.db import connection, connections, transaction
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.template.response import SimpleTemplateResponse
from django.test import AsyncClient, Client
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from django_signal_kit import ModelReceiver, batch, get_context
from django_signal_kit.middleware import no_request_unit, request_unit
from django_signal_kit.units import views
from tests.apps.testapp.models import Tag
from tests.conftest import run_async
from tests.serving import Visit

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "other"]),
    pytest.mark.urls(__name__),
]


class Told(ModelReceiver):
    """What each flush before the commit was given."""

    models = ("testapp.Tag",)
    flush_on = "before_commit"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.flushed: list[list[str]] = []

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        self.collect(instance.name)

    def flush(self, items: list[str]) -> None:
        self.flushed.append(items)


class Later(Told):
    flush_on = "after_commit"


class BrokenError(Exception):
    pass


def write(*names: str) -> None:
    for name in names:
        Tag.objects.create(name=name)


def view(request: HttpRequest, how: str = "") -> Any:
    write("a", "b")
    if how == "raise":
        raise BrokenError
    if how == "missing":
        raise Http404
    if how == "denied":
        raise PermissionDenied
    if how == "undone":
        transaction.set_rollback(True)
        return HttpResponse()
    if how == "stream":
        return StreamingHttpResponse(part for part in stream())
    if how == "template":
        return SimpleTemplateResponse("never.html")
    return HttpResponse(str(connection.in_atomic_block), status=int(how or 200))


def stream() -> Iterator[str]:
    for name in ("c", "d"):
        write(name)
        yield str(connection.in_atomic_block)


async def async_view(request: HttpRequest, how: str = "") -> Any:
    await Tag.objects.acreate(name="a")
    await asyncio.sleep(0)
    await sync_to_async(write)("b")
    if how == "raise":
        raise BrokenError
    if how == "gather":
        await asyncio.gather(*(Tag.objects.acreate(name=name) for name in "cd"))
    if how == "batch":
        await sync_to_async(batch()(write))("c", "d")
    if how == "stream":
        return StreamingHttpResponse(astream())
    return HttpResponse(str(await sync_to_async(lambda: connection.in_atomic_block)()))


async def astream() -> AsyncIterator[str]:
    for name in ("c", "d"):
        await sync_to_async(write)(name)
        yield name


class Page(View):
    def post(self, request: HttpRequest) -> HttpResponse:
        return view(request)  # type: ignore[no-any-return]


class AsyncPage(View):
    async def post(self, request: HttpRequest) -> HttpResponse:
        return await async_view(request)  # type: ignore[no-any-return]


@method_decorator(no_request_unit, name="dispatch")
class PageWithout(Page):
    pass


@request_unit(using="other")
def view_of_other(request: HttpRequest) -> HttpResponse:
    for name in ("a", "b"):
        Tag.objects.using("other").create(name=name)
    in_block = connections["other"].in_atomic_block, connection.in_atomic_block
    return HttpResponse(str(in_block))


urlpatterns = [
    path("plain/", view),
    path("plain/<how>/", view),
    path("async/", async_view),
    path("async/<how>/", async_view),
    path("unit/", request_unit(view)),
    path("unit/<how>/", request_unit(view)),
    path("async-unit/", request_unit(async_view)),
    path("async-unit/<how>/", request_unit(async_view)),
    path("without/", no_request_unit(view)),
    path("async-without/", no_request_unit(async_view)),
    path("page/", Page.as_view()),
    path("async-page/", AsyncPage.as_view()),
    path("page-without/", PageWithout.as_view()),
    path("other/", view_of_other),
]


@pytest.fixture(params=[False, True], ids=["autocommit", "ATOMIC_REQUESTS"])
def atomic_requests(request: Any, monkeypatch: Any) -> bool:
    monkeypatch.setitem(connections["default"].settings_dict, "ATOMIC_REQUESTS", request.param)
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", request.param)
    return bool(request.param)


def send(url: str, method: str = "POST") -> Any:
    client = Client(raise_request_exception=False)
    return client.generic(method, url)


def send_async(url: str, method: str = "POST") -> Any:
    return run_async(AsyncClient(raise_request_exception=False).generic(method, url))


def names() -> list[str]:
    return sorted(Tag.objects.values_list("name", flat=True))


@pytest.mark.parametrize("url", ["/plain/", "/page/"])
def test_by_the_setting_a_request_is_one_unit(wire: Any, atomic_requests: Any, url: str) -> None:
    receiver = wire(Told, REQUEST_UNIT=True)
    assert send(url).content == b"True"
    assert receiver.flushed == [["a", "b"]]
    assert names() == ["a", "b"]


def test_without_it_each_write_is_one(wire: Any, atomic_requests: bool) -> None:
    receiver = wire(Told)
    assert send("/plain/").content == str(atomic_requests).encode()
    assert receiver.flushed == [["a"], ["b"]]


@pytest.mark.parametrize("url", ["/unit/", "/plain/"])
@pytest.mark.parametrize("how", ["raise", "missing", "denied", "undone"])
def test_what_fails_is_undone_as_a_whole(
    wire: Any, atomic_requests: Any, url: str, how: str
) -> None:
    before, later = wire(Told, Later, REQUEST_UNIT=url == "/plain/")
    status = {"raise": 500, "missing": 404, "denied": 403, "undone": 200}[how]
    assert send(f"{url}{how}/").status_code == status
    assert names() == []
    assert (before.flushed, later.flushed) == ([], [])
    write("next")
    assert before.flushed == later.flushed == [["next"]]


@pytest.mark.parametrize("url", ["/unit/", "/plain/"])
@pytest.mark.parametrize("how", ["302", "400", "404", "500", "503"])
def test_what_is_answered_is_kept_whatever_the_status(
    wire: Any, atomic_requests: Any, url: str, how: str
) -> None:
    receiver = wire(Later, REQUEST_UNIT=url == "/plain/")
    assert send(f"{url}{how}/").status_code == int(how)
    assert names() == ["a", "b"]
    assert receiver.flushed == [["a", "b"]]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE"])
def test_a_request_that_changes_nothing_has_no_transaction(wire: Any, method: str) -> None:
    receiver = wire(Told, REQUEST_UNIT=True)
    send("/plain/", method)
    assert receiver.flushed == [["a"], ["b"]]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_by_the_decorator_each_method_has_one(wire: Any, method: str) -> None:
    receiver = wire(Told)
    assert send("/unit/", method).content == b"True"
    assert receiver.flushed == [["a", "b"]]


@pytest.mark.parametrize("url", ["/without/", "/page-without/"])
def test_a_view_can_be_left_out(wire: Any, url: str) -> None:
    receiver = wire(Told, REQUEST_UNIT=True)
    assert send(url).content == b"False"
    assert receiver.flushed == [["a"], ["b"]]


def test_a_view_that_is_left_out_is_not_changed() -> None:
    assert not hasattr(view, "_signal_kit_request_unit")


def test_the_decorator_and_the_setting_are_one(wire: Any, atomic_requests: Any) -> None:
    receiver = wire(Told, REQUEST_UNIT=True)
    send("/unit/")
    assert receiver.flushed == [["a", "b"]]


def test_the_decorator_takes_another_database(wire: Any) -> None:
    receiver = wire(Told)
    assert send("/other/", "GET").content == b"(True, False)"
    assert receiver.flushed == [["a", "b"]]


def test_what_is_streamed_comes_after_it(wire: Any) -> None:
    receiver = wire(Told, REQUEST_UNIT=True)
    response = send("/plain/stream/")
    assert list(response.streaming_content) == [b"False", b"False"]
    assert receiver.flushed == [["a", "b"], ["c"], ["d"]]


def test_what_is_rendered_comes_after_it(wire: Any) -> None:
    receiver = wire(Later, REQUEST_UNIT=True)
    # There is no such template, which is found out when all is committed.
    assert send("/plain/template/").status_code == 500
    assert receiver.flushed == [["a", "b"]]


# Async


@pytest.mark.parametrize("url", ["/async-unit/", "/async/", "/async-page/"])
def test_an_async_view_is_one_unit(wire: Any, url: str) -> None:
    receiver = wire(Told, REQUEST_UNIT=url != "/async-unit/")
    assert send_async(url).content == b"True"
    assert receiver.flushed == [["a", "b"]]
    assert send(url).content == b"True"
    assert receiver.flushed == [["a", "b"]] * 2


@pytest.mark.parametrize("how", ["gather", "batch"])
def test_whatever_an_async_view_awaits_is_part_of_it(wire: Any, how: str) -> None:
    receiver = wire(Told)
    assert send_async(f"/async-unit/{how}/").status_code == 200
    assert [sorted(items) for items in receiver.flushed] == [["a", "b", "c", "d"]]


@pytest.mark.parametrize("url", ["/async-unit/raise/", "/async/raise/"])
def test_an_async_view_that_fails_is_undone_as_a_whole(wire: Any, url: str) -> None:
    before, later = wire(Told, Later, REQUEST_UNIT=url.startswith("/async/"))
    assert send_async(url).status_code == 500
    assert names() == []
    assert (before.flushed, later.flushed) == ([], [])


@pytest.mark.parametrize("url", ["/async-without/", "/async/"])
def test_an_async_view_can_be_left_out(wire: Any, url: str) -> None:
    receiver = wire(Told, REQUEST_UNIT=url != "/async/")
    assert send_async(url).content == b"False"
    assert receiver.flushed == [["a"], ["b"]]


def test_an_async_view_with_a_safe_method_has_none(wire: Any) -> None:
    receiver = wire(Told, REQUEST_UNIT=True)
    send_async("/async/", "GET")
    assert receiver.flushed == [["a"], ["b"]]


def test_an_async_stream_comes_after_it(wire: Any) -> None:
    receiver = wire(Told)

    async def read() -> list[bytes]:
        response = await AsyncClient().post("/async-unit/stream/")
        return [part async for part in response.streaming_content]

    assert run_async(read()) == [b"c", b"d"]
    assert receiver.flushed == [["a", "b"], ["c"], ["d"]]


def test_requests_at_once_are_apart(wire: Any) -> None:
    receiver = wire(Later)

    async def main() -> None:
        await asyncio.gather(*(AsyncClient().post("/async-unit/") for _ in range(5)))

    run_async(main())
    assert receiver.flushed == [["a", "b"]] * 5


@pytest.mark.parametrize("url", ["/async-unit/", "/unit/"])
def test_requests_at_once_are_apart_in_a_server(wire: Any, url: str) -> None:
    """There each request has a thread of its own."""
    receiver = wire(Told)

    async def main() -> list[int]:
        visits = [Visit(url, host="testserver") for _ in range(5)]
        handler = ASGIHandler()
        await asyncio.gather(*(visit.run(handler) for visit in visits))
        return [visit.status for visit in visits]

    assert run_async(main()) == [200] * 5
    assert receiver.flushed == [["a", "b"]] * 5
    assert names() == ["a"] * 5 + ["b"] * 5


def test_the_context_of_the_request_is_that_of_the_unit(wire: Any) -> None:
    class Asks(Told):
        def post_save(self, instance: Any, **kwargs: Any) -> None:
            self.collect(get_context()["method"])

    globals()["Asks"], Asks.__qualname__ = Asks, "Asks"
    receiver = wire(Asks)
    send_async("/async-unit/")
    assert receiver.flushed == [["POST", "POST"]]


# As a decorator


@pytest.mark.parametrize("wrap", [request_unit, request_unit(), no_request_unit])
def test_a_view_stays_what_it_was(wrap: Any) -> None:
    assert wrap(csrf_exempt(view)).csrf_exempt
    for one in (view, async_view):
        assert wrap(one).__name__ == one.__name__
        assert iscoroutinefunction(wrap(one)) is iscoroutinefunction(one)


def test_handlers_are_told_once() -> None:
    before = BaseHandler.make_view_atomic
    views.install()
    assert BaseHandler.make_view_atomic is before


def test_async_views_and_atomic_requests_are_refused_as_ever(wire: Any, monkeypatch: Any) -> None:
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    wire(Told, REQUEST_UNIT=True)
    with pytest.raises(RuntimeError, match="ATOMIC_REQUESTS with async views"):
        Client().post("/async/")


def test_a_setting_of_another_type_stops_the_start(wire: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"\['REQUEST_UNIT'\] is 'yes', of type str"):
        wire(Told, REQUEST_UNIT="yes")
