"""Where mail goes: kept in memory, or to a server that runs here."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import django
from aiosmtpd.controller import Controller
from django.core import mail

from tests.ports import get_free_port


def use_mailer(settings: Any, backend: str, **options: Any) -> None:
    backend = f"django.core.mail.backends.{backend}.EmailBackend"
    if django.VERSION >= (6, 1):
        settings.MAILERS = {"default": {"BACKEND": backend, "OPTIONS": options}}
    else:
        settings.EMAIL_BACKEND = backend
        for name, value in options.items():
            setattr(settings, f"EMAIL_{name.upper()}", value)


def sent() -> list[str]:
    """The addresses that got a mail, in order."""
    return [address for message in mail.outbox for address in message.to]


@contextmanager
def serve_mail(settings: Any, handler: Any) -> Iterator[None]:
    """A mail server that gives what it gets to ``handler``; Django sends to it."""
    port = get_free_port()
    controller = Controller(handler, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        use_mailer(settings, "smtp", host="127.0.0.1", port=port)
        yield
    finally:
        controller.stop()


class Mailbox:
    """Keeps what it gets. Who is called "reject" is refused."""

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], Any]] = []

    async def handle_RCPT(  # noqa: N802
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        if address.startswith("reject"):
            return "550 There is no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        parsed = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.mails.append((envelope.rcpt_tos, parsed))
        return "250 OK"
