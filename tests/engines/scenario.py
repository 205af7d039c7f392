"""A scenario: what a writer does, and what must hold in the end.

A scenario is a Django app in a folder of this one: its models, its ``signals.py`` with the
receivers, and a module ``scenario.py`` whose ``SCENARIO`` is a subclass of :class:`Scenario`.

Its ``__init__.py`` may have a function ``get_settings(folder)``: a dict of settings that the
project is to have too, with further apps as ``MORE_APPS``. And one named ``prepare(folder)``: a
context manager round the whole run, the place to start a server that works in that folder.
"""

from __future__ import annotations

import random
import uuid
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from django.apps import apps
from django.db import transaction


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

    def __init__(self, folder: Path) -> None:
        #: Where the run keeps its files.
        self.folder = folder

    @abstractmethod
    def write(self, chance: random.Random) -> None:
        """One unit of writes, committed or rolled back. Runs in several threads of a writer."""

    @abstractmethod
    def count(self) -> int:
        """How much has been done by workers so far; grows."""

    @abstractmethod
    def is_done(self) -> bool:
        """Has all been done that the rows now committed ask for?"""

    @abstractmethod
    def judge(self) -> Tally:
        """What became of the rows, when all workers have ended."""

    def calm_down(self) -> None:
        """The storm is over, if there is one: from now on only what was lost is not done."""
        (self.folder / "stormy").unlink(missing_ok=True)

    def keep_house(self) -> None:  # noqa: B027 most need none
        """What cron does beside ``relaytasks``, when two hours have passed and nobody works."""


class ChangedMindError(Exception):
    """Rolls a block back."""


class Rows(Scenario):
    """Rows are committed and rolled back, in each way that there is; something is done once for
    each of them, of which its key is known afterwards."""

    #: That of the rows, as "app.Model".
    label: str
    #: The field that has the key of a row.
    key = "key"
    #: Are bulk writes heard?
    hears_bulk = True

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.model = apps.get_model(self.label)

    @abstractmethod
    def list_flushed(self) -> Sequence[str]:
        """The keys for which it has been done, each as often as it was."""

    def write(self, chance: random.Random) -> None:
        way = chance.random()
        if way < 0.3 or (way < 0.5 and not self.hears_bulk):
            self._make(chance).save()
        elif way < 0.5:
            self.model._default_manager.bulk_create([self._make(chance) for _ in range(3)])
        else:
            with suppress(ChangedMindError), transaction.atomic():
                for _ in range(chance.randint(1, 3)):
                    self._write_in_block(chance)
                if way > 0.8:
                    raise ChangedMindError

    def _write_in_block(self, chance: random.Random) -> None:
        with suppress(ChangedMindError), transaction.atomic():
            self._make(chance).save()
            if chance.random() < 0.3:
                raise ChangedMindError

    def _make(self, chance: random.Random) -> Any:
        return self.make(make_key(chance))

    def make(self, key: str) -> Any:
        """A row of this key, which is not saved yet."""
        return self.model(**{self.key: key})

    def list_committed(self) -> Sequence[str]:
        return list(self.model._default_manager.values_list(self.key, flat=True))

    def count(self) -> int:
        return len(self.list_flushed())

    def is_done(self) -> bool:
        return set(self.list_flushed()).issuperset(self.list_committed())

    def judge(self) -> Tally:
        committed = set(self.list_committed())
        flushed = list(self.list_flushed())
        return Tally(
            committed=len(committed),
            flushed=len(committed & set(flushed)),
            lost=len(committed - set(flushed)),
            repeated=len(flushed) - len(set(flushed)),
            never_committed=len(set(flushed) - committed),
        )


def make_key(chance: random.Random) -> str:
    """Chosen by the writer, so that what was rolled back can be told from all else."""
    return str(uuid.UUID(int=chance.getrandbits(128), version=4))


def find(package: str, name: str, default: Any) -> Any:
    """What the package of a scenario says, which may say nothing."""
    return getattr(import_module(package), name, default)
