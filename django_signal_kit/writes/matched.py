"""The rows that an update is going to write: read and locked before it, told of before and after.

As many as fit into memory are instances that stay. If they are more, they are read part by part,
before the statement and after it, and put aside; receivers get instances while they iterate.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from django.core.exceptions import FieldError
from django.db import connections
from django.db.models import (
    CompositePrimaryKey,
    Expression,
    ExpressionWrapper,
    Field,
    Model,
    QuerySet,
)
from django.db.models.query import ModelIterable
from django.db.models.sql import Query

from django_signal_kit.rows import snapshots
from django_signal_kit.rows.canonical import Column, canonical_key, get_columns
from django_signal_kit.rows.database import CHUNK as FEW
from django_signal_kit.rows.database import lock_rows
from django_signal_kit.rows.fields import assign
from django_signal_kit.rows.parts import Parts
from django_signal_kit.rows.values import UNKNOWN
from django_signal_kit.units.journal import CHUNK
from django_signal_kit.units.locking import lock_before_reading
from django_signal_kit.units.unit import UnitOfWork

_NEW = "signal_kit_new_"


class Matched(Protocol):
    """Rows that match, with their keys before the update."""

    keys: list[Any]
    rows: Rows

    def move_on(self, values: Mapping[str, Any]) -> None:
        """The statement has been run with ``values``: ``rows`` are what they have become."""

    def close(self) -> None: ...


def find(
    unit: UnitOfWork, queryset: QuerySet[Any], pk_list: list[Any] | None, values: dict[str, Any]
) -> Matched:
    """Read and lock what ``queryset`` finds. ``pk_list``: the keys, if it finds them by those."""
    model, using = queryset.model, unit.using
    new_keys = NewKeys(model, values)
    if pk_list is None or len(pk_list) <= CHUNK:
        locked = new_keys.ask(lock(queryset, using))
        rows = list(locked[: CHUNK + 1])
        if len(rows) <= CHUNK:
            return FewRows(unit, model, rows, new_keys)
        keys = new_keys.read(locked.order_by("pk"))
    else:
        keys = {}
        for some in _split(pk_list, CHUNK):
            keys |= new_keys.read(new_keys.ask(lock(_get_rows(model, some, using), using)))
    if len(keys) <= CHUNK:
        # Those that a join gave more than once.
        locked = new_keys.ask(lock(_get_rows(model, list(keys), using), using))
        return FewRows(unit, model, list(locked), new_keys)
    return ManyRows(unit, model, keys)


class NewKeys:
    """What an update makes of the keys of its rows."""

    def __init__(self, model: type[Model], values: Mapping[str, Any]) -> None:
        self.fields: list[Field[Any, Any]] = [
            field for field in model._meta.pk_fields if field.name in values
        ]
        self._given = {field.attname: _plain(field, values[field.name]) for field in self.fields}
        self._asked: list[Field[Any, Any]] = []

    def ask(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """``rows``, with what the expressions among the new values come to."""
        self._asked = [
            field
            for field in self.fields
            if hasattr(self._given[field.attname], "resolve_expression")
        ]
        expressions: dict[str, Expression] = {
            _NEW + field.attname: ExpressionWrapper(self._given[field.attname], field)
            for field in self._asked
        }
        try:
            return rows.annotate(**expressions) if expressions else rows
        except FieldError:
            # One that only the statement itself can refuse.
            self._asked = []
            return rows

    @property
    def are_guessed(self) -> bool:
        """Are there expressions? They may come to something else in the statement."""
        return bool(self._asked)

    def take(self, row: Model) -> dict[str, Any]:
        """Attname -> new value, of the key of ``row``, which has been asked for it."""
        found = {
            attname: value
            for attname, value in self._given.items()
            if not hasattr(value, "resolve_expression")
        }
        for field in self._asked:
            found[field.attname] = row.__dict__.pop(_NEW + field.attname)
        return found

    def read(self, rows: QuerySet[Any]) -> dict[Any, Any]:
        """Key -> new key."""
        if not self.fields:
            return {key: key for key in rows.values_list("pk", flat=True)}
        names = [field.attname for field in rows.model._meta.pk_fields]
        keys: dict[Any, Any] = {}
        for row in rows.only(*names):
            key = row.pk
            changed = self.take(row)
            new = tuple(changed.get(name, getattr(row, name)) for name in names)
            new_key = new if isinstance(key, tuple) else new[0]
            keys[key] = canonical_key(rows.model, new_key)
        return keys


class FewRows:
    """All in memory, and the same instances before and after."""

    def __init__(
        self, unit: UnitOfWork, model: type[Model], rows: Iterable[Model], new_keys: NewKeys
    ) -> None:
        # A join gives a row as often as it joins.
        found = {row.pk: row for row in rows}
        self.unit = unit
        self.model = model
        self._are_guessed = new_keys.are_guessed
        self.keys = list(found)
        self.rows: Any = list(found.values())
        self._moved = [new_keys.take(row) for row in self.rows] if new_keys.fields else []
        self._key_names = {field.name for field in new_keys.fields}
        snapshots.note_read(unit, model, self.rows, _get_columns(model, self._moved))

    def move_on(self, values: Mapping[str, Any]) -> None:
        """Expressions stay, and are read back if they are asked for."""
        assigned: dict[str, Any] = {}
        for name, value in values.items():
            if name not in self._key_names:
                field: Any = self.model._meta.get_field(name)
                assigned[field.name if isinstance(value, Model) else field.attname] = value
        for row in self.rows:
            for name, value in assigned.items():
                assign(row, name, value)
        for row, changed in zip(self.rows, self._moved, strict=False):
            for name, value in changed.items():
                assign(row, name, value)
        if self._are_guessed:
            keys = [row.pk for row in self.rows]
            rows = _get_rows(self.model, keys, self.unit.using)
            found = set(rows.values_list("pk", flat=True))
            for row, old_key in zip(self.rows, self.keys, strict=True):
                if canonical_key(self.model, row.pk) not in found:
                    row.pk = old_key
                    _note_lost(self.unit, row, values)

    def close(self) -> None:
        pass


class ManyRows:
    """Put aside, and given part by part."""

    def __init__(self, unit: UnitOfWork, model: type[Model], keys: dict[Any, Any]) -> None:
        self.unit = unit
        self.model = model
        self.keys = list(keys)
        self._new_keys = list(keys.values())
        self._values: Mapping[str, Any] = {}
        self._has_moved = self.keys != self._new_keys
        self._names = [field.attname for field in model._meta.concrete_fields]
        self._parts = Parts()
        size = FEW if isinstance(model._meta.pk, CompositePrimaryKey) else CHUNK
        self._size = size
        for some in _split(self.keys, size):
            found = self._read(some)
            self._parts.add([(found[key], found[key]) for key in some if key in found])
        self.rows: Any = Rows(self, self._parts)

    def move_on(self, values: Mapping[str, Any]) -> None:
        parts = Parts()
        self._values = values
        key_names = [field.attname for field in self.model._meta.pk_fields]
        positions = [self._names.index(name) for name in key_names]
        new_keys = dict(zip(self.keys, self._new_keys, strict=True))
        is_composite = len(positions) > 1
        for part in self._parts:
            old_keys = [
                tuple(old[at] for at in positions) if is_composite else old[positions[0]]
                for old, _ in part
            ]
            found = self._read([new_keys[key] for key in old_keys])
            parts.add(
                [
                    (old, found.get(new))
                    for (old, _), key in zip(part, old_keys, strict=True)
                    if (new := new_keys[key]) in found or self._has_moved
                ]
            )
        self._parts.close()
        self._parts = parts
        self.rows = Rows(self, parts)

    def close(self) -> None:
        self._parts.close()

    def _read(self, keys: list[Any]) -> dict[Any, tuple[Any, ...]]:
        rows = lock(_get_rows(self.model, keys, self.unit.using), self.unit.using)
        return {
            pk: tuple(bytes(value) if value.__class__ is memoryview else value for value in values)
            for pk, *values in rows.values_list("pk", *self._names)
        }

    def make(self, part: list[tuple[tuple[Any, ...], tuple[Any, ...] | None]]) -> list[Model]:
        """Instances that were loaded before the update, and hold what they have become."""
        rows = []
        for old, now in part:
            row = self.model.from_db(self.unit.using, self._names, old)
            if now is None:
                _note_lost(self.unit, row, self._values)
            elif now is not old:
                for name, value in zip(self._names, now, strict=True):
                    assign(row, name, value)
            rows.append(row)
        columns = [
            (column, self._names.index(column.attname))
            for column in _get_columns(self.model, self._has_moved)
        ]
        snapshots.note_old(
            self.unit,
            self.model,
            rows,
            [{column.attname: column.keep(old[at]) for column, at in columns} for old, _ in part],
        )
        return rows


class Rows:
    """Rows that are too many to be in memory at once: each iteration makes new instances."""

    def __init__(self, matched: ManyRows, parts: Parts) -> None:
        self._matched = matched
        self._parts = parts

    def __len__(self) -> int:
        return len(self._matched.keys)

    def __iter__(self) -> Iterator[Model]:
        notes = self._matched.unit.notes
        for part in self._parts:
            known = set(notes)
            try:
                yield from self._matched.make(part)
            finally:
                # They are known by their ids, which the next ones may get.
                for name in notes.keys() - known:
                    del notes[name]


def is_of_sets(query: Query) -> bool:
    """Does the condition look at groups or windows of rows?"""
    return query.group_by is not None or query.where.contains_over_clause


def is_alone(query: Query) -> bool:
    """Is it a query of one table? The condition then goes into the UPDATE as it is."""
    query = query.clone()
    query.get_initial_alias()
    return query.count_active_tables() == 1 and not query.get_meta().parents


def _get_columns(model: type[Model], has_moved: object) -> list[Column]:
    """What is asked for of the old rows; their keys too, if they will have others."""
    known = get_columns(model)
    keys = [known[field.attname] for field in model._meta.pk_fields] if has_moved else []
    return [
        *keys,
        *(column for column in snapshots.old_columns.get(model, ()) if column not in keys),
    ]


def _note_lost(unit: UnitOfWork, row: Model, values: Mapping[str, Any]) -> None:
    """The key that the update has given to ``row`` is another one than was asked for beforehand,
    and nobody finds the row again."""
    keys = row._meta.pk_fields
    unknown: dict[str, Any] = {}
    for name, value in values.items():
        field: Any = row._meta.get_field(name)
        if field in keys or hasattr(value, "resolve_expression"):
            unknown[field.attname] = UNKNOWN
        else:
            assign(row, field.name if isinstance(value, Model) else field.attname, value)
    snapshots.note_new(unit, row, unknown)


def _plain(field: Field[Any, Any], value: Any) -> Any:
    return value.prepare_database_save(field) if isinstance(value, Model) else value


def _get_rows(model: type[Model], keys: list[Any], using: str) -> QuerySet[Any]:
    return QuerySet(model, using=using).filter(pk__in=keys)


def _split(items: list[Any], size: int) -> Iterator[list[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def lock(queryset: QuerySet[Any], using: str) -> QuerySet[Any]:
    """The rows as they are, to be read and locked where the database can, so that what is read is
    what is updated."""
    rows = queryset._chain()  # type: ignore[attr-defined]
    query = rows.query
    if not query.distinct_fields or is_alone(query):
        # It changes nothing: keys are distinct. What Django 6.1 refuses, it ignored before.
        query.distinct, query.distinct_fields = False, ()
    is_composite = isinstance(queryset.model._meta.pk, CompositePrimaryKey)
    if is_of_sets(query) or query.distinct or query.values_select or is_composite:
        # What is grouped cannot be locked, nor can Django name the table of a composite key; the
        # keys are found by a subquery.
        rows = QuerySet(queryset.model, using=using).filter(pk__in=rows.order_by().values("pk"))
        query = rows.query
    rows._iterable_class = ModelIterable
    rows._prefetch_related_lookups = ()
    query.select_related = False
    query.clear_ordering(force=True)
    query.clear_deferred_loading()
    rows = rows.using(using)
    lock_before_reading(connections[using], queryset.model)
    return lock_rows(rows, connections[using])
