"""Mail and webhook carry an alert, or are told of and done without."""

from __future__ import annotations

import logging
import socket
from typing import Any

import django
import pytest
from django.core import mail
from django.core.cache import caches

from django_signal_kit.receivers import ExceptionAlert
from tests.mail.mailers import Mailbox, serve_mail, use_mailer
from tests.ports import get_free_port
from tests.requests.failing_site import OPS, ByPath, get, served
from tests.requests.test_webhook import Hook, Silent
from tests.serving import serve

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("failing_site"),
]


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


def test_a_mail_server_gets_it(wire: Any, settings: Any) -> None:
    wire((ExceptionAlert, {"to": OPS}))
    mailbox = Mailbox()
    with serve_mail(settings, mailbox):
        assert get("/item/7/") == 500
    [(recipients, message)] = mailbox.mails
    assert recipients == OPS
    assert "ValueError: number 7" in message.get_content()


def test_a_mail_server_that_is_down_harms_nobody(
    wire: Any, settings: Any, failures: Any, caplog: Any
) -> None:
    wire((ExceptionAlert, {"to": OPS, "channels": ["mail", "log"]}))
    use_mailer(settings, "smtp", host="127.0.0.1", port=get_free_port())
    assert [get(), get()] == [500, 500]
    [failure] = failures
    assert failure["signal_name"] == "flush"
    error = failure["exception"]
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
    assert "answered 302" in str(failures[0]["exception"])


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
    assert str(failures[0]["exception"]) == "hooks.example has a private address only."


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
    assert "timed out" in str(failures[0]["exception"])
    assert len(mail.outbox) == 1


# One that was down


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
