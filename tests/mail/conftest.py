"""Fixtures of the tests of mail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from django_signal_kit.mail import passing
from tests.mail.mailers import Mailbox, serve_mail, use_mailer


@pytest.fixture(autouse=True)
def _mailer(settings: Any) -> None:
    use_mailer(settings, "locmem")


@pytest.fixture
def templates(settings: Any) -> dict[str, str]:
    """Name -> text of templates that go before those of the apps."""
    words: dict[str, str] = {}
    settings.TEMPLATES = [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {
                "loaders": [
                    ("django.template.loaders.locmem.Loader", words),
                    "django.template.loaders.app_directories.Loader",
                ]
            },
        }
    ]
    return words


@pytest.fixture
def mailbox(settings: Any) -> Iterator[Mailbox]:
    """A mail server."""
    mailbox = Mailbox()
    with serve_mail(settings, mailbox):
        yield mailbox


@pytest.fixture
def without_app(settings: Any) -> None:
    apps = [name for name in settings.INSTALLED_APPS if name != "django_signal_kit.mail"]
    settings.INSTALLED_APPS = apps
    passing.memory.__init__(passing.MOST)  # type: ignore[misc]
