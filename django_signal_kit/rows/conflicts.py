"""The rows that an upsert is going to change: ``bulk_create(update_conflicts=True)``.

They are found by the columns in which a new row would be their equal. What another writer inserts
between this reading and the statement is changed as well, and nobody has read it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from operator import or_
from typing import Any, NamedTuple

from django.db import connections
from django.db.models import Field, Model, Q, QuerySet, UniqueConstraint

from django_signal_kit.rows.columns import Column, canonical_value, get_columns
from django_signal_kit.rows.database import Row, lock_rows
from django_signal_kit.rows.fields import may_change
from django_signal_kit.units.locking import lock_before_reading

# An OR of so many conditions is no expression too deep for SQLite.
_CHUNK = 200


class Upsert(NamedTuple):
    objs: Sequence[Model]
    #: Names of the fields that are written to a row that is there; receivers may add to it.
    update_fields: Sequence[str]
    #: Names of the fields by which it is found; None where every unique constraint counts.
    unique_fields: Sequence[str] | None

    def writes(self, column: Column) -> bool:
        return may_change(column.field, self.update_fields)


def read_conflicting(
    model: type[Model], upsert: Upsert, columns: Iterable[Column], using: str
) -> dict[int, Row]:
    """Id of an object -> the row that stands in its way, by attname; its key is there, too."""
    connection = connections[using]
    lock_before_reading(connection, model)
    known = get_columns(model)
    found: dict[int, Row] = {}
    for fields in _list_unique(model, upsert.unique_fields):
        unique = [known[field.attname] for field in fields]
        wanted = _group([obj for obj in upsert.objs if id(obj) not in found], unique)
        by_folded = {_fold(key): objs for key, objs in wanted.items()}
        keys = [known[field.attname] for field in model._meta.pk_fields]
        names = list(dict.fromkeys(column.attname for column in (*keys, *columns, *unique)))
        for condition in _make_conditions(unique, list(wanted)):
            rows: QuerySet[Any] = QuerySet(model, using=using).filter(condition)
            for row in lock_rows(rows, connection).values(*names):
                key = tuple(canonical_value(column, row[column.attname]) for column in unique)
                # A column may not tell capitals from small letters.
                for obj in wanted.get(key) or by_folded.get(_fold(key)) or ():
                    found.setdefault(id(obj), row)
    return found


def _list_unique(
    model: type[Model], names: Sequence[str] | None
) -> Iterator[Sequence[Field[Any, Any]]]:
    meta = model._meta
    if names:
        fields: list[Field[Any, Any]] = []
        for name in names:
            fields += meta.pk_fields if name == "pk" else [meta.get_field(name)]  # type: ignore[list-item]
        yield fields
        return
    yield meta.pk_fields
    for field in meta.concrete_fields:
        if field.unique and not field.primary_key:
            yield [field]
    together = [
        *meta.unique_together,
        *(
            constraint.fields
            for constraint in meta.constraints
            if isinstance(constraint, UniqueConstraint) and constraint.condition is None
        ),
    ]
    for some in together:
        if some:
            yield [meta.get_field(name) for name in some]  # type: ignore[misc]


def _group(objs: Iterable[Model], unique: list[Column]) -> dict[tuple[Any, ...], list[Model]]:
    """The objects by their values; but for those that equal nothing, or that nobody knows yet."""
    grouped: dict[tuple[Any, ...], list[Model]] = {}
    for obj in objs:
        key = tuple(canonical_value(column, getattr(obj, column.attname)) for column in unique)
        if not any(value is None or hasattr(value, "resolve_expression") for value in key):
            grouped.setdefault(key, []).append(obj)
    return grouped


def _make_conditions(unique: list[Column], keys: list[tuple[Any, ...]]) -> Iterator[Q]:
    for start in range(0, len(keys), _CHUNK):
        some = keys[start : start + _CHUNK]
        if len(unique) == 1:
            yield Q((f"{unique[0].attname}__in", [value for (value,) in some]))
        else:
            names = [column.attname for column in unique]
            yield reduce(or_, (Q(*zip(names, key, strict=True)) for key in some))


def _fold(key: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(value.casefold().rstrip() if isinstance(value, str) else value for value in key)
