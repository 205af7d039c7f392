"""A scenario: files that no row names any more go into quarantine, in a storage that is down part
of the time. See ``scenario.py``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def prepare(folder: Path) -> Iterator[None]:
    (folder / "stormy").touch()
    (folder / "media").mkdir()
    yield


def get_settings(folder: Path) -> dict[str, Any]:
    storage = "tests.engines.pictures.storage.MoodyStorage"
    return {
        "STORAGES": {
            "default": {"BACKEND": storage, "OPTIONS": {"folder": str(folder)}},
            "staticfiles": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
        },
        "SIGNAL_KIT": {
            "RECEIVERS": [
                {
                    "RECEIVER": "django_signal_kit.receivers.FileCleanup",
                    "OPTIONS": {"models": ["pictures.Picture"], "flush_on": "task"},
                }
            ],
            "TASKS": {"BACKOFF": 1, "ATTEMPTS": 50},
        },
        "MORE_APPS": ["django_signal_kit.files"],
    }
