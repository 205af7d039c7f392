"""The writes about which Django is silent: bulk_create() and bulk_update().

Their async twins and related managers come through here, too. A covered one is a unit of work with
a signal before and one after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from functools import wraps
from typing import Any, NamedTuple

from django.db import connections
from django.db.models import Model, QuerySet

from django_signal_kit import signals
from django_signal_kit.rows import memory, snapshots
from django_signal_kit.rows.asked import read_asked
from django_signal_kit.rows.columns import canonical_key
from django_signal_kit.rows.conflicts import Upsert
from django_signal_kit.rows.database import CHUNK
from django_signal_kit.units.statements import get_tables
from django_signal_kit.units.unit import UnitOfWork
from django_signal_kit.writes import late, linkrows
from django_signal_kit.writes.instances import UpdateFields, remember
from django_signal_kit.writes.late import waiting
from django_signal_kit.writes.migrating import is_silent
from django_signal_kit.writes.noting import note_all, note_made
from django_signal_kit.writes.selection import lock

#: Model -> does a receiver that hears bulk writes of it flush before the commit?
covered: dict[type[Model], bool] = {}


class _Statements(NamedTuple):
    """Those of a bulk_update(): it calls update() for each batch, which is not heard again."""

    model: type[Model]
    #: What each of them finds, by its keys; None if they find all that is there.
    found: list[set[Any]] | None


_hushed: ContextVar[_Statements | None] = ContextVar("signal_kit_hushed", default=None)


def is_hushed(queryset: QuerySet[Any]) -> bool:
    """Is this the update() of a bulk_update() that is heard as such?"""
    statements = _hushed.get()
    if statements is None or statements.model is not queryset.model:
        return False
    if statements.found is not None:
        # Before it: afterwards the rows may not match any more.
        statements.found.append(_find_keys(queryset, queryset.db))
    return True


def wrap_bulk_create(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def bulk_create(
        self: QuerySet[Any],
        objs: Iterable[Any],
        batch_size: int | None = None,
        ignore_conflicts: bool = False,
        update_conflicts: bool = False,
        update_fields: Iterable[str] | None = None,
        unique_fields: Iterable[str] | None = None,
    ) -> Any:
        conflicts = (ignore_conflicts, update_conflicts, update_fields, unique_fields)
        if waiting:
            late.settle()
        if self.model not in covered or is_silent((self.model,)):
            return original(self, objs, batch_size, *conflicts)
        objs = list(objs)
        if not objs:
            return original(self, objs, batch_size, *conflicts)
        model = self.model
        if update_fields is not None:
            update_fields = list(dict.fromkeys(_get_names(model, update_fields)))
        unique_fields = None if unique_fields is None else list(unique_fields)
        self._for_write = True  # type: ignore[attr-defined]
        is_atomic = covered[self.model]
        undo = _remember_all(objs) if is_atomic else None
        with UnitOfWork(self.db, atomic=is_atomic, undo=undo) as unit:
            if update_conflicts:
                upsert = Upsert(
                    objs, [] if update_fields is None else update_fields, unique_fields
                )
                snapshots.note_upsert(unit, upsert)
            else:
                snapshots.note_insert(unit)
            snapshots.note_together(unit, self.model, objs)
            sent = {
                "sender": self.model,
                "objs": objs,
                "using": self.db,
                "ignore_conflicts": ignore_conflicts,
                "update_conflicts": update_conflicts,
                "update_fields": update_fields,
                "unique_fields": unique_fields,
            }
            signals.pre_bulk_create.send(**sent)
            conflicts = (ignore_conflicts, update_conflicts, update_fields, unique_fields)
            with linkrows.creating(self, objs, ignore_conflicts, update_conflicts, unique_fields):
                result = original(self, objs, batch_size, *conflicts)
                note_made(unit, model)
                note_all(unit, signals.post_bulk_create, model, objs)
            unit.note_write()
            signals.post_bulk_create.send(**sent)
            memory.move_forward(unit)
            return result

    return bulk_create


def wrap_bulk_update(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def bulk_update(
        self: QuerySet[Any],
        objs: Iterable[Any],
        fields: Iterable[str],
        batch_size: int | None = None,
    ) -> Any:
        model, query = self.model, self.query
        if waiting:
            late.settle()
        if model not in covered or query.is_sliced or query.combinator or is_silent((model,)):
            return original(self, objs, fields, batch_size)
        objs, fields = list(objs), list(fields)
        if not objs or not fields or (batch_size is not None and batch_size <= 0):
            return original(self, objs, fields, batch_size)
        self._for_write = True  # type: ignore[attr-defined]
        names = UpdateFields(_get_names(model, fields))
        is_atomic = covered[model]
        undo = _remember_all(objs) if is_atomic else None
        with UnitOfWork(self.db, atomic=is_atomic, undo=undo) as unit:
            unit.reads_late = True
            snapshots.note_together(unit, model, objs)
            sent = {"sender": model, "fields": names, "using": self.db}
            each = list({id(obj): obj for obj in objs}.values())
            signals.pre_bulk_update.send(**sent, objs=each)
            unit.reads_late = False
            read_asked(unit, model, objs)
            fields = [*fields, *sorted(names.difference(_get_names(model, fields)))]
            statements = _Statements(model, [] if query.where else None)
            with linkrows.updating(model, lambda: _list_matched(self, each), self.db, names):
                token = _hushed.set(statements)
                try:
                    count = original(self, objs, fields, batch_size)
                finally:
                    _hushed.reset(token)
                if count:
                    unit.note_statement(get_tables(model))
            if count:
                unit.note_write()
            batches = _cut(self, objs, fields, batch_size)
            written = _find_written(self, batches, count, statements.found)
            snapshots.note_together(unit, model, written)
            note_all(unit, signals.post_bulk_update, model, written, names)
            signals.post_bulk_update.send(**sent, objs=written, count=count)
            memory.move_forward(unit)
            return count

    return bulk_update


def _get_names(model: type[Model], fields: Iterable[str]) -> list[str]:
    """The names of fields: Django takes attnames, too."""
    return [model._meta.get_field(name).name for name in fields]


def _cut(
    queryset: QuerySet[Any], objs: list[Any], fields: list[str], batch_size: int | None
) -> list[dict[Any, Any]]:
    """The objects by their keys, a dict for each statement; in a statement the first prevails."""
    meta = queryset.model._meta
    columns: list[Any] = [meta.pk, meta.pk, *map(meta.get_field, fields)]
    # As Django cuts them.
    most = max(connections[queryset.db].ops.bulk_batch_size(columns, objs), 1)
    size = min(batch_size or most, most)
    batches = []
    for start in range(0, len(objs), size):
        batch: dict[Any, Any] = {}
        for obj in objs[start : start + size]:
            batch.setdefault(canonical_key(queryset.model, obj.pk), obj)
        batches.append(batch)
    return batches


def _list_matched(queryset: QuerySet[Any], objs: list[Any]) -> list[Any]:
    """Those of the objects whose rows ``queryset`` finds."""
    if not queryset.query.where:
        return objs
    keys: set[Any] = set()
    for start in range(0, len(objs), CHUNK):
        part = [obj.pk for obj in objs[start : start + CHUNK]]
        keys |= _find_keys(queryset.filter(pk__in=part), queryset.db)
    return [obj for obj in objs if canonical_key(queryset.model, obj.pk) in keys]


def _find_written(
    queryset: QuerySet[Any],
    batches: list[dict[Any, Any]],
    count: int,
    found: list[set[Any]] | None,
) -> list[Any]:
    """One object for each row that was written: the one whose values it has got."""
    if found is None:
        if count != sum(map(len, batches)):
            rows: QuerySet[Any] = QuerySet(queryset.model, using=queryset.db)
            every = list(set().union(*batches))
            parts = [every[start : start + CHUNK] for start in range(0, len(every), CHUNK)]
            there = [_find_keys(rows.filter(pk__in=part), queryset.db) for part in parts]
            found = [set().union(*there)] * len(batches)
        else:
            found = [set(batch) for batch in batches]
    written: dict[Any, Any] = {}
    for batch, keys in zip(batches, found, strict=True):
        written |= {key: obj for key, obj in batch.items() if key in keys}
    return list(written.values())


def _find_keys(queryset: QuerySet[Any], using: str) -> set[Any]:
    rows = lock(queryset, using).values_list("pk", flat=True)
    return {canonical_key(queryset.model, pk) for pk in rows}


def _remember_all(objs: list[Any]) -> Callable[[], None]:
    undos = [remember(obj) for obj in objs]

    def restore() -> None:
        for undo in undos:
            undo()

    return restore
