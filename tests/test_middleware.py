"""The request's context, under WSGI and ASGI."""

from __future__ import annotations

import re
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse, JsonResponse
from django.test import AsyncClient, Client, RequestFactory, override_settings
from django.urls import path

from django_signal_kit import ModelReceiver, get_context
from django_signal_kit.middleware import RequestContextMiddleware
from tests.apps.testapp.models import Tag
from tests.conftest import run_async
from tests.factories import UserFactory

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
        ("10.0.0.1", "9.9.9.9:1234", ["10.0.0.0/8"], "10.0.0.1"),
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
    with pytest.raises(ImproperlyConfigured, match=r"TRUSTED_PROXIES.*addresses or networks"):
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
