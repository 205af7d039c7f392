"""An alert is sent when its request has been answered, and is not lost if that never happens."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from django.core import mail
from django.core.cache import caches
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.mail.backends.locmem import EmailBackend
from django.core.management import call_command
from django.core.signals import request_finished
from django.db import connections
from django.http import HttpResponse
from django.test import Client
from django.urls import path

from django_signal_kit.receivers import ExceptionAlert
from tests.conftest import run_async
from tests.mail.mailers import use_mailer
from tests.projects import KIT, Project
from tests.requests.test_webhook import Hook
from tests.serving import TIMEOUT, Visit, call_wsgi, serve, serve_wsgi

pytestmark = pytest.mark.django_db(transaction=True)

OPS = ["ops@shop.example"]


def view(request: Any, number: int = 0) -> HttpResponse:
    raise ValueError(f"number {number}")


urlpatterns = [path("<int:number>/", view)]


class Careless(ExceptionAlert):
    """A channel of its own, which fails."""

    def flush(self, items: list[Any]) -> None:
        super().flush(items)
        raise ZeroDivisionError


class Silent(ExceptionAlert):
    def flush(self, items: list[Any]) -> None:
        raise ZeroDivisionError


class Slow(ExceptionAlert):
    async def flush(self, items: list[Any]) -> None:
        super().flush(items)


@pytest.fixture(autouse=True)
def _project(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    use_mailer(settings, "locmem")


def get(url: str = "/1/") -> int:
    return Client(raise_request_exception=False).get(url).status_code


def test_a_client_has_his_answer_before_an_alert_is_sent(wire: Any) -> None:
    wire((ExceptionAlert, {"to": OPS}))
    response = call_wsgi(WSGIHandler(), "/1/")
    assert (response.status_code, mail.outbox) == (500, [])
    response.close()
    assert len(mail.outbox) == 1


def test_an_async_client_has_his_answer_before_an_alert_is_sent(
    wire: Any, monkeypatch: Any
) -> None:
    visit, seen = Visit("/1/"), []

    def send_messages(self: Any, messages: Any) -> int:
        seen.append([sent["type"] for sent in visit.sent])
        return len(messages)

    monkeypatch.setattr(EmailBackend, "send_messages", send_messages)
    wire((ExceptionAlert, {"to": OPS}))
    run_async(visit.run(ASGIHandler()))
    assert seen == [["http.response.start", "http.response.body"]]


def test_an_alert_whose_response_is_never_closed_goes_with_the_next_request(wire: Any) -> None:
    wire((ExceptionAlert, {"to": OPS}))
    call_wsgi(WSGIHandler(), "/1/")
    assert mail.outbox == []
    assert get("/nowhere/") == 404
    assert len(mail.outbox) == 1


def test_an_error_that_nobody_answers_is_told_at_once(wire: Any, settings: Any) -> None:
    settings.DEBUG_PROPAGATE_EXCEPTIONS = True
    wire((ExceptionAlert, {"to": OPS}))
    with pytest.raises(ValueError, match="number 1"):
        call_wsgi(WSGIHandler(), "/1/")
    assert len(mail.outbox) == 1


def test_each_receiver_sends_its_own(wire: Any) -> None:
    wire(
        {"RECEIVER": f"{KIT}.receivers.ExceptionAlert", "NAME": "A", "OPTIONS": {"to": OPS}},
        {"RECEIVER": f"{KIT}.receivers.ExceptionAlert", "NAME": "B", "OPTIONS": {"to": OPS}},
    )
    get()
    assert len(mail.outbox) == 2


def test_a_flush_may_be_async(wire: Any) -> None:
    wire((Slow, {"to": OPS}))
    get()
    assert len(mail.outbox) == 1


def test_a_channel_of_the_projects_own_that_fails_sends_nothing_twice(wire: Any) -> None:
    wire((Careless, {"to": OPS}))
    assert [get(), get()] == [500, 500]
    assert len(mail.outbox) == 1


def test_a_flush_that_sends_nothing_gives_the_window_back(wire: Any) -> None:
    alert = wire((Silent, {"to": OPS}))
    get()
    assert alert._gate.admit("another") is not None
    given = [kind for kind in alert._windows._kinds if "ValueError" in kind]
    assert alert._gate.admit(given[0]).suppressed == 1


# The window is given back


def test_the_error_is_told_as_soon_as_the_webhook_is_back(wire: Any) -> None:
    Hook.got, Hook.status = [], 503
    with serve(Hook) as address:
        options = {"channels": ["webhook"], "webhook_url": address, "allow_private": True}
        wire((ExceptionAlert, options))
        get()
        Hook.status = 204
        for _ in range(3):
            get()
    assert [got["body"]["suppressed"] for got in Hook.got] == [0, 1]


def test_two_processes_share_a_window_that_is_given_back(wire: Any, settings: Any) -> None:
    caches["second"].clear()
    options = {"to": OPS, "cache": "second"}
    first = wire((ExceptionAlert, options))
    use_mailer(settings, "smtp", host="127.0.0.1", port=1)
    response = call_wsgi(WSGIHandler(), "/1/")
    # Another one, while the first has not been told of yet.
    wire((ExceptionAlert, options))
    get()
    # It fails, and gives the window back; the server is there again.
    first._waiting.send()
    use_mailer(settings, "locmem")
    mail.outbox = []
    for _ in range(3):
        get()
    response.close()
    assert len(mail.outbox) == 1
    assert "2 more of this kind" in str(mail.outbox[0].body)


# What Django has tidied up is left tidy


def test_a_connection_that_an_alert_opens_is_closed_as_django_would(
    wire: Any, settings: Any
) -> None:
    settings.CACHES = {
        **settings.CACHES,
        "table": {
            "BACKEND": "django.core.cache.backends.db.DatabaseCache",
            "LOCATION": "alert_cache",
        },
    }
    call_command("createcachetable", verbosity=0)
    left: list[bool] = []

    def look(**kwargs: Any) -> None:
        left.append(connections["default"].connection is not None)

    try:
        wire((ExceptionAlert, {"to": OPS, "cache": "table"}))
        use_mailer(settings, "smtp", host="127.0.0.1", port=1)
        request_finished.connect(look)
        with serve_wsgi(WSGIHandler()) as address, pytest.raises(HTTPError) as caught:
            urlopen(f"{address}/1/", timeout=TIMEOUT)
        caught.value.close()
    finally:
        request_finished.disconnect(look)
        with connections["default"].cursor() as cursor:
            cursor.execute("DROP TABLE alert_cache")
    assert left == [False]


# The end of the process

SETTINGS = """
ROOT_URLCONF = "shop.urls"
ALLOWED_HOSTS = ["*"]
import django
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": "shop.mails.Mails"}}
else:
    EMAIL_BACKEND = "shop.mails.Mails"
"""

SHOP = {
    "shop/__init__.py": "",
    "shop/urls.py": """
from django.urls import path

def view(request):
    raise ValueError

urlpatterns = [path("", view)]
""",
    "shop/mails.py": """
import os
from django.core.mail.backends.base import BaseEmailBackend

interrupts = []

class Mails(BaseEmailBackend):
    def send_messages(self, messages):
        if interrupts:
            raise interrupts.pop()
        with open("mails.txt", "a") as file:
            file.write(f"{messages[0].subject}\\n")
        return 1
""",
}

ASK = """
from django.core.handlers.wsgi import WSGIHandler
from django.test import RequestFactory
handler = WSGIHandler()
response = handler(RequestFactory().get("/").environ, lambda *args: None)
assert response.status_code == 500
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    alert = {"RECEIVER": f"{KIT}.receivers.ExceptionAlert", "OPTIONS": {"to": OPS}}
    return Project(tmp_path, SHOP, ["shop", KIT], SETTINGS, RECEIVERS=[alert])


def count(project: Project) -> int:
    file = project.directory / "mails.txt"
    return len(file.read_text().splitlines()) if file.exists() else 0


@pytest.mark.parametrize("end", ["", "raise SystemExit(0)", "import sys\nsys.exit()"])
def test_an_alert_that_waits_is_sent_when_the_process_ends(project: Project, end: str) -> None:
    project.run(f"{ASK}import os\nassert not os.path.exists('mails.txt')\n{end}")
    assert count(project) == 1


def test_an_alert_that_an_interrupt_stops_is_sent_when_the_process_ends(project: Project) -> None:
    code = """
from shop.mails import interrupts
interrupts.append(KeyboardInterrupt())
try:
    response.close()
except KeyboardInterrupt:
    assert not interrupts
"""
    project.run(ASK + code)
    assert count(project) == 1


def test_a_forked_process_does_not_send_what_its_parent_will(project: Project) -> None:
    code = """
import os
pid = os.fork()
if pid == 0:
    response.close()
    raise SystemExit(0)
assert os.waitpid(pid, 0)[1] == 0
assert not os.path.exists("mails.txt")
response.close()
"""
    project.run(ASK + code)
    assert count(project) == 1


def test_nothing_waits_for_nothing(caplog: Any, wire: Any) -> None:
    alert = wire((ExceptionAlert, {"to": OPS}))
    with caplog.at_level(logging.DEBUG, logger="django_signal_kit"):
        alert._waiting.send()
    assert (mail.outbox, caplog.records) == ([], [])
