"""What a scenario is: what a writer does, and what must hold in the end.

A scenario is a Django app in a folder of this one: its models, its ``signals.py`` with the
receivers, and a module ``scenario.py`` whose ``SCENARIO`` is a subclass of :class:`Scenario`.

Its ``__init__.py`` may have a function ``get_settings()``: a dict of settings that the project is
to have too. And one named ``prepare(folder)``: a context manager round the whole run, the place to
start a server and to tell its port in ``os.environ``.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Tally:
    """What became of the rows that were written."""

    committed: int
    flushed: int
    #: Committed, and not flushed.
    lost: int
    #: Flushed once more than needed.
    repeated: int
    #: Flushed, though it was rolled back.
    never_committed: int


class Scenario(ABC):
    """Made after Django is set up, in the process that drives and, by fork, in each writer."""

    #: Whether what a kill has lost comes back, so that all has to be there in the end.
    recovers: bool = True

    @abstractmethod
    def write(self, chance: random.Random) -> None:
        """One unit of writes, committed or rolled back. Runs in a writer."""

    @abstractmethod
    def count(self) -> int:
        """How much has been done by workers so far; grows."""

    @abstractmethod
    def is_done(self) -> bool:
        """Has all been done that the rows now committed ask for?"""

    @abstractmethod
    def judge(self) -> Tally:
        """What became of the rows, when all workers have ended."""


def find(package: str, name: str, default: Any) -> Any:
    """What the package of a scenario says, which may say nothing."""
    return getattr(import_module(package), name, default)
