"""One alert for each kind of error, and none that harms."""

from __future__ import annotations

import json
import logging
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

import django
import pytest
from aiosmtpd.controller import Controller
from django.contrib.auth.tokens import default_token_generator
from django.core import mail
from django.core.cache import caches
from django.core.checks import WARNING, CheckMessage
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import got_request_exception, request_finished
from django.db import transaction
from django.http import Http404, HttpResponse, QueryDict
from django.test import AsyncClient, Client, RequestFactory
from django.urls import path, re_path
from django.views.debug import SafeExceptionReporterFilter
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from hypothesis import given
from hypothesis import strategies as st

from django_signal_kit import muted
from django_signal_kit.receivers import ExceptionAlert
from django_signal_kit.requests.exception_alert import Alert
from django_signal_kit.requests.hiding import Hider
from django_signal_kit.requests.reporting import describe_request, get_location
from django_signal_kit.requests.windows import MAX_KINDS
from django_signal_kit.signals import receiver_failed
from tests.conftest import run_async
from tests.factories import UserFactory
from tests.mail.test_welcome_email import use_mailer
from tests.requests.test_webhook import Hook, Silent
from tests.serving import TIMEOUT, Visit, serve, serve_wsgi

pytestmark = pytest.mark.django_db(transaction=True)

OPS = ["ops@shop.example"]


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError("str")


class ByPath(ExceptionAlert):
    """Each path is a kind."""

    def get_fingerprint(self, exception: BaseException, request: Any) -> str:
        return str(request.path)

    def should_alert(self, exception: BaseException, request: Any) -> bool:
        return request.path != "/item/13/"

    def get_subject(self, alert: Alert) -> str:
        return f"Oh\nno: {alert.request.path if alert.request else ''}"

    def get_body(self, alert: Alert) -> str:
        return f"suppressed {alert.suppressed}, held back {alert.held_back}"

    def get_payload(self, alert: Alert) -> dict[str, Any]:
        return {"content": self.get_body(alert), "who": alert.exception}


class Failing(ExceptionAlert):
    def get_body(self, alert: Alert) -> str:
        raise ZeroDivisionError("body")


class Recursive(ExceptionAlert):
    """Fails in a request of its own, which would be told of by another one, and so on."""

    calls = 0

    def get_fingerprint(self, exception: BaseException, request: Any) -> str:
        type(self).calls += 1
        Client(raise_request_exception=False).get(f"/item/{self.calls}/")
        return str(self.calls)


class CautiousFilter(SafeExceptionReporterFilter):
    def get_post_parameters(self, request: Any) -> Any:
        return {"all": "hidden by the project"}


def view(request: Any, number: int = 0) -> HttpResponse:
    raise ValueError(f"number {number}")


def other_view(request: Any) -> HttpResponse:
    if "b" in request.GET:
        raise ValueError("b")
    raise ValueError("a")


async def async_view(request: Any) -> HttpResponse:
    raise ValueError("async")


def library_view(request: Any) -> HttpResponse:
    return HttpResponse(json.loads("{"))


@sensitive_variables("card")
@sensitive_post_parameters("card")
def form_view(request: Any) -> HttpResponse:
    card = request.POST["card"]
    raise ValueError(f"no credit, {len(card)}")


@sensitive_post_parameters()
def secret_view(request: Any) -> HttpResponse:
    raise ValueError("no credit")


def filtered_view(request: Any) -> HttpResponse:
    request.exception_reporter_filter = CautiousFilter()
    raise ValueError("no credit")


def unspeakable_view(request: Any) -> HttpResponse:
    raise UnspeakableError


def user_view(request: Any) -> HttpResponse:
    raise ValueError(len(request.user.username))


def known_view(request: Any, kind: str) -> HttpResponse:
    raise {"404": Http404, "403": PermissionDenied}[kind]


def deep_view(request: Any) -> HttpResponse:
    return deep_view(request)


def long_view(request: Any) -> HttpResponse:
    raise ValueError("x" * 10_000_000)


urlpatterns = [
    path("", view),
    path("item/<int:number>/", view),
    path("other/", other_view),
    path("async/", async_view),
    path("library/", library_view),
    path("form/", form_view),
    path("secret/", secret_view),
    path("filtered/", filtered_view),
    path("unspeakable/", unspeakable_view),
    path("user/", user_view),
    path("known/<str:kind>/", known_view),
    path("deep/", deep_view),
    path("long/", long_view),
]


@pytest.fixture(autouse=True)
def _project(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    use_mailer(settings, "locmem")


@pytest.fixture
def failures() -> Iterator[list[Any]]:
    told: list[Any] = []

    def hear(**kwargs: Any) -> None:
        told.append((kwargs["signal_name"], kwargs["exception"]))

    receiver_failed.connect(hear)
    yield told
    receiver_failed.disconnect(hear)


def get(url: str = "/", **kwargs: Any) -> int:
    return Client(raise_request_exception=False).get(url, **kwargs).status_code


def subjects() -> list[str]:
    return [message.subject for message in mail.outbox]


@contextmanager
def served(status: int = 204) -> Iterator[str]:
    Hook.got, Hook.status = [], status
    with serve(Hook) as address:
        yield address


# One of a kind


def test_an_error_is_told_once(wire: Any) -> None:
    wire((ExceptionAlert, {"to": OPS}))
    assert [get("/item/1/"), get("/item/2/"), get("/item/3/")] == [500] * 3
    (message,) = mail.outbox
    assert message.to == OPS
    assert message.subject.startswith("[Django] ValueError in item/<int:number>/ (")
    assert message.subject.endswith(" in view)")
    body = str(message.body)
    assert body.startswith("ValueError: number 1\nat tests.requests.test_exception_alert:")
    assert "GET /item/1/ (route item/<int:number>/)" in body
    assert 'raise ValueError(f"number {number}")' in body
    assert "more of this kind" not in body


def test_other_lines_routes_and_types_are_other_kinds(wire: Any) -> None:
    wire((ExceptionAlert, {"to": OPS}))
    for _ in range(2):
        for url in ("/", "/item/1/", "/other/", "/other/?b=1", "/library/"):
            get(url)
    assert len(mail.outbox) == 5


def test_the_line_is_that_of_the_projects_code(wire: Any) -> None:
    wire((ExceptionAlert, {"to": OPS}))
    get("/library/")
    assert "JSONDecodeError in library/" in subjects()[0]
    assert subjects()[0].endswith(" in library_view)")


def test_an_error_of_a_library_alone_has_the_librarys_line() -> None:
    with pytest.raises(ValueError, match="Expecting") as caught:
        json.loads("{")
    error = caught.value
    assert get_location(error).startswith(f"{__name__}:")
    assert error.__traceback__ is not None
    error.__traceback__ = error.__traceback__.tb_next
    assert get_location(error).startswith("json.decoder:")
    assert get_location(ValueError()) == ""


def by_wsgi(url: str) -> int:
    with serve_wsgi(WSGIHandler()) as address, pytest.raises(HTTPError) as caught:
        urlopen(address + url, timeout=TIMEOUT)
    with caught.value:
        return caught.value.code


def by_asgi(url: str) -> int:
    return int(run_async(Visit(url).run(ASGIHandler())).status)


def by_async_client(url: str) -> int:
    async def fetch() -> int:
        return (await AsyncClient(raise_request_exception=False).get(url)).status_code

    return int(run_async(fetch()))


@pytest.mark.parametrize("fetch", [by_wsgi, by_asgi, get, by_async_client])
@pytest.mark.parametrize("url", ["/", "/async/"])
def test_every_server_tells(fetch: Any, url: str, wire: Any) -> None:
    wire((ExceptionAlert, {"to": OPS}))
    assert fetch(url) == 500
    assert len(mail.outbox) == 1


@pytest.mark.parametrize("url", ["/known/404/", "/known/403/", "/nowhere/"])
def test_what_django_answers_by_itself_is_no_error(url: str, wire: Any) -> None:
    wire((ExceptionAlert, {"to": OPS}))
    assert get(url) in (403, 404)
    assert mail.outbox == []


def test_nothing_is_told_while_debugging(wire: Any, settings: Any) -> None:
    wire((ExceptionAlert, {"to": OPS}))
    settings.DEBUG = True
    get()
    assert mail.outbox == []


def test_a_muted_alert_tells_nothing(wire: Any) -> None:
    wire((ExceptionAlert, {"to": OPS}))
    with muted("ExceptionAlert"):
        get()
    assert mail.outbox == []


def test_a_signal_without_an_exception_is_nothing(wire: Any, failures: Any) -> None:
    wire((ExceptionAlert, {"to": OPS}))
    got_request_exception.send(sender=None, request=RequestFactory().get("/"))
    assert (mail.outbox, failures) == ([], [])


def test_a_signal_without_a_request_is_told_of(wire: Any, failures: Any) -> None:
    wire((ExceptionAlert, {"to": OPS}))
    try:
        raise ValueError("alone")
    except ValueError:
        got_request_exception.send(sender=None, request=None)
    assert "in a request without a route" in subjects()[0]
    assert failures == []


def test_what_was_held_back_is_counted(wire: Any) -> None:
    alert = wire((ByPath, {"to": OPS, "max_alerts": 2}))
    clock = [0.0]
    alert._windows._clock = lambda: clock[0]
    for number in (1, 1, 1, 2, 3, 4):
        get(f"/item/{number}/")
    clock[0] = 3600.0
    get("/item/1/")
    assert [message.body for message in mail.outbox] == [
        "suppressed 0, held back 0",
        "suppressed 0, held back 0",
        "suppressed 2, held back 2",
    ]


def test_a_flood_of_kinds_sends_little_and_remembers_little(wire: Any) -> None:
    alert = wire((ByPath, {"to": OPS, "max_alerts": 5}))
    request = RequestFactory().get("/")
    for number in range(10_000):
        request.path = f"/{number}/"
        try:
            raise ValueError
        except ValueError:
            got_request_exception.send(sender=None, request=request)
    request_finished.send(sender=None)
    assert len(mail.outbox) == 5
    assert len(alert._windows) <= MAX_KINDS


def test_threads_tell_once_together(wire: Any) -> None:
    wire((ExceptionAlert, {"to": OPS}))
    barrier = threading.Barrier(6)

    def ask(address: str) -> None:
        barrier.wait(TIMEOUT)
        with pytest.raises(HTTPError) as caught:
            urlopen(address, timeout=TIMEOUT)
        caught.value.close()

    with serve_wsgi(WSGIHandler()) as address:
        threads = [threading.Thread(target=ask, args=(address,)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(TIMEOUT)
    assert len(mail.outbox) == 1


def test_processes_that_share_a_cache_tell_once(wire: Any) -> None:
    # Another process knows nothing of this one's memory, as a newly wired receiver does not.
    for expected in (1, 1):
        wire((ExceptionAlert, {"to": OPS, "cache": "second"}))
        get()
        assert len(mail.outbox) == expected
    wire((ExceptionAlert, {"to": OPS}))
    get()
    assert len(mail.outbox) == 2


def test_a_cache_that_is_down_is_told_and_done_without(
    wire: Any, settings: Any, failures: Any
) -> None:
    settings.CACHES = {
        **settings.CACHES,
        "down": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "gone"},
    }
    wire((ExceptionAlert, {"to": OPS, "cache": "down"}))
    assert [get(), get()] == [500, 500]
    assert len(mail.outbox) == 1
    assert {signal_name for signal_name, _ in failures} == {"got_request_exception"}


# What is told


def test_what_the_project_calls_sensitive_is_not_told(wire: Any) -> None:
    wire((ExceptionAlert, {"to": OPS, "channels": ["mail", "log"]}))
    client = Client(raise_request_exception=False, headers={"authorization": "Bearer geheim"})
    client.cookies["sessionid"] = "geheim"
    client.cookies["theme"] = "dark"
    client.post(
        "/form/?api_token=geheim&page=7",
        {"card": "geheim", "name": "Ann"},
        headers={"referer": "https://shop.example/reset?token=geheim", "x-api-key": "geheim"},
    )
    body = str(mail.outbox[0].body)
    assert "geheim" not in body
    for line in ("card = ****", "name = Ann", "page = 7", "theme = dark", "sessionid = ****"):
        assert f"    {line}" in body
    assert "HTTP_REFERER = https://shop.example/reset\n" in body


@pytest.mark.parametrize("url", ["/secret/", "/filtered/"])
def test_the_requests_own_filter_is_asked(url: str, wire: Any) -> None:
    wire((ExceptionAlert, {"to": OPS}))
    client = Client(raise_request_exception=False)
    client.post(url, "a=geheim", content_type="application/x-www-form-urlencoded")
    body = str(mail.outbox[0].body)
    assert "geheim" not in body
    assert ("all = hidden by the project" if url == "/filtered/" else "a = ****") in body


def test_the_settings_filter_is_asked(wire: Any, settings: Any) -> None:
    from django.views.debug import get_default_exception_reporter_filter

    settings.DEFAULT_EXCEPTION_REPORTER_FILTER = f"{__name__}.CautiousFilter"
    get_default_exception_reporter_filter.cache_clear()
    try:
        wire((ExceptionAlert, {"to": OPS}))
        Client(raise_request_exception=False).post("/form/", {"card": "geheim"})
    finally:
        get_default_exception_reporter_filter.cache_clear()
    assert "geheim" not in str(mail.outbox[0].body)
    assert "all = hidden by the project" in str(mail.outbox[0].body)


def test_the_servers_environment_is_not_told() -> None:
    request = RequestFactory().get("/", DATABASE_URL="postgres://me:geheim@db", HTTP_ACCEPT="a/b")
    told = describe_request(request)["META"]
    assert told["HTTP_ACCEPT"] == "a/b"
    assert "geheim" not in str(told)


def test_a_body_that_is_still_coming_in_is_not_waited_for() -> None:
    request: Any = RequestFactory().post("/", {"a": "b"})
    assert describe_request(request)["POST"] == {}
    assert request.POST["a"] == "b"
    assert describe_request(request)["POST"] == {"a": "b"}
    assert describe_request(None) == {}


def test_what_cannot_be_read_says_so() -> None:
    request: Any = RequestFactory().post(
        "/", "a=b", content_type="application/x-www-form-urlencoded", CONTENT_LENGTH="99999999999"
    )
    assert describe_request(request)["POST"] == {
        "(not readable)": "django.core.exceptions.RequestDataTooBig"
    }


def test_the_user_is_told_if_known(wire: Any) -> None:
    wire((ExceptionAlert, {"to": OPS}))
    user = UserFactory()
    client = Client(raise_request_exception=False)
    client.force_login(user)
    client.get("/user/")
    assert f"\nuser {user.pk}\n" in str(mail.outbox[0].body)


@pytest.mark.parametrize("url", ["/unspeakable/", "/deep/", "/long/"])
def test_an_error_that_cannot_be_told_whole_is_told_in_part(
    url: str, wire: Any, failures: Any
) -> None:
    wire((ExceptionAlert, {"to": OPS}))
    assert get(url) == 500
    assert failures == []
    assert len(str(mail.outbox[0].body)) < 250_000


# Mail


def test_the_admins_are_told_by_default(wire: Any, settings: Any) -> None:
    settings.ADMINS = OPS if django.VERSION >= (6, 0) else [("Ops", OPS[0])]
    wire(ExceptionAlert)
    logger = logging.getLogger("django")
    # Django itself mails each error to them.
    handlers, logger.handlers = logger.handlers, []
    try:
        get()
    finally:
        logger.handlers = handlers
    assert [message.to for message in mail.outbox] == [OPS]
    assert mail.outbox[0].from_email == settings.SERVER_EMAIL


class Mailbox:
    def __init__(self) -> None:
        self.mails: list[Any] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        self.mails.append((envelope.rcpt_tos, envelope.content))
        return "250 OK"


def get_free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_a_mail_server_gets_it(wire: Any, settings: Any) -> None:
    wire((ExceptionAlert, {"to": OPS}))
    mailbox = Mailbox()
    controller = Controller(mailbox, hostname="127.0.0.1", port=get_free_port())
    controller.start()
    try:
        use_mailer(settings, "smtp", host="127.0.0.1", port=controller.port)
        assert get("/item/7/") == 500
    finally:
        controller.stop()
    [(recipients, content)] = mailbox.mails
    assert recipients == OPS
    assert b"ValueError: number 7" in content


def test_a_mail_server_that_is_down_harms_nobody(
    wire: Any, settings: Any, failures: Any, caplog: Any
) -> None:
    wire((ExceptionAlert, {"to": OPS, "channels": ["mail", "log"]}))
    use_mailer(settings, "smtp", host="127.0.0.1", port=get_free_port())
    assert [get(), get()] == [500, 500]
    [(signal_name, error)] = failures
    assert signal_name == "flush"
    assert isinstance(error, ConnectionRefusedError)
    assert error.__notes__[0].startswith("The alert was: ValueError in a request")
    assert len([r for r in caplog.records if r.name == "django_signal_kit.alerts"]) == 1


# Webhook


def test_a_webhook_is_told(wire: Any) -> None:
    with served() as address:
        options = {"channels": ["webhook"], "webhook_url": f"{address}/in", "allow_private": True}
        wire((ExceptionAlert, options))
        assert [get("/item/4/"), get("/item/5/")] == [500, 500]
    (got,) = Hook.got
    body = got["body"]
    assert body["text"].startswith("ValueError in item/<int:number>/ (")
    assert (body["type"], body["message"]) == ("ValueError", "number 4")
    assert (body["method"], body["path"], body["user_pk"]) == ("GET", "/item/4/", None)
    assert (body["suppressed"], body["held_back"]) == (0, 0)
    assert set(body["request"]) == {"GET", "POST", "COOKIES", "META"}
    assert mail.outbox == []


def test_a_payload_of_the_projects_own(wire: Any) -> None:
    with served() as address:
        options = {"channels": ["webhook"], "webhook_url": address, "allow_private": True}
        wire((ByPath, options))
        get("/item/13/")
        get("/item/14/")
    assert [got["body"] for got in Hook.got] == [
        {"content": "suppressed 0, held back 0", "who": "number 14"}
    ]


def test_a_webhook_that_leads_elsewhere_is_not_followed(wire: Any, failures: Any) -> None:
    with served(302) as address:
        options = {"channels": ["webhook"], "webhook_url": address, "allow_private": True}
        wire((ExceptionAlert, options))
        assert get() == 500
    assert len(Hook.got) == 1
    assert "answered 302" in str(failures[0][1])


def test_a_webhook_at_home_is_not_told_unless_allowed(
    wire: Any, failures: Any, monkeypatch: Any
) -> None:
    def resolve(host: str, port: int, **kwargs: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    with served() as address:
        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        port = address.rpartition(":")[2]
        options = {"channels": ["webhook"], "webhook_url": f"http://hooks.example:{port}/secret"}
        wire((ExceptionAlert, options))
        assert get() == 500
    assert Hook.got == []
    assert str(failures[0][1]) == "hooks.example has a private address only."


def test_a_slow_webhook_is_left(wire: Any, failures: Any) -> None:
    Silent.stop.clear()
    with serve(Silent) as address:
        options = {
            "channels": ["webhook", "mail"],
            "webhook_url": address,
            "allow_private": True,
            "timeout": 0.2,
            "to": OPS,
        }
        wire((ExceptionAlert, options))
        try:
            assert get() == 500
        finally:
            Silent.stop.set()
    assert "timed out" in str(failures[0][1])
    assert len(mail.outbox) == 1


# Harm


def test_a_hook_that_fails_harms_nobody(wire: Any, failures: Any) -> None:
    wire((Failing, {"to": OPS}))
    assert [get(), get("/async/")] == [500, 500]
    assert [(name, str(error)) for name, error in failures] == [
        ("got_request_exception", "body"),
        ("got_request_exception", "body"),
    ]


def test_an_alert_does_not_alert_of_itself(wire: Any) -> None:
    Recursive.calls = 0
    wire((Recursive, {"to": OPS}))
    assert [get(), get()] == [500, 500]
    assert Recursive.calls == 2
    assert len(mail.outbox) == 2


def test_an_alert_does_not_wait_for_a_commit_that_never_comes(wire: Any) -> None:
    wire((ExceptionAlert, {"to": OPS}))
    with transaction.atomic():
        get()
        transaction.set_rollback(True)
    assert len(mail.outbox) == 1


def test_an_error_in_the_middle_of_a_broken_transaction_is_told(wire: Any) -> None:
    wire((ExceptionAlert, {"to": OPS}))
    with transaction.atomic():
        transaction.set_rollback(True)
        get()
    assert len(mail.outbox) == 1


# Options


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"channels": ["webhook"]}, "E026"),
        ({"webhook_url": "hooks.example"}, "E026"),
        ({"webhook_url": "ftp://hooks.example"}, "E026"),
        ({"webhook_url": "https://a:b@hooks.example"}, "E026"),
        ({"webhook_url": "http://127.0.0.1/"}, "own network"),
        ({"webhook_url": "http://[::1]/"}, "own network"),
        ({"webhook_url": "http://localhost/"}, "own network"),
        ({"channels": ["sms"]}, "E007"),
        ({"channels": "mail"}, "E007"),
        ({"window": 0}, "E028"),
        ({"window": float("inf")}, "E028"),
        ({"timeout": -1}, "E028"),
        ({"timeout": float("nan")}, "E028"),
        ({"max_alerts": 0}, "E028"),
        ({"to": ["a@shop.example, b@shop.example"]}, "E029"),
        ({"to": ["a@shop.example\nBcc: b@shop.example"]}, "E029"),
        ({"cache": "defualt"}, "Did you mean 'default'"),
    ],
)
def test_a_wrong_option_is_told(wire: Any, options: Any, told: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=told):
        wire((ExceptionAlert, options))


def test_an_own_host_can_be_allowed(wire: Any) -> None:
    wire((ExceptionAlert, {"webhook_url": "http://localhost/", "allow_private": True}))


def test_the_url_of_a_webhook_is_not_shown(wire: Any) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        wire((ExceptionAlert, {"webhook_url": "hooks.example/geheim"}))
    assert "geheim" not in str(caught.value)


def test_mail_to_nobody_is_warned_of(wire: Any, settings: Any) -> None:
    def get_ids(**options: Any) -> list[str | None]:
        warnings: list[CheckMessage] = wire((ExceptionAlert, options)).get_warnings()
        return [warning.id for warning in warnings]

    assert get_ids() == ["signal_kit.W005"]
    assert get_ids(to=OPS) == []
    assert get_ids(channels=["log"]) == []
    settings.ADMINS = OPS if django.VERSION >= (6, 0) else [("Ops", OPS[0])]
    assert get_ids() == []


# Secrets


def echo_view(request: Any, token: str = "", **kwargs: Any) -> HttpResponse:
    """Fails with all that it was given in its message."""
    posted = dict(request.POST.items())
    raise ValueError(f"cannot take {posted} {request.GET.dict()} {token} {request.COOKIES}")


def json_view(request: Any) -> HttpResponse:
    data = json.loads(request.body)
    raise KeyError(data["card"]["passphrase"])


def chained_view(request: Any) -> HttpResponse:
    try:
        raise KeyError(request.POST["password"])
    except KeyError as error:
        values = ", ".join(["ann@x", "-".join(["geheim", "7"])])
        raise ValueError(f"Key (email, api_token)=({values}) already exists") from error


urlpatterns += [
    path("echo/", echo_view),
    path("json/", json_view),
    path("chained/", chained_view),
    path("reset/<uidb64>/<token>/", echo_view),
    path("invite/<str:secret_key>/", echo_view),
    re_path(r"^unnamed/([^/]+)/$", echo_view),
]


def tell(wire: Any, method: str, url: str, *args: Any, **kwargs: Any) -> str:
    """All that three channels tell of one request."""
    told: list[str] = []

    class Keeps(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(record.getMessage())

    logger, keeps = logging.getLogger("django_signal_kit.alerts"), Keeps()
    logger.addHandler(keeps)
    try:
        with served() as address:
            options = {"channels": ["mail", "log", "webhook"], "to": OPS}
            options |= {"webhook_url": address, "allow_private": True}
            wire((ExceptionAlert, options))
            client = Client(raise_request_exception=False)
            for name, value in kwargs.pop("cookies", {}).items():
                client.cookies[name] = value
            assert getattr(client, method)(url, *args, **kwargs).status_code == 500
    finally:
        logger.removeHandler(keeps)
    (got,) = Hook.got
    (message,) = mail.outbox
    return "\n".join([message.subject, str(message.body), *told, json.dumps(got["body"])])


FORM = {
    "username": "ann",
    "password": "geheim-1",
    "api_key": "geheim-2",
    "jwt": "geheim-3",
    "passphrase": "geheim-4",
    "user[new_password]": "geheim-5",
    "payload": '{"city": "Bonn", "auth": {"sid": "geheim-6"}, "access_key": ["geheim-7"]}',
    "next": "/accept?token=geheim-8&page=7",
    "iban": "geheim-9",
}


def test_what_was_posted_under_the_name_of_a_secret_is_nowhere(wire: Any, settings: Any) -> None:
    told = tell(wire, "post", "/echo/", FORM)
    told = told.replace("geheim-9", "")
    assert "geheim" not in told
    for shown in ("username = ann", "Bonn", "page=7", "cannot take"):
        assert shown in told


def test_what_the_project_calls_a_secret_is_one(wire: Any, settings: Any) -> None:
    request = RequestFactory().post("/", FORM)
    request.POST  # noqa: B018
    settings.SIGNAL_KIT = {"REDACT": ["iban"]}
    assert "geheim" not in str(describe_request(request))


def test_query_cookies_and_headers_are_cleansed(wire: Any) -> None:
    told = tell(
        wire,
        "get",
        "/echo/?passcode=geheim-1&sid=geheim-2&sid=geheim-3&page=7&data=%7B%22jwt%22:%22geheim-4%22%7D",
        cookies={"sid": "geheim-5", "remember_token": "geheim-6", "theme": "dark"},
        headers={
            "authorization": "Bearer geheim-7",
            "x-passphrase": "geheim-8",
            "x-jwt": "geheim-9",
            "x-original-url": "/echo/?code=geheim-10",
            "referer": "https://ann:geheim-11@shop.example/invite/geheim-12/?a=geheim-13",
        },
    )
    assert "geheim" not in told
    for shown in ("page = 7", "theme = dark", "https://shop.example/invite/"):
        assert shown in told


def test_the_token_of_a_path_is_nowhere(wire: Any) -> None:
    token = default_token_generator.make_token(UserFactory())
    referer = f"https://shop.example/reset/MQ/{token}/"
    told = tell(wire, "get", f"/reset/MQ/{token}/", headers={"referer": referer})
    assert token not in told
    assert "/reset/MQ/" in told
    assert "reset/<uidb64>/<token>/" in told


@pytest.mark.parametrize("url", ["/invite/geheim!7/", "/reset/MQ/geheim!7/"])
def test_a_secret_that_the_route_takes_from_the_path_is_nowhere(wire: Any, url: str) -> None:
    told = tell(wire, "get", url)
    assert "geheim" not in told


def test_a_token_of_django_is_known_by_its_shape_where_nothing_names_it(wire: Any) -> None:
    token = default_token_generator.make_token(UserFactory())
    assert token not in tell(wire, "get", f"/unnamed/{token}/")


def test_a_secret_of_a_json_body_is_not_in_the_message(wire: Any) -> None:
    data = {"card": {"passphrase": "geheim-1"}}
    told = tell(wire, "post", "/json/", data, content_type="application/json")
    assert "geheim" not in told
    assert "KeyError" in told


def test_the_messages_of_all_exceptions_of_a_chain_are_cleansed(wire: Any) -> None:
    told = tell(wire, "post", "/chained/", {"password": "geheim-1"})
    assert "geheim" not in told
    assert "already exists" in told
    assert "request.POST" in told


def test_a_message_of_a_stranger_does_not_take_forever() -> None:
    request = RequestFactory().post("/", {f"password{n}": "x" * 50 + str(n) for n in range(900)})
    request.POST  # noqa: B018
    hider = Hider(request)
    assert len(describe_request(request, hider)["POST"]) == 900
    for text in ("x" * 100_000, '"a' * 50_000, "(a)=(" * 20_000, 'x="\\"' * 20_000, "a=" * 50_000):
        hider.hide_in_text(text)


@given(
    st.dictionaries(st.sampled_from(["password", "api_key", "x_jwt"]), st.text(min_size=4)),
    st.text(),
)
def test_no_secret_of_a_form_is_in_any_text(form: dict[str, str], text: str) -> None:
    request: Any = RequestFactory().get("/")
    request.method, request.POST = "POST", QueryDict(urlencode(form, errors="replace"))
    request._post = request.POST
    hider = Hider(request)
    described = describe_request(request, hider)
    values = [value for value in request.POST.values() if len(value) >= 4]
    shown = hider.hide_in_text("; ".join([text, *values]))
    for part in (*re.split(r"\[redacted\]|\*+", shown), *described["POST"].values()):
        for value in values:
            assert value not in part or set(value) == {"*"}


# A channel that was down


def test_a_mail_server_that_was_down_silences_nobody(wire: Any, settings: Any) -> None:
    wire((ExceptionAlert, {"to": OPS}))
    use_mailer(settings, "smtp", host="127.0.0.1", port=get_free_port())
    assert get() == 500
    use_mailer(settings, "locmem")
    mail.outbox = []
    for _ in range(3):
        get()
    assert len(mail.outbox) == 1
    assert "1 more of this kind" in str(mail.outbox[0].body)


def test_one_channel_that_works_is_enough(wire: Any, settings: Any, failures: Any) -> None:
    wire((ExceptionAlert, {"to": OPS, "channels": ["mail", "log"], "cache": "second"}))
    caches["second"].clear()
    use_mailer(settings, "smtp", host="127.0.0.1", port=get_free_port())
    for _ in range(3):
        get()
    assert len(failures) == 1


def test_processes_that_share_a_cache_try_again_together(wire: Any, settings: Any) -> None:
    caches["second"].clear()
    wire((ExceptionAlert, {"to": OPS, "cache": "second"}))
    use_mailer(settings, "smtp", host="127.0.0.1", port=get_free_port())
    get()
    use_mailer(settings, "locmem")
    mail.outbox = []
    wire((ExceptionAlert, {"to": OPS, "cache": "second"}))
    for _ in range(3):
        get()
    assert len(mail.outbox) == 1


class EvenThen(ExceptionAlert):
    def should_alert(self, exception: BaseException, request: Any) -> bool:
        return True


def test_that_nobody_is_told_while_debugging_is_said(wire: Any, settings: Any) -> None:
    def get_messages(cls: type = ExceptionAlert) -> list[CheckMessage]:
        return list(wire((cls, {"to": OPS})).get_warnings())

    assert get_messages() == []
    settings.DEBUG = True
    [message] = get_messages()
    assert (message.id, message.is_serious(level=WARNING)) == ("signal_kit.I001", False)
    assert message.msg == ("ExceptionAlert tells nobody of an exception, because DEBUG is True.")
    assert message.hint == "To be told while you develop, override should_alert()."
    assert get_messages(EvenThen) == []
