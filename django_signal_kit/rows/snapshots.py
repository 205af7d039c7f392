"""What a row was before a write, and what it is after it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db.models import Field, Model
from django.db.models.fields import NOT_PROVIDED

from django_signal_kit.rows.columns import Column, canonical_key, get_columns
from django_signal_kit.rows.conflicts import Upsert, read_conflicting
from django_signal_kit.rows.database import Row, read_row, read_rows
from django_signal_kit.rows.values import UNKNOWN
from django_signal_kit.units.unit import UnitOfWork, get_unit

_FORCE_INSERT = "force_insert"
_UPSERT = "upsert"
_NEW = "new"
_FORCE_UPDATE = "force_update"
_TOGETHER = "together"
_READ = "read"

#: What is read before a write: model -> its columns. Filled by the registry.
old_columns: dict[type[Model], list[Column]] = {}


def note_insert(unit: UnitOfWork) -> None:
    """The write is an INSERT by the caller's word; there is no old row to look for."""
    unit.notes[_FORCE_INSERT] = True


def note_upsert(unit: UnitOfWork, upsert: Upsert) -> None:
    """The write inserts rows, or changes those that stand in their way."""
    unit.notes[_UPSERT] = upsert


def is_upsert() -> bool:
    """Is an upsert in progress? It knows of no row whether it is new."""
    unit = get_unit()
    return unit is not None and _UPSERT in unit.notes


def get_upserted_fields() -> Sequence[str] | None:
    """Names of the fields that the upsert in progress writes to a row that is there; None if
    there is no upsert."""
    unit = get_unit()
    upsert: Upsert | None = None if unit is None else unit.notes.get(_UPSERT)
    return None if upsert is None else upsert.update_fields


def note_update(unit: UnitOfWork) -> None:
    """The write is an UPDATE by the caller's word, though the instance may have been made anew."""
    unit.notes[_FORCE_UPDATE] = True


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
    if columns is None:
        columns = old_columns.get(model, ())
    known = [(column, column.attname, column.plain) for column in columns]
    old = [
        {
            name: value
            if (value := row.__dict__.get(name, NOT_PROVIDED)).__class__ is plain
            else column.detach(row)
            for column, name, plain in known
        }
        for row in rows
    ]
    note_old(unit, model, rows, old)


def note_old(
    unit: UnitOfWork, model: type[Model], rows: Iterable[Model], old: Iterable[Row]
) -> None:
    """What is known of each of ``rows``, which are written together, before the write."""
    note_together(unit, model, rows)
    for row, values in zip(rows, old, strict=True):
        unit.notes["old", id(row)] = values


def note_new(unit: UnitOfWork, row: Model, values: Row) -> None:
    """What these columns of ``row`` are after the write, whatever the instance holds."""
    key = (_NEW, id(row))
    noted = unit.notes.get(key)
    unit.notes[key] = values if noted is None else {**values, **noted}


def get_old_row(instance: Model, using: str) -> Row | None:
    """What the database holds for ``instance`` before the write in progress, by attname.

    One query, in the write's transaction and locked where there is one, for all fields that any
    receiver of the model asks for; the rows of one deletion are read together. ``None`` if there
    is no such row. Call it before the write; later calls give what was read then, or again when
    the statement came because another had written the row: see :mod:`.asked`.
    """
    unit = get_unit()
    model = type(instance)
    if unit is None:
        return _read(instance, using) if _may_exist(instance) else None
    key = ("old", id(instance))
    notes = unit.notes
    if key not in notes:
        notes[_READ, model] = unit.journal.statements.count
        if _FORCE_INSERT in notes:
            notes[key] = None
        elif _UPSERT in notes:
            _read_conflicting(unit, model, using)
        elif model in notes.get(_TOGETHER, ()):
            _read_together(unit, model, using)
        else:
            may_exist = _may_exist(instance, is_update=_FORCE_UPDATE in notes)
            notes[key] = _read(instance, using) if may_exist else None
    return notes.get(key)


def is_written_together(unit: UnitOfWork, model: type[Model]) -> bool:
    """Are rows of ``model`` written together in this unit?"""
    return model in unit.notes.get(_TOGETHER, ())


def get_models_together(unit: UnitOfWork) -> Iterable[type[Model]]:
    """The models of which rows are written together in this unit."""
    return unit.notes.get(_TOGETHER, ())  # type: ignore[no-any-return]


def get_reading(unit: UnitOfWork, model: type[Model]) -> int | None:
    """When old rows of ``model`` were read, as a place in the order of the statements."""
    found: int | None = unit.notes.get((_READ, model))
    return found


def forget_old(unit: UnitOfWork, instances: Iterable[Model]) -> None:
    """What these rows were is to be read again."""
    for instance in instances:
        unit.notes.pop(("old", id(instance)), None)


def has_no_row(instance: Model) -> bool:
    """Has the row been looked for before the write in progress, and was not there?"""
    unit = get_unit()
    return unit is not None and unit.notes.get(("old", id(instance)), UNKNOWN) is None


def get_locked_row(instance: Model, using: str) -> Row | None:
    """:func:`get_old_row`, read and locked in the write's transaction; one is opened if there is
    none, by which what has been read already may have changed since."""
    unit = get_unit()
    if unit is not None and unit.open_transaction():
        for other in get_together(instance):
            unit.notes.pop(("old", id(other)), None)
    return get_old_row(instance, using)


def _may_exist(instance: Model, *, is_update: bool = False) -> bool:
    if not instance._is_pk_set():  # type: ignore[attr-defined]
        return False
    if is_update or not instance._state.adding:
        return True
    # Like Model.save(): a key that has a default is never looked up for a new instance.
    return not all(
        field.has_default() or field.has_db_default() for field in instance._meta.pk_fields
    )


def _get_old_columns(model: type[Model]) -> Sequence[Column]:
    return old_columns.get(model) or list(get_columns(model).values())


def _read(instance: Model, using: str) -> Row | None:
    model = type(instance)
    return read_row(model, canonical_key(model, instance.pk), _get_old_columns(model), using)


def _read_together(unit: UnitOfWork, model: type[Model], using: str) -> None:
    instances: dict[Any, list[Model]] = {}
    for instance in unit.notes[_TOGETHER][model]:
        unit.notes["old", id(instance)] = None
        # Who has deleted it in the meantime has taken its key.
        if instance._is_pk_set():
            instances.setdefault(canonical_key(model, instance.pk), []).append(instance)
    rows = read_rows(model, list(instances), _get_old_columns(model), using)
    for pk, row in rows.items():
        for instance in instances.get(canonical_key(model, pk), ()):
            unit.notes["old", id(instance)] = row


def _read_conflicting(unit: UnitOfWork, model: type[Model], using: str) -> None:
    upsert: Upsert = unit.notes[_UPSERT]
    found: Mapping[int, Row] = {}
    if not unit.done:
        found = read_conflicting(model, upsert, _get_old_columns(model), using)
    for obj in upsert.objs:
        unit.notes["old", id(obj)] = found.get(id(obj))


def get_new_row(instance: Model, fields: Iterable[Field[Any, Any]], using: str) -> Row:
    """What the database holds for ``instance`` after the write, by attname, for ``fields``.

    From memory where memory is certain to agree; expressions, defaults of the database, generated
    and oddly typed values are read back in one query.
    """
    columns = get_columns(type(instance))
    return get_new_values(instance, [columns[field.attname] for field in fields], using)


def get_new_values(instance: Model, columns: Sequence[Column], using: str) -> Row:
    """:func:`get_new_row` for columns."""
    unit = get_unit()
    if unit is None:
        return _get_new_values(instance, columns, using)
    notes = unit.notes
    known: Row | None = notes.get((_NEW, id(instance)))
    if _UPSERT in notes:
        # Of a row that was there it leaves the other columns as they were.
        upsert, old = notes[_UPSERT], notes.get(("old", id(instance))) or {}
        kept = [column.attname for column in columns if not upsert.writes(column)]
        known = {**(known or {}), **{name: old[name] for name in kept if name in old}}
    if not known:
        return _get_new_values(instance, columns, using)
    try:
        return {column.attname: known[column.attname] for column in columns}
    except KeyError:
        unknown = [column for column in columns if column.attname not in known]
    row = {column.attname: known[column.attname] for column in columns if column not in unknown}
    return row | _get_new_values(instance, unknown, using)


def _get_new_values(instance: Model, columns: Sequence[Column], using: str) -> dict[str, Any]:
    row, unsure = get_sure_values(instance, columns)
    if unsure:
        row.update(read_back(instance, unsure, using))
    return row


def get_sure_values(
    instance: Model, columns: Iterable[Column]
) -> tuple[dict[str, Any], list[Column]]:
    """The values that memory is certain of, by attname, and the columns of the others."""
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
    return row, unsure


def read_back(instance: Model, columns: Sequence[Column], using: str) -> Row:
    """Values after the write; those of rows that are written together in one query."""
    model, unit = type(instance), get_unit()
    together = () if unit is None else unit.notes.get(_TOGETHER, {}).get(model, ())
    names = tuple(column.attname for column in columns)
    cache: dict[Any, Row] = {} if unit is None else unit.notes.setdefault((model, names), {})
    key = canonical_key(model, instance.pk)
    if key not in cache:
        keys = [canonical_key(model, other.pk) for other in together] or [key]
        rows = read_rows(model, keys, columns, using)
        if len(keys) > 1:
            rows = {canonical_key(model, pk): row for pk, row in rows.items()}
        elif rows:
            # Found by this very key, be it equal to no other.
            rows = dict(zip([key], rows.values(), strict=True))
        cache.update(rows)
    return cache.get(key) or dict.fromkeys(names)
