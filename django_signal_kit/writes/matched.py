"""The rows that an update is going to write: read and locked before it, told of before and after.

As many as fit into memory are instances that stay. If they are more, they are read part by part,
before the statement and after it, and put aside; receivers get instances while they iterate.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Protocol

from django.db.models import CompositePrimaryKey, Model, QuerySet

from django_signal_kit.rows import snapshots
from django_signal_kit.rows.columns import Column, canonical_key, get_columns
from django_signal_kit.rows.database import CHUNK as FEW
from django_signal_kit.rows.fields import assign
from django_signal_kit.rows.parts import Parts
from django_signal_kit.units.journal import CHUNK
from django_signal_kit.units.unit import UnitOfWork
from django_signal_kit.writes.newkeys import NewKeys, note_lost
from django_signal_kit.writes.selection import get_rows, lock


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
            keys |= new_keys.read(new_keys.ask(lock(get_rows(model, some, using), using)))
    if len(keys) <= CHUNK:
        # Those that a join gave more than once.
        locked = new_keys.ask(lock(get_rows(model, list(keys), using), using))
        return FewRows(unit, model, list(locked), new_keys)
    return ManyRows(unit, model, keys)


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
            rows = get_rows(self.model, keys, self.unit.using)
            found = set(rows.values_list("pk", flat=True))
            for row, old_key in zip(self.rows, self.keys, strict=True):
                if canonical_key(self.model, row.pk) not in found:
                    row.pk = old_key
                    note_lost(self.unit, row, values)

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
        rows = lock(get_rows(self.model, keys, self.unit.using), self.unit.using)
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
                note_lost(self.unit, row, self._values)
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
        for part in self.get_parts():
            yield from part

    def get_parts(self) -> Iterator[list[Model]]:
        """What is known of the rows of one is known until the next."""
        notes = self._matched.unit.notes
        for part in self._parts:
            known = set(notes)
            try:
                yield self._matched.make(part)
            finally:
                # They are known by their ids, which the next ones may get.
                for name in notes.keys() - known:
                    del notes[name]


def get_parts(rows: Iterable[Model]) -> Iterable[Collection[Model]]:
    """``rows`` as those parts that are in memory together."""
    return rows.get_parts() if isinstance(rows, Rows) else (rows,)  # type: ignore[return-value]


def _get_columns(model: type[Model], has_moved: object) -> list[Column]:
    """What is asked for of the old rows; their keys too, if they will have others."""
    known = get_columns(model)
    keys = [known[field.attname] for field in model._meta.pk_fields] if has_moved else []
    return [
        *keys,
        *(column for column in snapshots.old_columns.get(model, ()) if column not in keys),
    ]


def _split(items: list[Any], size: int) -> Iterator[list[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))
