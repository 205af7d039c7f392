"""Fixtures of all tests."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from asgiref.sync import sync_to_async
from django.core.cache import caches
from django.db import connections
from django.test.utils import override_settings

from django_signal_kit import registry

hypothesis.settings.register_profile("quick", max_examples=50, deadline=None)
hypothesis.settings.register_profile("thorough", max_examples=2000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("SIGNAL_KIT_HYPOTHESIS", "quick"))


@pytest.fixture
def wire() -> Iterator[Callable[..., Any]]:
    """``wire(entry, ...)`` lists receivers in SIGNAL_KIT for the length of the test.

    An entry is a class, a ``(class, options)`` pair, or whatever the setting takes. Returns the
    connected receivers.
    """
    active: list[override_settings] = []

    def connect(*entries: Any, **keys: Any) -> Any:
        override = override_settings(
            SIGNAL_KIT={"RECEIVERS": [as_entry(entry) for entry in entries], **keys}
        )
        override.enable()
        active.append(override)
        receivers = registry.registry.receivers
        return receivers[0] if len(receivers) == 1 else receivers

    yield connect
    while active:
        active.pop().disable()


def as_entry(entry: Any) -> Any:
    if isinstance(entry, tuple):
        cls, options = entry
        return {"RECEIVER": get_path(cls), "OPTIONS": options}
    return get_path(entry) if isinstance(entry, type) else entry


def get_path(cls: Any) -> str:
    return cls if isinstance(cls, str) else f"{cls.__module__}.{cls.__qualname__}"


@pytest.fixture(autouse=True)
def _clear_caches() -> Iterator[None]:
    yield
    for cache in caches.all():
        cache.clear()


@pytest.fixture
def media(tmp_path: Path, settings: Any) -> Path:
    """An empty MEDIA_ROOT."""
    settings.MEDIA_ROOT = str(tmp_path)
    return tmp_path


def run_async(coroutine: Any) -> Any:
    """Run a coroutine to its end, and close the connections that its threads have opened."""

    async def main() -> Any:
        try:
            return await coroutine
        finally:
            await sync_to_async(connections.close_all)()

    return asyncio.run(main())
