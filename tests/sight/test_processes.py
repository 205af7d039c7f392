"""What each process has counted is told to the others by the default cache, and is not lost."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest
from django.core.cache import cache
from django.core.cache.backends.locmem import LocMemCache

import django_signal_kit
from django_signal_kit.sight import slots
from django_signal_kit.sight.slots import Slot
from tests.projects import KIT, Project

FILES = {
    "shop/__init__.py": "",
    "shop/receivers.py": """
from django_signal_kit import Receiver

class Noted(Receiver):
    def request_finished(self, **kwargs):
        pass

class Fails(Receiver):
    def request_finished(self, **kwargs):
        raise ValueError("no")
""",
    "counted.py": """
import json, os, sys, warnings
import django
from django_signal_kit.sight import counting, publishing, slots

publishing.PAUSE, slots.LIFE = 0.05, 2.0
django.setup()

from django.core.signals import request_finished

def call(number):
    for _ in range(number):
        request_finished.send(None)

def tell():
    found = counting.get_counters()
    figures = found.receivers["Noted"]
    print(json.dumps({
        "calls": figures.calls.count,
        "errors": {error.receiver: error.count for error in found.errors},
        "processes": len(found.processes),
        "alive": sum(process.is_alive for process in found.processes),
        "is_shared": found.is_shared,
        "problem": found.problem,
    }), flush=True)

def fork():
    warnings.simplefilter("ignore")
    child = os.fork()
    if not child:
        call(3)
        counting._counting.publisher.finish()
        os._exit(0)
    os.waitpid(child, 0)

for line in sys.stdin:
    exec(line)
    print("done", flush=True)
""",
}
FILE_CACHE = """
CACHES = {{"default": {{
    "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
    "LOCATION": {0!r},
}}}}
"""


class Running:
    """A process that does what it is told, line by line."""

    def __init__(self, directory: Path) -> None:
        root = Path(django_signal_kit.__file__).parents[1]
        paths = [str(directory), str(root)]
        self.process = subprocess.Popen(
            [sys.executable, "counted.py"],
            cwd=directory,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "project_settings",
                "PYTHONPATH": os.pathsep.join(paths),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def do(self, line: str) -> list[str]:
        """Returns what it prints."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        found = []
        while (printed := self.process.stdout.readline().strip()) != "done":
            if not printed and self.process.poll() is not None:
                assert self.process.stderr is not None
                raise AssertionError(self.process.stderr.read())
            found.append(printed)
        return found

    def tell(self) -> Any:
        return json.loads(self.do("tell()")[0])

    def wait_for(self, **told: Any) -> Any:
        """Ask until it says so."""
        deadline = time.monotonic() + 60
        while True:
            found = self.tell()
            if {name: found[name] for name in told} == told:
                return found
            assert time.monotonic() < deadline, found
            time.sleep(0.02)

    def end(self) -> str:
        """As a process ends by itself; returns what it wrote to stderr."""
        return self.process.communicate(timeout=60)[1]

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def make(tmp_path: Path) -> Any:
    """``make()``: one process more, of a project with a cache of files or another."""
    running: list[Running] = []

    def start(settings: str = "", receivers: Any = ("shop.receivers.Noted",)) -> Running:
        settings = settings or FILE_CACHE.format(str(tmp_path / "cache"))
        entries = list(receivers)
        Project(tmp_path, FILES, ["shop", KIT], settings, RECEIVERS=entries, COUNTERS=True)
        running.append(Running(tmp_path))
        return running[-1]

    yield start
    for each in running:
        if each.process.poll() is None:
            each.kill()


def test_processes_are_summed(make: Any) -> None:
    one, other = make(), make()
    one.do("call(1000)")
    other.do("call(234)")
    one.wait_for(calls=1234, processes=2, alive=2)
    other.wait_for(calls=1234)
    assert one.tell()["is_shared"]
    # Its own are there at once.
    one.do("call(1)")
    assert one.tell()["calls"] == 1235


def test_what_ends_in_good_order_loses_nothing(make: Any) -> None:
    one = make()
    one.do("call(700)")
    assert one.end() == ""
    two = make()
    # Not because it has been silent.
    two.do("slots.LIFE = 3600.0")
    assert two.tell()["calls"] == 700
    two.do("call(7)")
    # It goes on with the sums of the first.
    two.wait_for(calls=707, processes=1)
    two.end()
    three = make()
    three.do("call(1)")
    three.wait_for(calls=708, processes=1)


def test_what_a_killed_process_has_told_is_kept(make: Any) -> None:
    one, other = make(), make()
    other.do("call(1)")
    one.do("call(500)")
    other.wait_for(calls=501, alive=2)
    one.kill()
    assert other.wait_for(alive=1)["calls"] == 501
    heir = make()
    heir.do("call(10)")
    heir.wait_for(calls=511, processes=2)
    other.wait_for(calls=511, processes=2)


@pytest.mark.parametrize("is_cleared", [False, True])
def test_what_was_taken_for_dead_and_comes_back_is_not_counted_twice(
    make: Any, is_cleared: bool
) -> None:
    one, other = make(), make()
    other.do("call(1)")
    one.do("call(500)")
    other.wait_for(calls=501)
    one.process.send_signal(signal.SIGSTOP)
    other.wait_for(alive=1)
    heir = make()
    heir.do("call(10)")
    other.wait_for(calls=511, processes=2)
    if is_cleared:
        other.do("from django.core.cache import cache; cache.clear()")
        other.wait_for(calls=511, processes=2)
    one.process.send_signal(signal.SIGCONT)
    one.do("call(3)")
    other.wait_for(calls=514, processes=3)
    one.wait_for(calls=514)
    heir.wait_for(calls=514)


def test_errors_are_seen_from_everywhere(make: Any) -> None:
    receivers = ["shop.receivers.Noted", "shop.receivers.Fails"]
    one, other = make(receivers=receivers), make(receivers=receivers)
    one.do("call(3)")
    other.do("call(2)")
    one.wait_for(errors={"Fails": 5})
    other.end()
    heir = make(receivers=receivers)
    heir.do("call(1)")
    one.wait_for(errors={"Fails": 6})


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork()")
def test_what_the_parent_has_counted_is_the_parents(make: Any) -> None:
    one, other = make(), make()
    one.do("call(5)")
    other.wait_for(calls=5)
    one.do("fork()")
    other.wait_for(calls=8, alive=2)
    one.do("call(1)")
    other.wait_for(calls=9)


def test_a_cache_that_is_down_harms_nobody(make: Any) -> None:
    one = make(
        'CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", '
        '"LOCATION": "redis://127.0.0.1:1"}}\n'
    )
    one.do("call(10)")
    one.do("import time; time.sleep(0.5)")
    one.do("call(10)")
    found = one.tell()
    assert found["calls"] == 20
    assert found["problem"].startswith("ConnectionError: ")
    told = one.end().splitlines()
    assert len(told) == 1
    assert told[0].startswith("What receivers did is not told to other processes: ConnectionError")


def test_a_cache_of_one_process_says_so(make: Any) -> None:
    one = make(
        'CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}\n'
    )
    one.do("call(2)")
    found = one.tell()
    assert not found["is_shared"]
    assert found["calls"] == 2


def test_of_several_that_begin_at_once_one_is_the_heir() -> None:
    ended = Slot()
    assert ended.hold()
    ended.write({"sums": {"n": 1}}, is_last=True)
    begun = [Slot() for _ in range(3)]
    assert all(slot.hold() for slot in begun)
    assert [len(slot.inherited) for slot in begun] == [1, 0, 0]
    assert len({slot._number for slot in begun}) == 3
    assert not ended.hold()


def test_without_a_slot_left_it_says_so() -> None:
    for _ in range(slots.SLOTS):
        slot = Slot()
        slot.hold()
        slot.write({})
    with pytest.raises(slots.NoSlotError, match="All 100 slots"):
        Slot().hold()


def test_who_lost_the_slot_with_the_cache_writes_it_anew() -> None:
    slot = Slot()
    slot.hold()
    slot.write({"sums": {}})
    cache.clear()
    assert slot.hold()
    slot.write({"sums": {}})
    assert [record["id"] for record in slots.read_others(Slot())] == [slot.id]


def test_who_lost_the_slot_to_one_that_took_over_nothing_tells_all_of_it(make: Any) -> None:
    one, other = make(), make()
    other.do("call(1)")
    one.do("call(500)")
    other.wait_for(calls=501)
    one.process.send_signal(signal.SIGSTOP)
    # Now nobody knows what it has told, and its place is free.
    other.do("from django.core.cache import cache; cache.clear(); slots.LIFE = 3600.0")
    thief = make()
    thief.do("slots.LIFE = 3600.0; counting._counting.publisher.publish(is_due=True); call(10)")
    other.wait_for(calls=11, processes=2)
    one.process.send_signal(signal.SIGCONT)
    one.do("call(3)")
    other.wait_for(calls=514, processes=3)
    assert one.tell()["calls"] == thief.tell()["calls"] == 514


def test_what_it_had_taken_over_is_told_with_it(make: Any) -> None:
    ended = make()
    ended.do("call(100)")
    ended.end()
    one, other = make(), make()
    one.do("call(1)")
    one.wait_for(calls=101, processes=1)
    other.do("call(1)")
    other.wait_for(calls=102)
    one.process.send_signal(signal.SIGSTOP)
    other.do("from django.core.cache import cache; cache.clear(); slots.LIFE = 3600.0")
    thief = make()
    thief.do("slots.LIFE = 3600.0; counting._counting.publisher.publish(is_due=True); call(10)")
    one.process.send_signal(signal.SIGCONT)
    other.wait_for(calls=112, processes=3)


def test_a_clock_that_is_put_back_makes_nobody_live_for_ever(monkeypatch: Any) -> None:
    now = time.time()
    ended = Slot()
    ended.hold()
    ended.write({"sums": {"n": 1}})
    (record,) = slots.read_others(Slot())
    for seconds, alive in ((5, True), (-5, True), (61, False), (-3600, False)):
        monkeypatch.setattr(slots.time, "time", lambda seconds=seconds: now + seconds)
        assert slots.is_alive(record) is alive
    heir = Slot()
    heir.hold()
    assert [each["id"] for each in heir.inherited] == [ended.id]


HANGING = """
from django.core.cache.backends.locmem import LocMemCache
import time

class Hanging(LocMemCache):
    def get_many(self, keys, version=None):
        print("asked", flush=True)
        time.sleep(3600)
"""


def test_a_cache_that_does_not_answer_keeps_no_process_from_ending(
    make: Any, tmp_path: Path
) -> None:
    (tmp_path / "hanging.py").write_text(HANGING)
    one = make('CACHES = {"default": {"BACKEND": "hanging.Hanging"}}\n')
    one.do("call(1)")
    assert one.process.stdout.readline() == "asked\n"
    assert one.end() == ""


def test_what_processes_tell_of_very_many_receivers_is_small() -> None:
    """Memcached takes a megabyte, and says nothing of what is larger: it is not there."""
    chance = Random(1)
    names = [f"shop.receivers.OneOfVeryMany{number}" for number in range(2000)]
    buckets = [[chance.randrange(10**6) for _ in range(20)] for _ in names]
    receivers = {
        name: {"calls": calls, "seconds": chance.random(), "flushes": calls, "own": {"n": 1}}
        for name, calls in zip(names, buckets, strict=True)
    }
    errors = {
        f"{number:016x}": {"message": "错误" * 250, "traceback": "保存\n" * 2000 + str(number)}
        for number in range(40)
    }
    slot = Slot()
    slot.hold()
    told = {"sums": {"receivers": receivers}, "errors": errors}
    slot.write(told)
    stored = cache.get(slots._get_key(slot._number))
    assert len(pickle.dumps(stored)) < 700_000
    # Some caches take nothing but what JSON knows.
    json.dumps(stored)
    (found,) = slots.read_others(Slot())
    assert {name: found[name] for name in told} == told


class Careless(LocMemCache):
    """As a cache of files is: another process may add the key between the question and the
    answer."""

    def add(self, key: str, value: Any, *args: Any, **kwargs: Any) -> bool:
        is_added = super().add(key, value, *args, **kwargs)
        if key.endswith(":0:owner"):
            self.set(key, "another", *args, **kwargs)
            return True
        return is_added


def test_two_that_begin_at_once_share_no_slot(settings: Any) -> None:
    path = f"{__name__}.Careless"
    settings.CACHES = {"default": {"BACKEND": path, "LOCATION": "careless"}}
    slot = Slot()
    assert slot.hold()
    assert slot._number == 1
