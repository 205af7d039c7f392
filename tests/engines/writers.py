"""Writers: forked processes that write when they are told to, until they are killed."""

from __future__ import annotations

import mmap
import os
import random
import signal
import struct
import sys
import threading
import time
import traceback
from typing import Any, NoReturn

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from tests.engines.scenario import Scenario

_NUMBERS = struct.Struct("qqq")
#: For ever, as far as a writer is concerned.
_ALWAYS = 1 << 40
_COMMIT: Any = BaseDatabaseWrapper._commit  # type: ignore[attr-defined]


class Writer:
    """One process of some threads, and the memory that it shares with its parent: how many units
    it is told to write, whether its next COMMIT is its last, and how many it has written."""

    def __init__(self, scenario: Scenario, threads: int, seed: int) -> None:
        self.memory = mmap.mmap(-1, _NUMBERS.size)
        # What one connection has begun, no two processes can go on with.
        connections.close_all()
        self.pid = os.fork()
        if not self.pid:
            self._live(scenario, threads, random.Random(seed))

    def tell(self, units: int, *, dies: bool = False) -> None:
        told, _, _ = self._read()
        struct.pack_into("qq", self.memory, 0, told + units, dies)

    @property
    def is_idle(self) -> bool:
        told, _, done = self._read()
        return done == told

    def kill(self, kind: signal.Signals = signal.SIGKILL) -> int:
        """Returns the status with which it has ended."""
        os.kill(self.pid, kind)
        return self.wait()

    def wait(self) -> int:
        return os.waitpid(self.pid, 0)[1]

    def _read(self) -> tuple[int, int, int]:
        told, dies, done = _NUMBERS.unpack_from(self.memory)
        return told, dies, done

    def _live(self, scenario: Scenario, threads: int, chance: random.Random) -> NoReturn:
        ending = threading.Event()
        status = 1
        try:
            signal.signal(signal.SIGTERM, lambda *args: ending.set())
            hands = [
                _Hand(self, scenario, random.Random(chance.getrandbits(32)))
                for _ in range(threads)
            ]
            for hand in hands:
                hand.start()
            ending.wait()
            for hand in hands:
                hand.is_ending = True
                hand.join()
            status = int(any(hand.has_failed for hand in hands))
        finally:
            sys.stderr.flush()
            os._exit(status)


class _Hand(threading.Thread):
    """One of the threads of a writer."""

    _lock = threading.Lock()
    _taken = 0

    def __init__(self, writer: Writer, scenario: Scenario, chance: random.Random) -> None:
        super().__init__(daemon=True)
        self.writer = writer
        self.scenario = scenario
        self.chance = chance
        self.is_ending = self.has_failed = False

    def run(self) -> None:
        try:
            while not self.is_ending:
                if self._take():
                    self.scenario.write(self.chance)
                    self._note_done()
                else:
                    time.sleep(0.005)
        except BaseException:
            self.has_failed = True
            traceback.print_exc()
        finally:
            connections.close_all()

    def _take(self) -> bool:
        """Is there another unit to be written?"""
        with _Hand._lock:
            told, dies, _ = self.writer._read()
            is_told = _Hand._taken < told
            _Hand._taken += is_told
            if dies:
                die_after_commit()
            return is_told

    def _note_done(self) -> None:
        with _Hand._lock:
            _, _, done = self.writer._read()
            struct.pack_into("q", self.writer.memory, 16, done + 1)


def die_after_commit() -> None:
    """From now on this process is killed when a COMMIT of its own has come back, before anything
    else can be done about it."""

    def commit_and_die(self: Any) -> None:
        _COMMIT(self)
        os.kill(os.getpid(), signal.SIGKILL)

    BaseDatabaseWrapper._commit = commit_and_die  # type: ignore[attr-defined]


class Writers:
    def __init__(self, scenario: Scenario, count: int, threads: int, seed: int) -> None:
        self.scenario = scenario
        self.threads = threads
        self.chance = random.Random(seed)
        self.writers = [self._make() for _ in range(count)]

    def tell(self, units: int) -> None:
        """Have so many more units of writes written."""
        for number in range(units):
            self.writers[number % len(self.writers)].tell(1)

    @property
    def are_idle(self) -> bool:
        """Has all been written that they were told?"""
        return all(writer.is_idle for writer in self.writers)

    def kill_one(self) -> None:
        """Kill one of them, wherever it is, and put another in its place."""
        index = self.chance.randrange(len(self.writers))
        if not os.WIFSIGNALED(self.writers[index].kill()):
            sys.exit("A writer has ended by itself.")
        self.writers[index] = self._make()

    def kill_one_after_commit(self) -> None:
        """Have one of them write until it is killed between a COMMIT and what follows upon it."""
        index = self.chance.randrange(len(self.writers))
        self.writers[index].tell(_ALWAYS, dies=True)
        if not os.WIFSIGNALED(self.writers[index].wait()):
            sys.exit("A writer has ended by itself.")
        self.writers[index] = self._make()

    def end(self) -> None:
        """Let each of them end what it has begun."""
        if any(writer.kill(signal.SIGTERM) for writer in self.writers):
            sys.exit("A writer has failed.")
        self.writers = []

    def kill(self) -> None:
        for writer in self.writers:
            writer.kill()
        self.writers = []

    def _make(self) -> Writer:
        return Writer(self.scenario, self.threads, self.chance.getrandbits(32))
