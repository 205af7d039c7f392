"""A scenario: each page that is written is purged at an edge that is down part of the time. See
``scenario.py``."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tests import moods


def prepare(folder: Path) -> AbstractContextManager[None]:
    return moods.start("tests.engines.pages.edge", folder)


def get_settings(folder: Path) -> dict[str, Any]:
    purge = {"urls": [f"http://127.0.0.1:{(folder / 'port').read_text()}/"], "flush_on": "task"}
    return {
        "CACHES": {
            "default": {
                "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
                "LOCATION": str(folder / "cache"),
            }
        },
        "MIDDLEWARE": ["django_signal_kit.cache.CacheTagHeaders"],
        "SIGNAL_KIT": {
            "RECEIVERS": [
                {
                    "RECEIVER": "django_signal_kit.receivers.CacheInvalidation",
                    "OPTIONS": {"models": ["pages.Page"], "tags": ["page:{key}"]},
                },
                {"RECEIVER": "django_signal_kit.cache.HTTPPurge", "OPTIONS": purge},
            ],
            "TASKS": {"BACKOFF": 1, "ATTEMPTS": 50},
        },
    }
