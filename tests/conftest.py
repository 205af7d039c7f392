"""Fixtures of all tests."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from asgiref.sync import sync_to_async
from django.apps import apps
from django.conf import UserSettingsHolder, settings
from django.core.cache import caches
from django.core.signals import setting_changed
from django.db import connection, connections
from django.db.models.signals import post_migrate, pre_migrate
from django.dispatch import Signal
from django.urls import set_urlconf

from django_signal_kit.signals import receiver_failed
from django_signal_kit.wiring import registry
from tests.flushing import _flush_only_what_was_written  # noqa: F401 a fixture
from tests.selection import get_markers

hypothesis.settings.register_profile("quick", max_examples=50, deadline=None)
hypothesis.settings.register_profile("thorough", max_examples=2000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("SIGNAL_KIT_HYPOTHESIS", "quick"))

#: Seconds since 1970. A run that has to end in time begins no test later, and says how many it
#: has left out.
_UNTIL = float(os.environ.get("SIGNAL_KIT_TEST_UNTIL", "inf"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for marker in get_markers(item.path):
            item.add_marker(marker)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    if time.time() > _UNTIL:
        pytest.skip("no time was left")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Any:
    """What was captured of half a character is text that workers of xdist can hand on."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    return report


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """No test pulls the plug of the server, so that none has to wait for its disk."""
    database = connections.databases["default"]
    options = database.setdefault("OPTIONS", {})
    if database["ENGINE"].endswith("postgresql"):
        options["options"] = "-c synchronous_commit=off"
    elif database["ENGINE"].endswith("sqlite3"):
        options["init_command"] = "PRAGMA synchronous=OFF"


@pytest.fixture
def wire(settings: Any) -> Callable[..., Any]:
    """``wire(entry, ...)`` lists receivers in SIGNAL_KIT for the length of the test.

    An entry is a class, a ``(class, options)`` pair, or whatever the setting takes. Returns the
    connected receivers. Taken back in turn with what else the test has set.
    """

    def connect(*entries: Any, **keys: Any) -> Any:
        settings.SIGNAL_KIT = {"RECEIVERS": [as_entry(entry) for entry in entries], **keys}
        receivers = registry.registry.receivers
        return receivers[0] if len(receivers) == 1 else receivers

    return connect


def as_entry(entry: Any) -> Any:
    if isinstance(entry, tuple):
        cls, options = entry
        return {"RECEIVER": get_path(cls), "OPTIONS": options}
    return get_path(entry) if isinstance(entry, type) else entry


def get_path(cls: Any) -> str:
    return cls if isinstance(cls, str) else f"{cls.__module__}.{cls.__qualname__}"


@pytest.fixture
def failures() -> Iterator[list[dict[str, Any]]]:
    """What ``receiver_failed`` has told: the arguments of each time that it was sent."""
    told: list[dict[str, Any]] = []

    def hear(**kwargs: Any) -> None:
        told.append(kwargs)

    receiver_failed.connect(hear)
    yield told
    receiver_failed.disconnect(hear)


@pytest.fixture
def connect() -> Iterator[Any]:
    """Connects what is not the kit's, for the length of the test."""
    connected: list[tuple[Signal, Any, Any]] = []

    def do(signal: Signal, function: Any, sender: Any = None, weak: bool = False) -> None:
        signal.connect(function, sender=sender, weak=weak)
        if not weak:
            connected.append((signal, function, sender))

    yield do
    for signal, function, sender in connected:
        signal.disconnect(function, sender=sender)


@pytest.fixture(autouse=True)
def _restore_settings() -> Iterator[None]:
    """Overrides that end in another order than that in which they began leave some behind."""
    before = settings._wrapped
    yield
    left = settings._wrapped
    settings._wrapped = before
    while left is not before and isinstance(left, UserSettingsHolder):
        for name in [name for name in vars(left) if name.isupper()]:
            value = getattr(before, name, None)
            setting_changed.send(sender=type(left), setting=name, value=value, enter=False)
        left = left.default_settings


@pytest.fixture(autouse=True)
def _forget_urlconf() -> Iterator[None]:
    """A request that a test never finishes leaves its URLs to the thread."""
    yield
    set_urlconf(None)


@pytest.fixture(autouse=True)
def _forget_app_configs() -> Iterator[None]:
    """Apps that a test installs connect themselves, and Django never disconnects them."""
    before = {signal: signal.receivers[:] for signal in (pre_migrate, post_migrate)}
    yield
    for signal, receivers in before.items():
        signal.receivers[:] = receivers
        signal.sender_receivers_cache.clear()


@pytest.fixture(autouse=True)
def _forget_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers of xdist are told how wide the terminal is to which they do not write."""
    monkeypatch.delenv("COLUMNS", raising=False)


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


@pytest.fixture
def make_model() -> Iterator[Any]:
    """Makes a model, with its table, when the apps are ready; takes it back afterwards."""
    made: list[Any] = []

    def make(name: str, /, *bases: type, **attributes: Any) -> Any:
        meta = type("Meta", (), {"app_label": "testapp", **attributes.pop("meta", {})})
        model = type(name, bases, {"__module__": __name__, "Meta": meta, **attributes})
        made.append(model)
        if not model._meta.proxy:
            with connection.schema_editor() as editor:
                editor.create_model(model)
        return model

    yield make
    for model in reversed(made):
        if not model._meta.proxy:
            with connection.schema_editor() as editor:
                editor.delete_model(model)
        for field in model._meta.many_to_many:
            through = field.remote_field.through._meta
            if through.auto_created:
                apps.all_models["testapp"].pop(through.model_name, None)
        del apps.all_models["testapp"][model._meta.model_name]
    apps.clear_cache()


def run_async(coroutine: Any) -> Any:
    """Run a coroutine to its end, and close the connections that its threads have opened."""

    async def main() -> Any:
        try:
            return await coroutine
        finally:
            await sync_to_async(connections.close_all)()

    return asyncio.run(main())
