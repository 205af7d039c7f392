"""What a statement has written, taken as soon as it has been run.

Before the receivers of the signal that follows are called other receivers may change the instance,
give it another key, or save it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.db.models import Model
from django.db.models.base import ModelState

from django_signal_kit.rows import memory
from django_signal_kit.rows.asked import has_asked
from django_signal_kit.rows.columns import Column, get_columns
from django_signal_kit.rows.fields import is_in_own_table, may_change
from django_signal_kit.rows.snapshots import get_sure_values, note_new, read_back
from django_signal_kit.units.unit import UnitOfWork, get_unit

#: Model -> the columns that receivers of its writes ask for, its keys among them.
columns: dict[type[Model], list[Column]] = {}

_ATTRIBUTES = "attributes"
_ORIGINAL = "signal_kit_original"


def note_written(
    unit: UnitOfWork,
    instance: Model,
    names: Iterable[str] | None = None,
    *,
    raw: bool = False,
    is_asked: bool = False,
) -> None:
    """A statement has just written the fields ``names`` of ``instance``, or all of them.

    ``raw``: those of its own table, without the parents'. What only the database knows is read
    now if it ``is_asked`` for, here or ahead; else when it will be.
    """
    unit.notes[_ATTRIBUTES, id(instance)] = instance.__dict__.copy()
    model = type(instance)
    asked: Sequence[Column] = columns.get(model, ())
    if not asked:
        return
    if names is not None:
        names = {*names, *(field.attname for field in model._meta.pk_fields)}
        asked = [column for column in asked if may_change(column.field, names)]
    if raw:
        asked = [column for column in asked if is_in_own_table(column.field, instance)]
    row, unsure = get_sure_values(instance, asked)
    if unsure and (is_asked or has_asked(unit, model)):
        row.update(read_back(instance, unsure, unit.using))
        unsure = []
    note_new(unit, instance, row)
    if model in memory.kept:
        memory.move_on(unit, instance, row, [column.attname for column in unsure])


def is_noted(instance: Model) -> bool:
    """Is it known what the write in progress has written of ``instance``?"""
    unit = get_unit()
    return unit is not None and (_ATTRIBUTES, id(instance)) in unit.notes


def as_written(instance: Model) -> Model:
    """``instance``, or what it was when its statement had been run, if it has changed since."""
    unit = get_unit()
    kept = None if unit is None else unit.notes.get((_ATTRIBUTES, id(instance)))
    if kept is None or _is_same(instance, kept):
        return instance
    return _make(instance, kept)


def get_id(instance: Model) -> int:
    """That of ``instance``, or of the one that it is :func:`as_written`."""
    return instance._state.__dict__.get(_ORIGINAL) or id(instance)


def note_deleted(unit: UnitOfWork, instances: Iterable[Model]) -> None:
    """These rows are about to be deleted."""
    for instance in instances:
        unit.notes[_ATTRIBUTES, id(instance)] = instance.__dict__.copy()


def _is_same(instance: Model, kept: dict[str, Any]) -> bool:
    values = instance.__dict__
    try:
        if values == kept:
            return True
    except Exception:
        # Anything may be a value, and not everything can be compared.
        return False
    # Relations and cached properties come and go without a change of the row.
    return all(values.get(name) is kept.get(name) for name in get_columns(type(instance)))


def _make(instance: Model, values: dict[str, Any]) -> Model:
    made = type(instance).__new__(type(instance))
    made.__dict__.update(values)
    made._state = state = ModelState()
    state.__dict__.update(instance._state.__dict__)
    state.__dict__[_ORIGINAL] = id(instance)
    changed = {
        column.field.name
        for name, column in get_columns(type(instance)).items()
        if instance.__dict__.get(name) is not values.get(name)
    }
    state.fields_cache = {
        name: row for name, row in instance._state.fields_cache.items() if name not in changed
    }
    return made
