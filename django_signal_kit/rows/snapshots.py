"""What a row was before a write, and what it is after it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.db.models import Field, Model
from django.db.models.fields import NOT_PROVIDED

from django_signal_kit.rows.canonical import Column, get_columns
from django_signal_kit.rows.database import Row, read_row, read_rows
from django_signal_kit.units.unit import UnitOfWork, get_unit

_FORCE_INSERT = "force_insert"
_TOGETHER = "together"

#: What is read before a write: model -> its columns. Filled by the registry.
old_columns: dict[type[Model], list[Column]] = {}


def note_insert(unit: UnitOfWork) -> None:
    """The write is an INSERT by the caller's word; there is no old row to look for."""
    unit.notes[_FORCE_INSERT] = True


def note_together(unit: UnitOfWork, model: type[Model], instances: Iterable[Model]) -> None:
    """These instances are written together, so that their rows can be read together."""
    unit.notes.setdefault(_TOGETHER, {})[model] = instances


def get_together(instance: Model) -> Iterable[Model]:
    """``instance`` and those of its model that are written together with it."""
    unit = get_unit()
    together = {} if unit is None else unit.notes.get(_TOGETHER, {})
    return together.get(type(instance), (instance,))  # type: ignore[no-any-return]


def note_read(
    unit: UnitOfWork,
    model: type[Model],
    rows: Iterable[Model],
    columns: Sequence[Column] | None = None,
) -> None:
    """These instances have just been read and locked: they are what the database holds.

    ``columns``: those that will be asked for; by default what receivers of the model ask for.
    """
    note_together(unit, model, rows)
    if columns is None:
        columns = old_columns.get(model, ())
    known = [(column, column.attname, column.plain) for column in columns]
    for row in rows:
        values = row.__dict__
        unit.notes["old", id(row)] = {
            name: value
            if (value := values.get(name, NOT_PROVIDED)).__class__ is plain
            else column.detach(row)
            for column, name, plain in known
        }


def get_old_row(instance: Model, using: str) -> Row | None:
    """What the database holds for ``instance`` before the write in progress, by attname.

    One query, in the write's transaction and locked where there is one, for all fields that any
    receiver of the model asks for; the rows of one deletion are read together. ``None`` if there
    is no such row. Call it before the write; later calls give what was read then.
    """
    unit = get_unit()
    model = type(instance)
    if unit is None:
        return _read(instance, using) if _may_exist(instance) else None
    key = ("old", id(instance))
    notes = unit.notes
    if key not in notes:
        if _FORCE_INSERT in notes:
            notes[key] = None
        elif model in notes.get(_TOGETHER, ()):
            _read_together(unit, model, using)
        else:
            notes[key] = _read(instance, using) if _may_exist(instance) else None
    return notes.get(key)


def _may_exist(instance: Model) -> bool:
    if not instance._is_pk_set():  # type: ignore[attr-defined]
        return False
    if not instance._state.adding:
        return True
    # Like Model.save(): a key that has a default is never looked up for a new instance.
    pk = instance._meta.pk
    return pk.default is NOT_PROVIDED and pk.db_default is NOT_PROVIDED


def _get_old_columns(model: type[Model]) -> Sequence[Column]:
    return old_columns.get(model) or list(get_columns(model).values())


def _read(instance: Model, using: str) -> Row | None:
    model = type(instance)
    return read_row(model, instance.pk, _get_old_columns(model), using)


def _read_together(unit: UnitOfWork, model: type[Model], using: str) -> None:
    instances: dict[Any, list[Model]] = {}
    for instance in unit.notes[_TOGETHER][model]:
        instances.setdefault(instance.pk, []).append(instance)
        unit.notes["old", id(instance)] = None
    rows = read_rows(model, list(instances), _get_old_columns(model), using)
    for pk, row in rows.items():
        for instance in instances[pk]:
            unit.notes["old", id(instance)] = row


def get_new_row(instance: Model, fields: Iterable[Field[Any, Any]], using: str) -> Row:
    """What the database holds for ``instance`` after the write, by attname, for ``fields``.

    From memory where memory is certain to agree; expressions, defaults of the database, generated
    and oddly typed values are read back in one query.
    """
    columns = get_columns(type(instance))
    return get_new_values(instance, [columns[field.attname] for field in fields], using)


def get_new_values(instance: Model, columns: Sequence[Column], using: str) -> Row:
    """:func:`get_new_row` for columns."""
    row: dict[str, Any] = {}
    unsure: list[Column] = []
    values = instance.__dict__
    for column in columns:
        name = column.attname
        value = values.get(name, NOT_PROVIDED)
        if value.__class__ is column.plain:
            row[name] = value
            continue
        if column.has_own_attribute:
            value = column.get(instance)
        try:
            row[name] = column.canonical(value)
        except ValueError:
            unsure.append(column)
    if unsure:
        row.update(_read_back(instance, unsure, using))
    return row


def _read_back(instance: Model, columns: Sequence[Column], using: str) -> Row:
    """Values after the write; those of rows that are written together in one query."""
    model, unit = type(instance), get_unit()
    together = () if unit is None else unit.notes.get(_TOGETHER, {}).get(model, ())
    names = tuple(column.attname for column in columns)
    cache: dict[Any, Row] = {} if unit is None else unit.notes.setdefault((model, names), {})
    if instance.pk not in cache:
        keys = [other.pk for other in together] or [instance.pk]
        cache.update(read_rows(model, keys, columns, using))
    return cache.get(instance.pk) or dict.fromkeys(names)
