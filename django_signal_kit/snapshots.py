"""What a row was before a write, and what it is after it.

Values are *canonical*: what reading the row back would give ("12.50" assigned to a decimal field
is ``Decimal("12.50")``). Deferred fields are never loaded one by one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from enum import Enum
from typing import Any

from django.db import connections
from django.db.models import (
    BinaryField,
    DecimalField,
    Field,
    FileField,
    JSONField,
    Model,
    QuerySet,
)
from django.db.models.fields import NOT_PROVIDED

from django_signal_kit.batching import UnitOfWork, get_unit
from django_signal_kit.locking import lock_before_reading

Row = Mapping[str, Any]

_FORCE_INSERT = "force_insert"
_TOGETHER = "together"
_CHUNK = 500

#: What is read before a write: model -> concrete fields. Filled by the registry.
old_fields: dict[type[Model], list[Field[Any, Any]]] = {}


def note_insert(unit: UnitOfWork) -> None:
    """The write is an INSERT by the caller's word; there is no old row to look for."""
    unit.notes[_FORCE_INSERT] = True


def note_together(unit: UnitOfWork, model: type[Model], instances: Iterable[Model]) -> None:
    """These instances are written together, so that their rows can be read together."""
    unit.notes.setdefault(_TOGETHER, {})[model] = instances


def note_read(unit: UnitOfWork, model: type[Model], rows: Iterable[Model]) -> None:
    """These instances have just been read and locked: they are what the database holds."""
    note_together(unit, model, rows)
    fields = old_fields.get(model, ())
    for row in rows:
        values = row.__dict__
        unit.notes["old", id(row)] = {
            field.attname: _detach(field, values[field.attname]) for field in fields
        }


def get_old_row(instance: Model, using: str) -> Row | None:
    """What the database holds for ``instance`` before the write in progress, by attname.

    One query, in the write's transaction and locked where there is one, for all fields that any
    receiver of the model asks for; the rows of one deletion are read together. ``None`` if there
    is no such row. Call it before the write; later calls give what was read then.
    """
    unit = get_unit()
    key = ("old", id(instance))
    if unit is not None and key in unit.notes:
        return unit.notes[key]  # type: ignore[no-any-return]
    if (
        unit is not None
        and type(instance) in unit.notes.get(_TOGETHER, ())
        and not unit.notes.get(_FORCE_INSERT)
    ):
        _read_together(unit, type(instance), using)
        return unit.notes.get(key)
    row = None
    if _may_exist(instance, unit):
        rows = _read(type(instance), [instance.pk], using)
        row = next(iter(rows.values()), None)
    if unit is not None:
        unit.notes[key] = row
    return row


def _may_exist(instance: Model, unit: UnitOfWork | None) -> bool:
    if not instance._is_pk_set():  # type: ignore[attr-defined]
        return False
    if unit is not None and unit.notes.get(_FORCE_INSERT):
        return False
    if not instance._state.adding:
        return True
    # Like Model.save(): a key that has a default is never looked up for a new instance.
    pk = instance._meta.pk
    return pk.default is NOT_PROVIDED and pk.db_default is NOT_PROVIDED


def _read_together(unit: UnitOfWork, model: type[Model], using: str) -> None:
    instances: dict[Any, list[Model]] = {}
    for instance in unit.notes[_TOGETHER][model]:
        instances.setdefault(instance.pk, []).append(instance)
        unit.notes["old", id(instance)] = None
    keys = list(instances)
    for start in range(0, len(keys), _CHUNK):
        for pk, row in _read(model, keys[start : start + _CHUNK], using).items():
            for instance in instances[pk]:
                unit.notes["old", id(instance)] = row


def _read(model: type[Model], keys: Sequence[Any], using: str) -> dict[Any, Row]:
    fields = old_fields.get(model) or list(model._meta.concrete_fields)
    connection = connections[using]
    rows: QuerySet[Any] = QuerySet(model, using=using)
    rows = rows.filter(pk=keys[0]) if len(keys) == 1 else rows.filter(pk__in=keys)
    lock_before_reading(connection, model)
    if connection.in_atomic_block and connection.features.has_select_for_update:
        features = connection.features
        rows = rows.select_for_update(
            of=("self",) if features.has_select_for_update_of else (),
            # A plain lock would block the insertion of rows that point here.
            no_key=features.has_select_for_no_key_update,
        )
    names = [field.attname for field in fields]
    return {
        pk: {
            field.attname: canonical_or_raw(field, value)
            for field, value in zip(fields, values, strict=True)
        }
        for pk, *values in rows.values_list("pk", *names)
    }


def get_new_row(instance: Model, fields: Iterable[Field[Any, Any]], using: str) -> Row:
    """What the database holds for ``instance`` after the write, by attname, for ``fields``.

    From memory where memory is certain to agree; expressions, defaults of the database, generated
    and oddly typed values are read back in one query.
    """
    row: dict[str, Any] = {}
    unsure: list[Field[Any, Any]] = []
    values = instance.__dict__
    for field in fields:
        value = values.get(field.attname, NOT_PROVIDED)
        try:
            row[field.attname] = canonical(field, value)
        except ValueError:
            unsure.append(field)
    if unsure:
        row.update(_read_back(instance, unsure, using))
    return row


def _read_back(instance: Model, fields: Sequence[Field[Any, Any]], using: str) -> Row:
    """Values after the write; those of rows that are written together in one query."""
    model, unit = type(instance), get_unit()
    names = tuple(field.attname for field in fields)
    together = () if unit is None else unit.notes.get(_TOGETHER, {}).get(model, ())
    cache: dict[Any, Any] = {} if unit is None else unit.notes.setdefault((model, names), {})
    if instance.pk not in cache:
        rows: QuerySet[Any] = QuerySet(model, using=using)
        keys = [other.pk for other in together] or [instance.pk]
        for start in range(0, len(keys), _CHUNK):
            chunk = rows.filter(pk__in=keys[start : start + _CHUNK])
            cache.update({pk: values for pk, *values in chunk.values_list("pk", *names)})
    found = cache.get(instance.pk, [None] * len(names))
    return {
        field.attname: canonical_or_raw(field, value)
        for field, value in zip(fields, found, strict=True)
    }


def canonical(field: Field[Any, Any], value: Any) -> Any:
    """``value`` as reading it back would give it. Raises ValueError if only the database knows."""
    if value is None:
        return None
    if value is NOT_PROVIDED or hasattr(value, "resolve_expression") or field.generated:
        raise ValueError("only the database knows")
    if isinstance(field, FileField):
        return str(value.name or "") if hasattr(value, "name") else str(value)
    if isinstance(field, JSONField):
        # A copy: the instance's own value may be changed in place later.
        return json.loads(json.dumps(value, cls=field.encoder), cls=field.decoder)
    if hasattr(field, "from_db_value"):
        raise ValueError("the field converts what it reads")
    if isinstance(field, BinaryField):
        return bytes(value)
    try:
        value = field.to_python(field.get_prep_value(value))
    except Exception as error:
        raise ValueError("the field does not understand the value") from error
    if isinstance(field, DecimalField) and isinstance(value, Decimal):
        return _exact(field, value)
    return _plain(value)


def _detach(field: Field[Any, Any], value: Any) -> Any:
    """What an instance has just been given by the database, apart from the instance."""
    if isinstance(field, FileField) and hasattr(value, "name"):
        return value.name or ""
    if isinstance(field, JSONField) and value is not None:
        return json.loads(json.dumps(value, cls=field.encoder), cls=field.decoder)
    return canonical_or_raw(field, value)


def canonical_or_raw(field: Field[Any, Any], value: Any) -> Any:
    """For what has just been read: canonical as it is, but for the type of the container."""
    if isinstance(field, BinaryField) and value is not None:
        return bytes(value)
    if isinstance(field, DecimalField) and isinstance(value, Decimal) and value.is_finite():
        return value.quantize(Decimal(1).scaleb(-(field.decimal_places or 0)))
    return value


def _exact(field: DecimalField[Any, Any], value: Decimal) -> Decimal:
    if not value.is_finite():
        return value
    rounded = value.quantize(Decimal(1).scaleb(-(field.decimal_places or 0)))
    if rounded != value:
        # Databases round in ways of their own.
        raise ValueError("more digits than the column keeps")
    return rounded


def _plain(value: Any) -> Any:
    # A member of TextChoices equals its value, but is of another type.
    return value.value if isinstance(value, Enum) else value
