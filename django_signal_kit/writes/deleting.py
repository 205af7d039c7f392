"""The statements of a deletion, heard where they are run.

Between ``pre_delete`` and the statement others may write the rows, or delete them: receivers, and
the deletion itself, which empties other foreign keys of a row that goes along.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.db.models.deletion import Collector
from django.db.models.sql import DeleteQuery

from django_signal_kit.rows import snapshots
from django_signal_kit.rows.asked import read_remaining
from django_signal_kit.rows.written import note_deleted
from django_signal_kit.units.statements import get_own_table
from django_signal_kit.units.unit import UnitOfWork, get_unit

_COLLECTOR = "collector"


def start(unit: UnitOfWork, collector: Collector) -> None:
    """``unit`` is the deletion of what has been collected."""
    unit.notes[_COLLECTOR] = collector
    unit.reads_late = True
    for model, instances in collector.data.items():
        snapshots.note_together(unit, model, instances)


def wrap_delete_batch(original: Callable[..., int]) -> Callable[..., int]:
    @wraps(original)
    def delete_batch(self: DeleteQuery, pk_list: list[Any], using: str) -> int:
        unit = get_unit()
        model: Any = self.model
        collector = None if unit is None else unit.notes.get(_COLLECTOR)
        if unit is None or collector is None or model not in collector.data:
            return original(self, pk_list, using)
        if model in snapshots.old_columns:
            instances = collector.data[model]
            read_remaining(unit, model, instances)
            note_deleted(unit, instances)
        count = original(self, pk_list, using)
        # The tables of multi-table parents have statements of their own.
        unit.note_statement(get_own_table(model))
        return count

    return delete_batch
