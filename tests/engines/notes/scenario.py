"""Orders are committed and rolled back, in each way that there is; a task notes each one."""

from __future__ import annotations

import random
import uuid
from contextlib import suppress
from typing import Any

from django.apps import apps
from django.db import transaction

from tests.engines.scenario import Scenario, Tally


class _ChangedMindError(Exception):
    """Rolls a block back."""


class Notes(Scenario):
    label = "notes"
    #: Are bulk writes heard?
    hears_bulk = True

    def __init__(self) -> None:
        self.order = apps.get_model(self.label, "Order")
        self.note = apps.get_model(self.label, "Note")

    def write(self, chance: random.Random) -> None:
        way = chance.random()
        if way < 0.3 or (way < 0.5 and not self.hears_bulk):
            self._make(chance).save()
        elif way < 0.5:
            self.order.objects.bulk_create([self._make(chance) for _ in range(3)])
        else:
            with suppress(_ChangedMindError), transaction.atomic():
                for _ in range(chance.randint(1, 3)):
                    self._write_in_block(chance)
                if way > 0.8:
                    raise _ChangedMindError

    def _write_in_block(self, chance: random.Random) -> None:
        with suppress(_ChangedMindError), transaction.atomic():
            self._make(chance).save()
            if chance.random() < 0.3:
                raise _ChangedMindError

    def _make(self, chance: random.Random) -> Any:
        return self.order(key=str(uuid.UUID(int=chance.getrandbits(128), version=4)))

    def count(self) -> int:
        return int(self.note.objects.count())

    def is_done(self) -> bool:
        keys = self.note.objects.values("key")
        return not self.order.objects.exclude(key__in=keys).exists()

    def judge(self) -> Tally:
        committed = set(self.order.objects.values_list("key", flat=True))
        noted = list(self.note.objects.values_list("key", flat=True))
        return Tally(
            committed=len(committed),
            flushed=len(committed & set(noted)),
            lost=len(committed - set(noted)),
            repeated=len(noted) - len(set(noted)),
            never_committed=len(set(noted) - committed),
        )


SCENARIO = Notes
