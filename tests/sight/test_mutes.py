"""What is muted everywhere is muted in all processes, for a while; and nobody pays who does not
ask for it."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.core.cache.backends.locmem import LocMemCache
from django.core.exceptions import PermissionDenied
from django.db.models.signals import post_save
from django.test import override_settings

from django_signal_kit import ModelReceiver, Receiver, current, muted
from django_signal_kit.receivers import AuditLog, DeletionLog, LoginLog
from django_signal_kit.sight import mutes
from django_signal_kit.wiring import dispatch
from django_signal_kit.wiring.registry import registry
from tests.apps.testapp.models import Tag
from tests.conftest import run_async
from tests.factories import TagFactory

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)
HEARD: list[str] = []


class Listener(ModelReceiver):
    models = ["testapp.Tag"]

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        HEARD.append(instance.name)


class AsyncListener(ModelReceiver):
    models = ["testapp.Tag"]

    async def post_save(self, instance: Any, **kwargs: Any) -> None:
        HEARD.append(f"{instance.name} later")


class Prepared(Receiver):
    def class_prepared(self, sender: Any, **kwargs: Any) -> None: ...


@pytest.fixture(autouse=True)
def _silence() -> Iterator[None]:
    HEARD.clear()
    yield
    mutes.stop()


@pytest.fixture
def listener(wire: Any) -> Any:
    return wire(Listener, ADMIN_MUTING=True)


def mute(name: str = "Listener", duration: timedelta = HOUR) -> mutes.Mute:
    return mutes.mute(name, by="maria", reason="too loud", duration=duration)


def wait_for(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert is_so()


# What it costs


def test_without_the_setting_the_functions_are_those_that_they_are_without_it(wire: Any) -> None:
    wire(Listener)
    assert dispatch.get_muted is current.get_muted
    functions = [connection.function.__code__ for connection in registry.connections]
    wire(Listener, ADMIN_MUTING=True)
    assert dispatch.get_muted is not current.get_muted
    wire(Listener)
    assert dispatch.get_muted is current.get_muted
    assert [connection.function.__code__ for connection in registry.connections] == functions


def test_without_the_setting_nobody_asks_the_cache(wire: Any, asked: list[str]) -> None:
    wire(Listener)
    TagFactory(name="tea")
    assert (HEARD, asked) == (["tea"], [])


@pytest.fixture
def asked() -> Iterator[list[str]]:
    """The keys that the default cache is asked for."""
    with override_settings(CACHES={"default": {"BACKEND": f"{__name__}.Noting"}}):
        KEYS.clear()
        yield KEYS


KEYS: list[str] = []


class Noting(LocMemCache):
    def __init__(self, location: str, params: Any) -> None:
        super().__init__("noting", params)

    def get(self, key: str, *args: Any, **kwargs: Any) -> Any:
        KEYS.append(key)
        return super().get(key, *args, **kwargs)


def test_many_calls_ask_the_cache_once(wire: Any, asked: list[str], monkeypatch: Any) -> None:
    monkeypatch.setattr(mutes, "EVERY", 3600.0)
    wire(Listener, ADMIN_MUTING=True)
    for number in range(20):
        TagFactory(name=str(number))
        assert mutes._looker is not None
        mutes._looker.join(60)
    assert (len(HEARD), len(asked)) == (20, 1)


# What it does


def test_a_muted_receiver_is_not_called_until_it_is_unmuted(listener: Any) -> None:
    mute()
    TagFactory(name="tea")
    assert HEARD == []
    mutes.unmute("Listener", by="maria")
    TagFactory(name="milk")
    assert HEARD == ["milk"]


def test_it_is_so_in_each_thread_and_in_event_loops(wire: Any) -> None:
    wire(Listener, AsyncListener, ADMIN_MUTING=True)
    mute("AsyncListener")
    thread = threading.Thread(target=lambda: HEARD.extend(dispatch.get_muted()))
    thread.start()
    thread.join()
    assert HEARD == ["AsyncListener"]
    HEARD.clear()

    async def send() -> None:
        await post_save.asend(sender=Tag, instance=Tag(name="tea"), created=True)

    run_async(send())
    assert HEARD == ["tea"]


def test_a_mute_ends_by_itself(listener: Any) -> None:
    mute(duration=timedelta(seconds=0.2))

    def is_over() -> bool:
        mutes.look()
        TagFactory(name="tea")
        return bool(HEARD)

    wait_for(is_over)
    assert mutes.get_mutes() == []
    assert cache.get(mutes._get_key("Listener")) is None


def test_another_mute_of_the_same_receiver_counts_in_the_place_of_the_first(listener: Any) -> None:
    mute()
    mutes.mute("Listener", by="jo", reason="still", duration=2 * HOUR)
    assert [(each.by, each.reason) for each in mutes.get_mutes()] == [("jo", "still")]


def test_blocks_mute_beside_it_and_leave_it_as_it_was(wire: Any) -> None:
    wire(Listener, AsyncListener, ADMIN_MUTING=True)
    mute()
    with muted("AsyncListener"):
        TagFactory(name="tea")
    TagFactory(name="milk")
    assert HEARD == ["milk later"]
    assert current.get_muted() == {"Listener"}
    mutes.unmute("Listener", by="maria")
    assert current.get_muted() == set()


def test_the_line_in_the_log_says_who_which_and_why(listener: Any, caplog: Any) -> None:
    with caplog.at_level(logging.WARNING, "django_signal_kit.muting"):
        made = mute()
        mutes.unmute("Listener", by="jo")
    first, second = caplog.records
    until = made.until.isoformat(timespec="seconds")
    assert first.getMessage() == f"Listener is muted until {until} by maria: too loud"
    assert (first.receiver, first.actor, first.reason) == ("Listener", "maria", "too loud")
    assert second.getMessage() == "Listener is not muted any more: jo"


def test_a_cache_that_does_not_answer_changes_nothing(listener: Any) -> None:
    mute()
    broken = {"default": {"BACKEND": f"{__name__}.Broken"}}
    with override_settings(CACHES=broken):
        mutes.look()
        TagFactory(name="tea")
        assert HEARD == []


class Broken(LocMemCache):
    def get(self, key: str, *args: Any, **kwargs: Any) -> Any:
        raise ConnectionError("nobody is there")


def test_a_cache_that_does_not_answer_does_not_mute_for_good(listener: Any) -> None:
    mute(duration=timedelta(seconds=0.2))
    with override_settings(CACHES={"default": {"BACKEND": f"{__name__}.Broken"}}):

        def is_over() -> bool:
            mutes.look()
            return current.get_muted() == set()

        wait_for(is_over)


# What it does not do


@pytest.mark.parametrize("kept", [AuditLog, LoginLog, DeletionLog])
def test_what_keeps_a_record_cannot_be_muted(wire: Any, kept: Any) -> None:
    options = {} if kept is LoginLog else {"models": ["testapp.Tag"]}
    receiver = wire((kept, options), ADMIN_MUTING=True)
    with pytest.raises(PermissionDenied, match=f"{receiver.name} cannot be muted. It keeps"):
        mute(receiver.name)


def test_not_even_by_somebody_who_writes_into_the_cache(wire: Any) -> None:
    wire((AuditLog, {"models": ["testapp.Tag"]}), Listener, ADMIN_MUTING=True)
    made = mute("Listener")
    key = mutes._get_key("AuditLog")
    cache.set(key, {**vars(made), "name": "AuditLog"}, 60)
    cache.set(mutes._get_key("Listener"), {**vars(made), "name": "AuditLog"}, 60)
    mutes.look()
    assert "AuditLog" not in current.get_muted()


def test_what_acts_while_models_are_made_cannot_be_muted_afterwards(wire: Any) -> None:
    receiver = wire(Prepared, ADMIN_MUTING=True)
    assert mutes.tell_immutable(receiver).startswith("It acts when models are made")


def test_nothing_is_muted_where_the_project_has_not_said_so(wire: Any) -> None:
    wire(Listener)
    with pytest.raises(PermissionDenied, match="ADMIN_MUTING"):
        mute()
    with pytest.raises(PermissionDenied, match="ADMIN_MUTING"):
        mutes.unmute("Listener", by="maria")


def test_what_is_muted_is_not_any_more_when_the_setting_is_taken_back(
    wire: Any, listener: Any
) -> None:
    mute()
    wire(Listener)
    TagFactory(name="tea")
    assert HEARD == ["tea"]
    assert mutes.get_mutes() == []


def test_nobody_of_that_name(listener: Any) -> None:
    with pytest.raises(LookupError, match="No receiver is named 'Lisener'"):
        mute("Lisener")


# Other processes

CHILD = """
import sys
import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django_signal_kit"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    CACHES={"default": {"BACKEND": sys.argv[1], "LOCATION": sys.argv[2]}},
    SIGNAL_KIT={
        "RECEIVERS": ["tests.sight.muted_child.Loud"],
        "ADMIN_MUTING": True,
    },
)
django.setup()
from django.contrib.auth.models import Group
from django.db.models.signals import post_save
from django_signal_kit.sight import mutes

# Nobody wants to wait that long here.
mutes.EVERY = 0.2

for line in sys.stdin:
    post_save.send(sender=Group, instance=Group(name=line.strip()), created=True, raw=False)
    print("done", flush=True)
"""
REDIS = "redis://127.0.0.1:6379/9"


@pytest.mark.parametrize("kind", ["files", "redis"])
def test_two_processes_learn_of_it_through_the_cache(wire: Any, kind: str, tmp_path: Path) -> None:
    backend = "django.core.cache.backends.filebased.FileBasedCache"
    location = str(tmp_path)
    if kind == "redis":
        pytest.importorskip("redis")
        backend, location = "django.core.cache.backends.redis.RedisCache", REDIS
    caches = {"default": {"BACKEND": backend, "LOCATION": location}}
    wire({"RECEIVER": "tests.sight.muted_child.Loud"}, ADMIN_MUTING=True)
    with override_settings(CACHES=caches), _open(backend, location) as tell:
        try:
            assert tell("one") == "Loud heard one"
            mute("Loud")
            # It has looked a moment ago, and looks again in some seconds.
            wait_for(lambda: tell("two") == "done")
            mutes.unmute("Loud", by="maria")
            wait_for(lambda: tell("three") == "Loud heard three")
        finally:
            mutes.unmute("Loud", by="maria")


class _open:
    """``tell(word)`` has the other process save a group of this name, and returns what it says."""

    def __init__(self, *arguments: str) -> None:
        self.arguments = arguments

    def __enter__(self) -> Callable[[str], str]:
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD, *self.arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        return self.tell

    def tell(self, word: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        first = self.process.stdout.readline().strip()
        if first != "done":
            assert self.process.stdout.readline().strip() == "done"
        return first

    def __exit__(self, *details: object) -> None:
        self.process.kill()
        self.process.communicate()


def test_who_has_slept_asks_before_he_calls(listener: Any, monkeypatch: Any) -> None:
    TagFactory(name="tea")
    # Another process mutes it meanwhile.
    made = mutes.Mute("Listener", "jo", "still", mutes.timezone.now(), mutes.timezone.now() + HOUR)
    cache.set(mutes._get_key("Listener"), vars(made), 60)
    monkeypatch.setattr(mutes, "_looked_at", mutes._looked_at - 2 * mutes.KNOWN_WITHIN)
    TagFactory(name="milk")
    assert HEARD == ["tea"]


def test_nobody_waits_long_for_a_cache_that_hangs(wire: Any, monkeypatch: Any) -> None:
    wire(Listener, ADMIN_MUTING=True)
    monkeypatch.setattr(mutes, "_PATIENCE", 0.05)
    go = threading.Event()
    monkeypatch.setattr(mutes, "get_mutes", lambda: go.wait(60) and [])
    try:
        TagFactory(name="tea")
        # What is known is relied upon again, so that the next do not wait.
        assert time.monotonic() - mutes._looked_at < mutes.KNOWN_WITHIN
        TagFactory(name="milk")
        assert HEARD == ["tea", "milk"]
    finally:
        go.set()
        assert mutes._looker is not None
        mutes._looker.join(60)
