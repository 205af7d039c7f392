"""Numbers that any thread may count up without a lock."""

from __future__ import annotations

from itertools import count


class Ticks:
    """Counted by a call in C, which is atomic. Reading is for one thread at a time."""

    def __init__(self) -> None:
        #: Counts one.
        self.tick = count().__next__
        self.begin_anew()

    def begin_anew(self) -> None:
        self._start = self.tick() + 1

    def read(self) -> int:
        # It tells its number by counting one more.
        found = self.tick() - self._start
        self._start += 1
        return found
