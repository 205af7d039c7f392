"""How long requests take, under any server."""

from __future__ import annotations

import asyncio
import gc
import logging
import pickle
import threading
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any
from urllib.request import urlopen

import django
import pytest
from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import connection, connections
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import path

from django_signal_kit import muted
from django_signal_kit.checks import check_signal_kit
from django_signal_kit.exchange import KEY, get_exchange
from django_signal_kit.middleware import RequestContextMiddleware
from django_signal_kit.receivers import RequestTimer
from django_signal_kit.requests.histograms import BOUNDS, OTHERS, Histograms, Timing
from django_signal_kit.requests.querycount import count_query
from django_signal_kit.wiring.registry import registry
from tests.apps.testapp.models import Tag
from tests.conftest import run_async
from tests.factories import UserFactory
from tests.serving import TIMEOUT, Visit, call_wsgi, serve_wsgi
from tests.threads import in_threads

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

# MySQL is sent statements of Django's own on each new connection, at a time of Django's choice.
DATABASE = "other" if connection.vendor == "mysql" else "default"
tags = Tag.objects.using(DATABASE)

STREAMS = ("/stream/", "/async-stream/")
MIDDLEWARE = "django_signal_kit.middleware.RequestContextMiddleware"


class Recording(RequestTimer):
    """Keeps what it is told."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._timings: list[Timing] = []

    def record(self, timing: Timing) -> None:
        super().record(timing)
        self._timings.append(timing)


class Failing(RequestTimer):
    def get_route(self, request: Any) -> str:
        raise ZeroDivisionError("route")

    def record(self, timing: Timing) -> None:
        raise ZeroDivisionError("record")


class Named(Recording):
    def get_route(self, request: Any) -> str:
        return str(request.path)

    def should_record(self, timing: Timing) -> bool:
        return timing.route != "/item/2/"


class Subclassed(RequestContextMiddleware):
    pass


def view(request: Any, number: int = 0) -> HttpResponse:
    return HttpResponse(f"number {number}")


def query_view(request: Any) -> HttpResponse:
    tags.create(name="a")
    return HttpResponse(tags.count())


async def async_query_view(request: Any) -> HttpResponse:
    await tags.acreate(name="a")
    return HttpResponse(await tags.acount())


def user_view(request: Any) -> HttpResponse:
    return HttpResponse(request.user.username)


async def auser_view(request: Any) -> HttpResponse:
    return HttpResponse((await request.auser()).username)


def failing_view(request: Any) -> HttpResponse:
    raise ZeroDivisionError("view")


def stream_view(request: Any) -> StreamingHttpResponse:
    def stream() -> Iterator[bytes]:
        yield b"first "
        tags.create(name="streamed")
        yield b"last"

    return StreamingHttpResponse(stream())


async def async_stream_view(request: Any) -> StreamingHttpResponse:
    async def stream() -> AsyncIterator[bytes]:
        yield b"first "
        await tags.acreate(name="streamed")
        yield b"last"

    return StreamingHttpResponse(stream())


async def endless_view(request: Any) -> StreamingHttpResponse:
    async def stream() -> AsyncIterator[bytes]:
        yield b"first "
        await asyncio.Event().wait()

    return StreamingHttpResponse(stream())


waiting: list[asyncio.Event] = []


async def waiting_view(request: Any) -> HttpResponse:
    waiting[0].set()
    await asyncio.Event().wait()
    return HttpResponse()


def file_view(request: Any) -> FileResponse:
    return FileResponse(open(__file__, "rb"))


def nested_view(request: Any) -> HttpResponse:
    response = Client().get("/item/7/")
    return HttpResponse(response.content)


urlpatterns = [
    path("", view),
    path("item/<int:number>/", view),
    path("query/", query_view),
    path("async-query/", async_query_view),
    path("user/", user_view),
    path("auser/", auser_view),
    path("fail/", failing_view),
    path("stream/", stream_view),
    path("async-stream/", async_stream_view),
    path("endless/", endless_view),
    path("wait/", waiting_view),
    path("file/", file_view),
    path("nested/", nested_view),
]


@pytest.fixture(autouse=True)
def _urls(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    waiting.clear()


@pytest.fixture
def timer(wire: Any) -> Any:
    return wire(Recording)


def by_wsgi(url: str) -> tuple[int, str]:
    with serve_wsgi(WSGIHandler()) as address:
        try:
            with urlopen(address + url, timeout=TIMEOUT) as response:
                return response.status, response.read().decode()
        except Exception as error:
            return getattr(error, "code", 0), getattr(error, "read", bytes)().decode()


def by_asgi(url: str) -> tuple[int, str]:
    visit = run_async(Visit(url).run(ASGIHandler()))
    return visit.status, visit.body.decode()


def by_client(url: str) -> tuple[int, str]:
    response = Client(raise_request_exception=False).get(url)
    return response.status_code, read(response)


def by_async_client(url: str) -> tuple[int, str]:
    async def fetch() -> tuple[int, str]:
        response: Any = await AsyncClient(raise_request_exception=False).get(url)
        if getattr(response, "is_async", False):
            return response.status_code, b"".join([part async for part in response]).decode()
        return response.status_code, await sync_to_async(read)(response)

    result: tuple[int, str] = run_async(fetch())
    return result


def read(response: Any) -> str:
    if response.streaming:
        return b"".join(response.streaming_content).decode()
    return str(response.content.decode())


any_server = pytest.mark.parametrize("fetch", [by_wsgi, by_asgi, by_client, by_async_client])


def once(timer: Any) -> Timing:
    (timing,) = timer._timings
    found: Timing = timing
    return found


# What is measured


@any_server
def test_a_request_has_its_route_status_and_durations(fetch: Any, timer: Any) -> None:
    assert fetch("/item/3/") == (200, "number 3")
    timing = once(timer)
    assert (timing.method, timing.path, timing.route) == ("GET", "/item/3/", "item/<int:number>/")
    assert timing.status == 200
    assert timing.user_pk is None
    assert timing.response_duration is not None
    assert 0 < timing.response_duration <= timing.duration


@any_server
@pytest.mark.parametrize("url", ["/query/", "/async-query/"])
def test_its_queries_are_counted(fetch: Any, url: str, timer: Any) -> None:
    fetch(url)
    timing = once(timer)
    assert timing.query_count == 2
    assert timing.query_duration is not None
    assert 0 < timing.query_duration <= timing.duration


@any_server
def test_a_failing_view_is_a_request_like_others(fetch: Any, timer: Any) -> None:
    assert fetch("/fail/")[0] == 500
    assert (once(timer).route, once(timer).status) == ("fail/", 500)


@any_server
def test_what_matches_no_url_has_no_route(fetch: Any, timer: Any) -> None:
    assert fetch("/nowhere/")[0] == 404
    assert (once(timer).route, once(timer).status) == ("", 404)


@pytest.mark.parametrize(
    ("fetch", "url"),
    [
        (by_wsgi, "/stream/"),
        (by_client, "/stream/"),
        *((fetch, url) for fetch in (by_asgi, by_async_client) for url in STREAMS),
    ],
)
@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")
def test_a_stream_ends_with_its_last_part(fetch: Any, url: str, timer: Any) -> None:
    assert fetch(url) == (200, "first last")
    timing = once(timer)
    assert (timing.route, timing.status, timing.query_count) == (url[1:], 200, 1)


@any_server
@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")
def test_a_file_is_measured(fetch: Any, timer: Any) -> None:
    assert fetch("/file/")[1].startswith('"""How long requests take')
    assert once(timer).route == "file/"


def test_a_stream_is_not_over_before_it_is_closed(timer: Any) -> None:
    response = call_wsgi(WSGIHandler(), "/stream/")
    assert b"".join(response) == b"first last"
    assert timer._timings == []
    response.close()
    assert once(timer).query_count == 1
    response.close()
    assert len(timer._timings) == 1


@any_server
def test_two_requests_are_two(fetch: Any, timer: Any) -> None:
    fetch("/item/1/")
    fetch("/query/")
    assert [(t.route, t.query_count) for t in timer._timings] == [
        ("item/<int:number>/", 0),
        ("query/", 2),
    ]


def test_many_requests_at_once_keep_apart(timer: Any) -> None:
    async def main() -> None:
        handler = ASGIHandler()
        urls = ["/item/1/", "/async-query/", "/query/", "/async-stream/"] * 5
        await asyncio.gather(*(Visit(url).run(handler) for url in urls))

    run_async(main())
    assert Counter((t.route, t.query_count) for t in timer._timings) == {
        ("item/<int:number>/", 0): 5,
        ("async-query/", 2): 5,
        ("query/", 2): 5,
        ("async-stream/", 1): 5,
    }


def test_threads_keep_apart(timer: Any) -> None:
    barrier = threading.Barrier(4)

    def ask(url: str) -> None:
        barrier.wait(TIMEOUT)
        for _ in range(5):
            with urlopen(url, timeout=TIMEOUT) as response:
                response.read()

    with serve_wsgi(WSGIHandler()) as address:
        in_threads(*(partial(ask, address + url) for url in ["/item/1/", "/query/"] * 2))
    assert sorted((t.route, t.query_count) for t in timer._timings) == (
        [("item/<int:number>/", 0)] * 10 + [("query/", 2)] * 10
    )


# Who


def test_a_user_who_was_looked_up_is_known(timer: Any) -> None:
    user = UserFactory()
    client = Client()
    client.force_login(user)
    client.get("/user/")
    assert once(timer).user_pk == user.pk


def test_a_user_who_was_looked_up_by_auser_is_known(timer: Any) -> None:
    user = UserFactory()

    async def fetch() -> None:
        client = AsyncClient()
        await client.aforce_login(user)
        await client.get("/auser/")

    run_async(fetch())
    assert once(timer).user_pk == user.pk


def test_nobody_is_looked_up_for_the_timer(timer: Any) -> None:
    client = Client()
    client.force_login(UserFactory())
    with CaptureQueriesContext(connection) as queries:
        client.get("/")
    assert len(queries) == 0
    assert once(timer).user_pk is None


def test_an_anonymous_user_has_no_key(timer: Any) -> None:
    Client().get("/user/")
    assert once(timer).user_pk is None


# Clients and servers that leave


async def leave_while_the_view_works() -> None:
    waiting.append(asyncio.Event())
    visit = Visit("/wait/")
    task = asyncio.create_task(visit.run(ASGIHandler()))
    async with asyncio.timeout(TIMEOUT):
        await waiting[0].wait()
        visit.gone.set()
        await task
    assert visit.sent == []


def test_a_client_that_leaves_while_the_view_works_is_measured(timer: Any) -> None:
    run_async(leave_while_the_view_works())
    timing = once(timer)
    assert (timing.path, timing.status, timing.response_duration) == ("/wait/", None, None)


def test_a_client_that_leaves_a_stream_is_measured(timer: Any) -> None:
    async def main() -> None:
        visit = Visit("/endless/")
        task = asyncio.create_task(visit.run(ASGIHandler()))
        async with asyncio.timeout(TIMEOUT):
            await visit.first_chunk.wait()
            visit.gone.set()
            await task

    run_async(main())
    assert (once(timer).route, once(timer).status) == ("endless/", 200)


def test_a_server_that_never_closes_confuses_nobody(timer: Any) -> None:
    handler = WSGIHandler()
    forgotten = [call_wsgi(handler, "/query/") for _ in range(3)]
    response = call_wsgi(handler, "/item/1/")
    response.close()
    assert (once(timer).route, once(timer).query_count) == ("item/<int:number>/", 0)
    # One that is closed late is told as what it was.
    call_wsgi(handler, "/nowhere/")
    forgotten[0].close()
    assert (timer._timings[-1].route, timer._timings[-1].query_count) == ("query/", 2)


def test_a_server_that_never_closes_fills_no_memory(timer: Any) -> None:
    handler = WSGIHandler()

    class Body:
        """Something that can be watched."""

    alive = []
    for _ in range(20):
        body = Body()
        alive.append(weakref.ref(body))
        call_wsgi(handler, "/", **{"test.body": body})
    del body
    gc.collect()
    assert sum(ref() is not None for ref in alive) <= 1
    assert timer._timings == []


def test_without_the_middleware_a_forgotten_request_is_not_taken_for_the_next(
    timer: Any, settings: Any
) -> None:
    settings.MIDDLEWARE = []
    handler = WSGIHandler()
    call_wsgi(handler, "/query/")
    call_wsgi(handler, "/item/1/").close()
    timing = once(timer)
    assert (timing.path, timing.route, timing.status) == ("/item/1/", "", None)
    assert timing.query_count == 0


def test_a_finish_without_a_start_is_nothing(timer: Any) -> None:
    request_finished.send(sender=None)
    call_wsgi(WSGIHandler()).close()
    request_finished.send(sender=None)
    assert len(timer._timings) == 1
    request_started.send(sender=None)
    request_finished.send(sender=None)
    assert len(timer._timings) == 1


def test_an_environ_that_is_used_again_is_another_request(timer: Any) -> None:
    environ = RequestFactory().get("/item/1/").environ
    for _ in range(2):
        WSGIHandler()(environ, lambda *args: None).close()
    forgotten = WSGIHandler()(environ, lambda *args: None)
    WSGIHandler()(environ, lambda *args: None).close()
    assert [t.route for t in timer._timings] == ["item/<int:number>/"] * 3
    forgotten.close()
    assert len(timer._timings) == 4


def test_a_request_inside_a_request(timer: Any) -> None:
    assert by_wsgi("/nested/") == (200, "number 7")
    inner, outer = timer._timings
    assert (inner.route, outer.route) == ("item/<int:number>/", "nested/")
    assert inner.duration <= outer.duration


# What the signals tell by themselves


def test_without_the_middleware_wsgi_tells_durations_and_queries(
    timer: Any, settings: Any
) -> None:
    settings.MIDDLEWARE = []
    by_wsgi("/query/")
    timing = once(timer)
    assert (timing.route, timing.status, timing.query_count) == ("", None, 2)


@pytest.mark.parametrize("url", ["/query/", "/async-query/"])
def test_without_the_middleware_asgi_tells_them_since_6_1(
    url: str, timer: Any, settings: Any
) -> None:
    settings.MIDDLEWARE = []
    by_asgi(url)
    if django.VERSION < (6, 1):
        assert timer._timings == []
    else:
        assert (once(timer).route, once(timer).query_count) == ("", 2)


def check_ids() -> list[str]:
    return [message.id or "" for message in check_signal_kit()]


def test_the_missing_middleware_is_warned_of(wire: Any, settings: Any) -> None:
    wire(RequestTimer)
    assert "signal_kit.W004" not in check_ids()
    settings.MIDDLEWARE = [f"{__name__}.Subclassed", "no.such.Middleware"]
    assert "signal_kit.W004" not in [m.id for m in registry.receivers[0].get_warnings()]
    settings.MIDDLEWARE = ["django.middleware.common.CommonMiddleware", f"{__name__}.view"]
    assert "signal_kit.W004" in [m.id for m in registry.receivers[0].get_warnings()]


def test_nobody_is_warned_without_a_timer(settings: Any) -> None:
    settings.MIDDLEWARE = []
    assert "signal_kit.W004" not in check_ids()


# The log


def slow(caplog: Any) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "django_signal_kit.requests"]


def test_a_slow_request_is_logged(wire: Any, caplog: Any) -> None:
    wire((RequestTimer, {"slow_after": 0}))
    user = UserFactory()
    client = Client()
    client.force_login(user)
    client.get("/user/")
    (line,) = slow(caplog)
    assert line.startswith("Slow request: GET user/ took 0.")
    assert line.endswith(f"s, user {user.pk}")
    assert "status 200, 2 queries in 0." in line
    record = caplog.records[-1]
    assert record.levelno == logging.WARNING
    assert (record.route, record.status, record.query_count) == ("user/", 200, 2)


@pytest.mark.parametrize("slow_after", [None, 3600])
def test_others_are_not(wire: Any, caplog: Any, slow_after: Any) -> None:
    wire((RequestTimer, {"slow_after": slow_after}))
    Client().get("/")
    assert slow(caplog) == []


def test_a_stranger_cannot_write_lines_into_the_log(wire: Any, caplog: Any) -> None:
    wire((RequestTimer, {"slow_after": 0, "queries": False}))
    handler = WSGIHandler()
    call_wsgi(handler, "/a\nb\x1b[31m", REQUEST_METHOD="GET\nX" + "y" * 1000).close()
    (line,) = slow(caplog)
    assert "\n" not in line
    assert "\x1b" not in line
    assert len(line) < 200


# The histograms


def test_requests_are_counted_by_route(timer: Any) -> None:
    for url in ("/item/1/", "/item/2/", "/query/", "/nowhere/", "/fail/"):
        by_client(url)
    found = timer.get_histograms()
    assert {route: (h.count, h.error_count, h.query_count) for route, h in found.items()} == {
        "item/<int:number>/": (2, 0, 0),
        "query/": (1, 0, 2),
        "": (1, 0, 0),
        "fail/": (1, 1, 0),
    }
    assert sum(found["item/<int:number>/"].buckets) == 2
    assert found["query/"].query_duration <= found["query/"].duration


def test_the_number_of_routes_is_limited(wire: Any) -> None:
    timer = wire((Named, {"max_routes": 3}))
    for number in range(10):
        by_client(f"/item/{number}/")
    found = timer.get_histograms()
    assert {route: h.count for route, h in found.items()} == {
        "/item/0/": 1,
        "/item/1/": 1,
        "/item/3/": 1,
        OTHERS: 6,
    }


def make_timing(duration: float, route: str = "") -> Timing:
    return Timing("GET", "/", route, 200, None, duration, duration, 1, 0.5)


def test_buckets_have_upper_bounds() -> None:
    histograms = Histograms(1)
    for duration in (0.0, 0.005, 0.0051, 10.0, 10.1, 1e9):
        histograms.add(make_timing(duration))
    histogram = histograms.copy()[""]
    assert histogram.buckets == (2, 1, *(0,) * 8, 1, 2)
    assert len(histogram.buckets) == len(BOUNDS) + 1
    assert (histogram.count, histogram.query_count, histogram.query_duration) == (6, 6, 3.0)
    assert [histogram.get_quantile(q) for q in (0, 0.33, 0.5, 0.66, 1)] == [
        0.005,
        0.005,
        0.01,
        10.0,
        float("inf"),
    ]
    assert type(histogram)().get_quantile(0.5) == 0.0


def test_histograms_of_many_threads_lose_nothing() -> None:
    histograms = Histograms(2)
    barrier = threading.Barrier(8)

    def add(number: int) -> None:
        barrier.wait(TIMEOUT)
        for _ in range(500):
            histograms.add(make_timing(0.1, str(number)))

    in_threads(*(partial(add, number) for number in range(8)))
    found = histograms.copy()
    assert len(found) == 3
    assert sum(histogram.count for histogram in found.values()) == 4000


# Options and hooks


def test_the_client_is_told_in_a_header(wire: Any) -> None:
    wire((RequestTimer, {"server_timing": True}))
    visit = run_async(Visit("/query/").run(ASGIHandler()))
    header = visit.headers["server-timing"]
    assert header.startswith("total;dur=")
    assert header.endswith(';desc="2 queries"')


def test_a_header_of_the_view_is_kept(wire: Any) -> None:
    wire((RequestTimer, {"server_timing": True, "queries": False}))

    def respond(request: Any) -> HttpResponse:
        return HttpResponse(headers={"Server-Timing": "cache;dur=1"})

    request = RequestFactory().get("/")
    request_started.send(sender=None, environ=request.environ)
    response = RequestContextMiddleware(respond)(request)
    assert response["Server-Timing"].startswith("cache;dur=1, total;dur=")
    assert "queries" not in response["Server-Timing"]


def test_without_the_option_there_is_no_header(timer: Any) -> None:
    assert "Server-Timing" not in Client().get("/").headers


def test_queries_can_be_left_uncounted(wire: Any) -> None:
    connections[DATABASE].execute_wrappers[:] = [
        w for w in connections[DATABASE].execute_wrappers if w is not count_query
    ]
    timer = wire((Recording, {"queries": False}))
    by_client("/query/")
    assert (once(timer).query_count, once(timer).query_duration) == (None, None)
    assert count_query not in connections[DATABASE].execute_wrappers


def test_a_connection_that_was_open_before_is_counted_once(timer: Any) -> None:
    tags.count()
    connections[DATABASE].execute_wrappers[:] = []
    by_client("/query/")
    by_client("/query/")
    assert connections[DATABASE].execute_wrappers.count(count_query) == 1
    assert [t.query_count for t in timer._timings] == [2, 2]


def test_a_wrapper_of_the_users_own_is_not_taken_away(timer: Any) -> None:
    seen = []

    def own(execute: Any, *args: Any) -> Any:
        seen.append(args[0])
        return execute(*args)

    connections[DATABASE].execute_wrappers[:] = []
    with connections[DATABASE].execute_wrapper(own):
        by_client("/query/")
    assert len(seen) == 2
    assert connections[DATABASE].execute_wrappers == [count_query]


def test_two_timers_measure_the_same_request(wire: Any) -> None:
    first, second = wire(Recording, {"RECEIVER": f"{__name__}.Named", "NAME": "Second"})
    by_asgi("/item/1/")
    assert (once(first).route, once(second).route) == ("item/<int:number>/", "/item/1/")


def test_a_hook_names_the_route_and_leaves_requests_out(wire: Any) -> None:
    timer = wire(Named)
    by_client("/item/1/")
    by_client("/item/2/")
    assert [t.route for t in timer._timings] == ["/item/1/"]


def test_a_muted_timer_measures_nothing(timer: Any) -> None:
    with muted("Recording"):
        Client().get("/")
    assert timer._timings == []
    Client().get("/")
    assert len(timer._timings) == 1


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"slow_after": -1}, "E027"),
        ({"slow_after": float("nan")}, "E027"),
        ({"slow_after": "1s"}, "E007"),
        ({"max_routes": 0}, "E027"),
        ({"slow": 1}, "E006"),
    ],
)
def test_a_wrong_option_is_told(wire: Any, options: Any, told: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=told):
        wire((RequestTimer, options))


# Harm


def say(failures: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(f["receiver"].name, f["signal_name"], str(f["exception"])) for f in failures]


@any_server
def test_what_fails_in_the_timer_does_not_reach_the_request(
    fetch: Any, wire: Any, failures: Any
) -> None:
    wire(Failing)
    assert fetch("/item/3/") == (200, "number 3")
    assert say(failures) == [
        ("Failing", "request_finished", "route"),
        ("Failing", "request_finished", "record"),
    ]


def test_what_fails_when_the_client_leaves_is_told(wire: Any, failures: Any) -> None:
    wire(Failing)
    run_async(leave_while_the_view_works())
    assert say(failures) == [("Failing", "request_finished", "record")]


def test_no_query_is_made(wire: Any) -> None:
    wire(RequestTimer)
    with CaptureQueriesContext(connection) as queries:
        Client().get("/")
    assert [query["sql"] for query in queries] == []


@pytest.mark.django_db(transaction=False)
def test_no_query_is_made_inside_a_test_case_either(wire: Any) -> None:
    wire(RequestTimer)
    with CaptureQueriesContext(connection) as queries:
        Client().get("/")
    assert [query["sql"] for query in queries] == []


def test_a_response_can_still_be_pickled(timer: Any) -> None:
    request = RequestFactory().get("/")
    request_started.send(sender=None, environ=request.environ)
    response = RequestContextMiddleware(view)(request)
    copied = pickle.loads(pickle.dumps(response))
    assert copied.content == b"number 0"
    other = RequestFactory().get("/")
    request_started.send(sender=None, environ=other.environ)
    copied.close()
    # It ends the request that it was served to, not the one that it was made for.
    assert KEY in other.environ
    assert get_exchange() is other.environ[KEY]
    assert len(timer._timings) == 1


def test_the_cache_middleware_serves_what_was_measured(timer: Any, settings: Any) -> None:
    settings.MIDDLEWARE = [
        "django.middleware.cache.UpdateCacheMiddleware",
        MIDDLEWARE,
        "django.middleware.cache.FetchFromCacheMiddleware",
    ]
    for _ in range(3):
        assert by_client("/item/3/") == (200, "number 3")
    # Who is answered from the cache has come to no view, so there is no route.
    assert [(t.route, t.status) for t in timer._timings] == [
        ("item/<int:number>/", 200),
        ("", 200),
        ("", 200),
    ]


def test_without_a_timer_a_request_leaves_no_trace() -> None:
    request = RequestFactory().get("/")
    request_started.send(sender=None, environ=request.environ)
    response = RequestContextMiddleware(view)(request)
    assert KEY not in request.META
    assert response._resource_closers == []
