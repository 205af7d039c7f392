"""Starts writers, and kills each of them at an instant that nobody has chosen.

    python -m tests.faults.nursery KILLS SEED

A writer is killed with SIGKILL, some writes after its start and then at any moment of the next
one; another takes its place. Ends with an error if a writer ends or hangs of its own accord.
"""

from __future__ import annotations

import mmap
import os
import random
import signal
import struct
import sys
import time
import traceback

import django

WRITERS = 3
_PATIENCE = 60
_COUNTER = struct.Struct("q")


class Writer:
    """A forked process that writes until it is killed."""

    def __init__(self, slot: int, seed: int) -> None:
        self.memory = mmap.mmap(-1, _COUNTER.size)
        self.pid = os.fork()
        if not self.pid:
            self._live(slot, seed)

    def _live(self, slot: int, seed: int) -> None:
        from tests.faults.writing import write

        try:
            for number in range(1, sys.maxsize):
                write(slot, seed + number)
                _COUNTER.pack_into(self.memory, 0, number)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(1)

    @property
    def writes(self) -> int:
        return int(_COUNTER.unpack_from(self.memory)[0])

    def await_writes(self, count: int) -> None:
        end = time.monotonic() + _PATIENCE
        while self.writes < count:
            if os.waitpid(self.pid, os.WNOHANG) != (0, 0):
                self.pid = 0
                sys.exit("A writer has ended by itself.")
            if time.monotonic() > end:
                sys.exit(f"A writer hangs after {self.writes} writes.")
            time.sleep(0.002)

    def kill(self) -> None:
        if not self.pid:
            return
        os.kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        if os.WTERMSIG(status) != signal.SIGKILL:
            sys.exit("A writer has ended by itself.")


def main(kills: int, seed: int) -> None:
    django.setup()
    chance = random.Random(seed)
    writers = [Writer(slot, chance.getrandbits(32)) for slot in range(WRITERS)]
    try:
        for _ in range(kills):
            slot = chance.randrange(WRITERS)
            writers[slot].await_writes(chance.randint(2, 8))
            time.sleep(chance.uniform(0, 0.01))
            writers[slot].kill()
            writers[slot] = Writer(slot, chance.getrandbits(32))
    finally:
        for writer in writers:
            writer.kill()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
