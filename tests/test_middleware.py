"""The request's context, under WSGI and ASGI."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import AsyncIterator, Iterator
from ipaddress import ip_address
from typing import Any
from urllib.request import urlopen
from wsgiref.util import FileWrapper

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.tokens import default_token_generator
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import FileResponse, HttpResponse, JsonResponse, StreamingHttpResponse
from django.test import AsyncClient, Client, RequestFactory, override_settings
from django.urls import path
from hypothesis import given
from hypothesis import strategies as st

from django_signal_kit import ModelReceiver, context, get_context, middleware
from django_signal_kit.middleware import RequestContextMiddleware
from tests.apps.testapp.models import Tag
from tests.conftest import run_async
from tests.factories import UserFactory
from tests.serving import Visit, serve_wsgi

pytestmark = pytest.mark.django_db(transaction=True)

seen: list[dict[str, Any]] = []


def remember() -> dict[str, Any]:
    found = get_context()
    found["actor"] = getattr(found["actor"], "username", found["actor"])
    seen.append(found)
    return found


def view(request: Any) -> HttpResponse:
    return JsonResponse(remember())


async def async_view(request: Any) -> HttpResponse:
    return JsonResponse(await sync_to_async(remember)())


def token_view(request: Any) -> HttpResponse:
    """Authenticates late, as an API with tokens does."""
    before = get_context()["actor"]
    request.user = UserFactory.build(username="late")
    return JsonResponse({"before": before, **remember()})


def failing_view(request: Any) -> HttpResponse:
    remember()
    raise ZeroDivisionError


def saving_view(request: Any) -> HttpResponse:
    Tag.objects.create(name="a")
    return HttpResponse()


async def async_saving_view(request: Any) -> HttpResponse:
    await Tag.objects.acreate(name="a")
    return HttpResponse()


urlpatterns = [
    path("", view),
    path("async/", async_view),
    path("token/", token_view),
    path("fail/", failing_view),
    path("save/", saving_view),
    path("async-save/", async_saving_view),
]


@pytest.fixture(autouse=True)
def _urls(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    seen.clear()


def get(url: str = "/", *, user: Any = None, **headers: str) -> dict[str, Any]:
    client = Client(raise_request_exception=False)
    if user is not None:
        client.force_login(user)
    client.get(url, headers={k.replace("_", "-"): v for k, v in headers.items()})
    return seen[-1]


def aget(url: str = "/", *, user: Any = None, **headers: str) -> dict[str, Any]:
    async def request() -> None:
        client = AsyncClient(raise_request_exception=False)
        if user is not None:
            await client.aforce_login(user)
        await client.get(url, headers={k.replace("_", "-"): v for k, v in headers.items()})

    run_async(request())
    return seen[-1]


both = pytest.mark.parametrize("fetch", [get, aget])


@both
@pytest.mark.parametrize("url", ["/", "/async/"])
def test_the_context_is_what_the_request_says(fetch: Any, url: str) -> None:
    found = fetch(url, user=UserFactory(username="ann"), x_request_id="abc-123.DEF_4")
    assert found == {
        "actor": "ann",
        "request_id": "abc-123.DEF_4",
        "ip": "127.0.0.1",
        "method": "GET",
        "path": url,
    }


@both
def test_an_anonymous_user_is_nobody(fetch: Any) -> None:
    assert fetch()["actor"] is None


def test_without_authentication_there_is_nobody() -> None:
    request = RequestFactory().get("/")
    RequestContextMiddleware(lambda request: remember())(request)
    assert seen[-1]["actor"] is None
    request.user = AnonymousUser()
    RequestContextMiddleware(lambda request: remember())(request)
    assert seen[-1]["actor"] is None


@both
def test_who_is_authenticated_late_is_known_from_then_on(fetch: Any) -> None:
    assert fetch("/token/")["actor"] == "late"


@pytest.mark.parametrize(
    "given",
    [
        "short",
        "x" * 129,
        "x" * 10_000,
        "abcdefgh\n",
        "abcdefgh ijkl",
        "<script>alert(1)</script>",
        "abcdefgh;DROP",
        "ünïcödé-id",
        "",
    ],
)
def test_a_forged_request_id_is_replaced(given: str) -> None:
    request = RequestFactory().get("/", HTTP_X_REQUEST_ID=given)
    RequestContextMiddleware(lambda request: remember())(request)
    assert re.fullmatch("[0-9a-f]{32}", seen[-1]["request_id"])


@both
def test_a_request_id_of_ten_kilobytes_harms_nobody(fetch: Any) -> None:
    assert re.fullmatch("[0-9a-f]{32}", fetch(x_request_id="y" * 10_000)["request_id"])


@pytest.mark.parametrize("given", ["abcdefgh", "x" * 128, "A.b-c_1234"])
def test_a_sound_request_id_is_taken(given: str) -> None:
    assert get(x_request_id=given)["request_id"] == given


def test_two_requests_have_two_ids() -> None:
    assert get()["request_id"] != get()["request_id"]


def get_ip(remote: str, forwarded: str | None, trusted: list[str]) -> Any:
    meta = {"REMOTE_ADDR": remote}
    if forwarded is not None:
        meta["HTTP_X_FORWARDED_FOR"] = forwarded
    with override_settings(SIGNAL_KIT={"TRUSTED_PROXIES": trusted}):
        RequestContextMiddleware(lambda request: remember())(RequestFactory().get("/", **meta))
    return seen[-1]["ip"]


@pytest.mark.parametrize(
    ("remote", "forwarded", "trusted", "expected"),
    [
        ("10.0.0.1", "9.9.9.9", [], "10.0.0.1"),
        ("10.0.0.1", "9.9.9.9", ["10.0.0.1"], "9.9.9.9"),
        ("10.0.0.1", "9.9.9.9", ["10.0.0.0/8"], "9.9.9.9"),
        ("10.0.0.1", "9.9.9.9", ["10.0.0.7/8"], "9.9.9.9"),
        ("8.8.8.8", "9.9.9.9", ["10.0.0.0/8"], "8.8.8.8"),
        # What the client itself wrote comes first, and counts for nothing.
        ("10.0.0.1", "1.2.3.4, 9.9.9.9", ["10.0.0.0/8"], "9.9.9.9"),
        ("10.0.0.1", "9.9.9.9, 10.0.0.2", ["10.0.0.0/8"], "9.9.9.9"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", ["10.0.0.0/8"], "10.0.0.3"),
        ("10.0.0.1", None, ["10.0.0.0/8"], "10.0.0.1"),
        ("10.0.0.1", "", ["10.0.0.0/8"], "10.0.0.1"),
        ("10.0.0.1", "garbage", ["10.0.0.0/8"], "10.0.0.1"),
        ("10.0.0.1", "9.9.9.9, <script>", ["10.0.0.0/8"], "10.0.0.1"),
        ("10.0.0.1", "9.9.9.9:1234", ["10.0.0.0/8"], "9.9.9.9"),
        ("10.0.0.1", "1.2.3.4, 9.9.9.9:80, 10.0.0.2:65535", ["10.0.0.0/8"], "9.9.9.9"),
        ("10.0.0.1", "[2001:db8::5]:443", ["10.0.0.0/8"], "2001:db8::5"),
        ("10.0.0.1", "[2001:db8::5]", ["10.0.0.0/8"], "2001:db8::5"),
        ("10.0.0.1", "[fe80::1%eth0]:1", ["10.0.0.0/8"], "fe80::1"),
        ("10.0.0.1:5000", "9.9.9.9", ["10.0.0.0/8"], "9.9.9.9"),
        ("10.0.0.1", "2001:db8::5:443", ["10.0.0.0/8"], "2001:db8::5:443"),
        # So a socket that listens to both calls who comes by IPv4.
        ("::ffff:10.0.0.1", "9.9.9.9", ["10.0.0.0/8"], "9.9.9.9"),
        ("::ffff:10.0.0.1", "9.9.9.9", ["::ffff:10.0.0.0/104"], "9.9.9.9"),
        ("10.0.0.1", "9.9.9.9", ["::ffff:10.0.0.1"], "9.9.9.9"),
        ("::ffff:a00:1", "9.9.9.9, ::ffff:10.0.0.2", ["10.0.0.0/8"], "9.9.9.9"),
        ("10.0.0.1", "[::ffff:9.9.9.9]:80", ["10.0.0.0/8"], "9.9.9.9"),
        ("::ffff:9.9.9.9", None, [], "9.9.9.9"),
        ("::ffff:9.9.9.9", "1.1.1.1", ["10.0.0.0/8"], "9.9.9.9"),
        ("10.0.0.1", "9.9.9.9", ["::/0"], "10.0.0.1"),
        ("10.0.0.1", "9.9.9.9:", ["10.0.0.0/8"], "10.0.0.1"),
        ("10.0.0.1", "9.9.9.9:http", ["10.0.0.0/8"], "10.0.0.1"),
        ("10.0.0.1", "9.9.9.9:123456", ["10.0.0.0/8"], "10.0.0.1"),
        ("10.0.0.1", "localhost:80", ["10.0.0.0/8"], "10.0.0.1"),
        ("10.0.0.1", "[9.9.9.9]:80", ["10.0.0.0/8"], "10.0.0.1"),
        ("10.0.0.1", "[]:80", ["10.0.0.0/8"], "10.0.0.1"),
        ("10.0.0.1", "[2001:db8::5", ["10.0.0.0/8"], "10.0.0.1"),
        ("10.0.0.1", "9.9.9.9, unknown", ["10.0.0.0/8"], "10.0.0.1"),
        ("10.0.0.1", "9.9.9.9, \u0661.1.1.1:80", ["10.0.0.0/8"], "10.0.0.1"),
        ("10.0.0.1", "," * 10_000, ["10.0.0.0/8"], "10.0.0.1"),
        ("10.0.0.1", "\x00", ["10.0.0.0/8"], "10.0.0.1"),
        ("::1", "2001:db8::5", ["::1"], "2001:db8::5"),
        ("::1", "9.9.9.9", ["::1", "10.0.0.0/8"], "9.9.9.9"),
        ("fe80::1%eth0", None, [], "fe80::1"),
        ("10.0.0.1", "fe80::1%" + "x" * 10_000, ["10.0.0.0/8"], "fe80::1"),
        ("", "9.9.9.9", ["10.0.0.0/8"], None),
        ("unix:", None, [], None),
    ],
)
def test_the_address_is_the_last_one_that_is_no_trusted_proxy(
    remote: str, forwarded: str | None, trusted: list[str], expected: str | None
) -> None:
    assert get_ip(remote, forwarded, trusted) == expected


def test_a_proxy_that_is_no_address_stops_the_start() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"TRUSTED_PROXIES.*no address and no network"):
        get_ip("10.0.0.1", None, ["proxy.internal"])


def test_a_very_long_path_is_cut() -> None:
    request = RequestFactory().get("/" + "x" * 10_000)
    RequestContextMiddleware(lambda request: remember())(request)
    assert len(seen[-1]["path"]) == 2048


@both
@pytest.mark.parametrize("url", ["/", "/fail/"])
def test_nothing_is_left_for_the_next_request(fetch: Any, url: str) -> None:
    user = UserFactory(username="ann")
    assert fetch(url, user=user, x_request_id="firstfirst")["actor"] == "ann"
    assert get_context() == {"actor": None}
    found = fetch()
    assert found["actor"] is None
    assert found["request_id"] != "firstfirst"


class Asks(ModelReceiver):
    models = ["testapp.Tag"]

    def post_save(self, **kwargs: Any) -> None:
        remember()


@both
@pytest.mark.parametrize("url", ["/save/", "/async-save/"])
def test_a_receiver_knows_the_request_that_saves(wire: Any, fetch: Any, url: str) -> None:
    wire(Asks)
    found = fetch(url, user=UserFactory(username="ann"))
    assert (found["actor"], found["path"]) == ("ann", url)


def test_it_works_in_a_wsgi_server() -> None:
    environ = RequestFactory().get("/", HTTP_X_REQUEST_ID="from-wsgi").environ
    response = WSGIHandler()(environ, lambda status, headers: None)
    response.close()
    assert seen[-1]["request_id"] == "from-wsgi"
    assert get_context() == {"actor": None}


def test_it_works_in_an_asgi_server() -> None:
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": "/async/",
        "query_string": b"",
        "headers": [(b"x-request-id", b"from-asgi"), (b"host", b"testserver")],
        "client": ("9.9.9.9", 1),
        "server": ("testserver", 80),
    }

    async def serve() -> Any:
        server = ApplicationCommunicator(ASGIHandler(), scope)
        await server.send_input({"type": "http.request", "body": b""})
        start = await server.receive_output(timeout=30)
        await server.receive_output(timeout=30)
        await server.wait(timeout=30)
        return start["status"]

    assert run_async(serve()) == 200
    found = seen[-1]
    assert (found["request_id"], found["ip"], found["method"]) == ("from-asgi", "9.9.9.9", "POST")


def test_requests_that_are_served_at_once_are_apart() -> None:
    async def main() -> None:
        import asyncio

        await asyncio.gather(
            *(
                AsyncClient().get("/async/", headers={"X-Request-ID": f"request-{n}"})
                for n in range(10)
            )
        )

    run_async(main())
    assert sorted(found["request_id"] for found in seen) == [f"request-{n}" for n in range(10)]


@given(st.text() | st.from_regex(r"[\[\]0-9a-f.:%, ]*", fullmatch=True), st.text())
def test_whatever_is_in_the_headers_the_address_is_one_or_nothing(hops: str, remote: str) -> None:
    for address in (remote, "10.0.0.1", "::ffff:10.0.0.1"):
        request = RequestFactory().get("/", REMOTE_ADDR=address, HTTP_X_FORWARDED_FOR=hops)
        with override_settings(SIGNAL_KIT={"TRUSTED_PROXIES": ["10.0.0.0/8"]}):
            found = middleware.get_ip(request)
        assert found is None or str(ip_address(found)) == found
        assert found is None or not found.startswith("::ffff:")


def test_the_token_that_resets_a_password_is_not_in_the_path() -> None:
    token = default_token_generator.make_token(UserFactory())
    for path_, told in ((f"/reset/MQ/{token}/", "/reset/MQ/[redacted]/"), ("/a/b/", "/a/b/")):
        RequestContextMiddleware(lambda request: remember())(RequestFactory().get(path_))
        assert seen[-1]["path"] == told


# Streams

closed: list[Any] = []


def tell() -> tuple[Any, Any]:
    found = remember()
    return found["actor"], found.get("path")


def lines() -> Iterator[bytes]:
    try:
        for _ in range(2):
            yield f"{tell()}\n".encode()
    finally:
        closed.append(tell())


async def async_lines() -> AsyncIterator[bytes]:
    for _ in range(2):
        await asyncio.sleep(0)
        yield f"{await sync_to_async(tell)()}\n".encode()
    closed.append(tell())


class Export(io.RawIOBase):
    """A file that is made while it is read."""

    def __init__(self) -> None:
        self.left = 2

    def read(self, size: int = -1) -> bytes:
        if self.left == 0:
            return b""
        self.left -= 1
        return f"{tell()}\n".encode()

    def close(self) -> None:
        if not self.closed:
            closed.append(tell())
        super().close()


class BrokenError(Exception):
    pass


def broken_lines() -> Iterator[bytes]:
    yield b"one"
    tell()
    raise BrokenError


stream_urls = [
    path("lines/", lambda request: StreamingHttpResponse(lines())),
    path("list/", lambda request: StreamingHttpResponse(str(tell()) + "\n" for _ in range(2))),
    path("async-lines/", lambda request: StreamingHttpResponse(async_lines())),
    path("file/", lambda request: FileResponse(Export())),
    path("plain-file/", lambda request: FileResponse(open(__file__, "rb"))),  # noqa: SIM115
    path("broken/", lambda request: StreamingHttpResponse(broken_lines())),
]
urlpatterns += stream_urls


def log_in(client: Any) -> Any:
    client.force_login(UserFactory(username="ann"))
    return client


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume:Warning")
@pytest.mark.parametrize("url", ["/lines/", "/list/", "/async-lines/", "/file/"])
def test_a_stream_has_the_context_of_its_request_and_who_reads_it_has_not(url: str) -> None:
    closed.clear()
    response = log_in(Client()).get(url)
    parts = []
    with context(reason="reader"):
        for part in response if response.is_async else response.streaming_content:
            assert get_context() == {"actor": None, "reason": "reader"}
            parts.append(part.decode().strip())
        response.close()
        assert get_context() == {"actor": None, "reason": "reader"}
    assert parts == [str(("ann", url))] * 2
    assert closed == ([] if url == "/list/" else [("ann", url)])
    assert get_context() == {"actor": None}


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume:Warning")
@pytest.mark.parametrize("url", ["/lines/", "/list/", "/async-lines/", "/file/"])
def test_a_stream_has_its_context_in_an_asgi_server(url: str) -> None:
    closed.clear()

    async def serve() -> Any:
        return await Visit(url, host="testserver").run(ASGIHandler())

    visit = run_async(serve())
    body = b"".join(message.get("body", b"") for message in visit.sent)
    assert body.decode().splitlines() == [str((None, url))] * 2
    assert set(closed) <= {(None, url)}


def test_streams_that_are_sent_at_once_are_apart() -> None:
    async def serve() -> Any:
        urls = ["/async-lines/", "/lines/"] * 3
        visits = [
            Visit(url, host="testserver", **{"x-request-id": f"request-{n}"})
            for n, url in enumerate(urls)
        ]
        await asyncio.gather(*(visit.run(ASGIHandler()) for visit in visits))

    with pytest.warns(Warning, match="must consume"):
        run_async(serve())
    for number in range(6):
        told = [found["path"] for found in seen if found["request_id"] == f"request-{number}"]
        assert len(told) == 3
        assert len(set(told)) == 1


@pytest.mark.parametrize("url", ["/lines/", "/file/", "/async-lines/"])
@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume:Warning")
def test_a_stream_has_its_context_in_a_wsgi_server(url: str) -> None:
    closed.clear()
    with serve_wsgi(WSGIHandler()) as address, urlopen(f"{address}{url}", timeout=30) as answer:
        assert answer.read().decode().splitlines() == [str((None, url))] * 2
    assert set(closed) == {(None, url)}


def test_a_file_of_pythons_own_is_handed_to_the_server_as_it_is() -> None:
    handed: list[Any] = []

    def wrap(file: Any, size: int) -> Any:
        handed.append(file)
        return FileWrapper(file, size)

    for url in ("/plain-file/", "/file/"):
        environ = RequestFactory().get(url).environ | {"wsgi.file_wrapper": wrap}
        response = WSGIHandler()(environ, lambda status, headers: None)
        content = b"".join(response)
        response.close()
    plain, made = handed
    assert isinstance(plain, io.BufferedReader)
    assert plain.closed
    assert content.decode().splitlines() == [str((None, "/file/"))] * 2
    assert made.closed
    assert get_context() == {"actor": None}


def test_a_stream_that_breaks_or_is_left_leaves_nothing_behind() -> None:
    closed.clear()
    client = log_in(Client())
    response = client.get("/broken/")
    with pytest.raises(BrokenError):
        list(response.streaming_content)
    assert seen[-1]["actor"] == "ann"
    assert get_context() == {"actor": None}
    response = client.get("/lines/")
    next(iter(response.streaming_content))
    response.close()
    assert closed == [("ann", "/lines/")]
    assert get_context() == {"actor": None}


def test_what_stands_round_the_middleware_holds_for_a_stream_too() -> None:
    def answer(request: Any) -> StreamingHttpResponse:
        return StreamingHttpResponse(str(get_context()["tenant"]) for _ in range(2))

    with context(tenant="north"):
        response = RequestContextMiddleware(answer)(RequestFactory().get("/"))
    assert list(response.streaming_content) == [b"north", b"north"]


def test_a_row_that_a_stream_writes_is_told_of_with_its_request(wire: Any) -> None:
    def write() -> Iterator[str]:
        for name in "ab":
            with context(reason=name):
                Tag.objects.create(name=name)
                yield name

    wire(Asks)
    request = RequestFactory().get("/export/")
    response = RequestContextMiddleware(lambda request: StreamingHttpResponse(write()))(request)
    for _ in response.streaming_content:
        Tag.objects.create(name="of the reader")
    told = [(found.get("path"), found.get("reason")) for found in seen]
    assert told == [("/export/", "a"), (None, None), ("/export/", "b"), (None, None)]
