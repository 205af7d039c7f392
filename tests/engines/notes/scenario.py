"""A task notes each order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from django.apps import apps

from tests.engines.scenario import Rows


class Notes(Rows):
    label = "notes.Order"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.note = apps.get_model(self.model._meta.app_label, "Note")

    def list_flushed(self) -> Sequence[str]:
        return list(self.note.objects.values_list("key", flat=True))

    def count(self) -> int:
        return int(self.note.objects.count())


SCENARIO = Notes
