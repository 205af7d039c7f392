"""Writers: forked processes that write when they are told to, until they are killed."""

from __future__ import annotations

import mmap
import os
import random
import signal
import struct
import sys
import time
import traceback
from typing import Any, NoReturn

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from tests.engines.scenario import Scenario

_NUMBERS = struct.Struct("qqq")
#: For ever, as far as a writer is concerned.
_ALWAYS = 1 << 40


class Writer:
    """One process, and the memory that it shares with its parent: how many units it is told to
    write, whether its next COMMIT is its last, and how many it has written."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.memory = mmap.mmap(-1, _NUMBERS.size)
        # What one connection has begun, no two processes can go on with.
        connections.close_all()
        self.pid = os.fork()
        if not self.pid:
            self._live(scenario, random.Random(seed))

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

    def _live(self, scenario: Scenario, chance: random.Random) -> NoReturn:
        is_ending = False

        def end(*args: object) -> None:
            nonlocal is_ending
            is_ending = True

        status = 1
        try:
            signal.signal(signal.SIGTERM, end)
            while not is_ending:
                told, dies, done = self._read()
                if done == told:
                    time.sleep(0.005)
                    continue
                if dies:
                    die_after_commit()
                scenario.write(chance)
                struct.pack_into("q", self.memory, 16, done + 1)
            status = 0
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(status)


def die_after_commit() -> None:
    """From now on this process is killed when a COMMIT of its own has come back, before anything
    else can be done about it."""
    commit: Any = BaseDatabaseWrapper._commit  # type: ignore[attr-defined]

    def commit_and_die(self: Any) -> None:
        commit(self)
        os.kill(os.getpid(), signal.SIGKILL)

    BaseDatabaseWrapper._commit = commit_and_die  # type: ignore[attr-defined]


class Writers:
    def __init__(self, scenario: Scenario, count: int, seed: int) -> None:
        self.scenario = scenario
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
        return Writer(self.scenario, self.chance.getrandbits(32))
