"""A scenario: users sign up, and each is welcomed through a mail server that is down half of the
time. See ``scenario.py``."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import django

from tests import moods

_BACKEND = "django.core.mail.backends.smtp.EmailBackend"


def prepare(folder: Path) -> AbstractContextManager[None]:
    return moods.start("tests.mail.postoffice", folder)


def get_settings(folder: Path) -> dict[str, Any]:
    port = int((folder / "port").read_text())
    found: dict[str, Any]
    if django.VERSION >= (6, 1):
        options = {"host": "127.0.0.1", "port": port}
        found = {"MAILERS": {"default": {"BACKEND": _BACKEND, "OPTIONS": options}}}
    else:
        found = {"EMAIL_BACKEND": _BACKEND, "EMAIL_HOST": "127.0.0.1", "EMAIL_PORT": port}
    return {
        **found,
        "TEMPLATES": [
            {"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}
        ],
        "SIGNAL_KIT": {
            "RECEIVERS": ["django_signal_kit.receivers.WelcomeEmail"],
            "TASKS": {"BACKOFF": 1, "ATTEMPTS": 50},
        },
        "MORE_APPS": ["django_signal_kit.mail"],
    }
