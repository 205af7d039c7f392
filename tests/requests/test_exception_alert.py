"""One alert for each kind of error, and none that harms."""

from __future__ import annotations

import json
import threading
from functools import partial
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from django.core import mail
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import got_request_exception, request_finished
from django.db import transaction
from django.test import AsyncClient, Client, RequestFactory

from django_signal_kit import muted
from django_signal_kit.receivers import ExceptionAlert
from django_signal_kit.requests.exception_alert import Alert
from django_signal_kit.requests.reporting import get_location
from django_signal_kit.requests.windows import MAX_KINDS
from tests.conftest import run_async
from tests.factories import UserFactory
from tests.requests.failing_site import OPS, ByPath, get, subjects
from tests.serving import TIMEOUT, Visit, serve_wsgi
from tests.threads import in_threads

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("failing_site"),
]


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


# One of a kind


def test_an_error_is_told_once(wire: Any) -> None:
    wire((ExceptionAlert, {"to": OPS}))
    assert [get("/item/1/"), get("/item/2/"), get("/item/3/")] == [500] * 3
    (message,) = mail.outbox
    assert message.to == OPS
    assert message.subject.startswith("[Django] ValueError in item/<int:number>/ (")
    assert message.subject.endswith(" in view)")
    body = str(message.body)
    assert body.startswith("ValueError: number 1\nat tests.requests.failing_site:")
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
        in_threads(*[partial(ask, address)] * 6)
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
    assert {failure["signal_name"] for failure in failures} == {"got_request_exception"}


# What is told


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


# Harm


def test_a_hook_that_fails_harms_nobody(wire: Any, failures: Any) -> None:
    wire((Failing, {"to": OPS}))
    assert [get(), get("/async/")] == [500, 500]
    assert [(each["signal_name"], str(each["exception"])) for each in failures] == [
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
