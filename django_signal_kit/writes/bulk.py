"""The writes about which Django is silent: bulk_create() and bulk_update().

Their async twins and related managers come through here, too. A covered one is a unit of work with
a signal before and one after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from functools import wraps
from typing import Any

from django.db import connections
from django.db.models import Model, QuerySet

from django_signal_kit import signals
from django_signal_kit.rows import memory, snapshots
from django_signal_kit.rows.canonical import canonical_key
from django_signal_kit.rows.conflicts import Upsert
from django_signal_kit.rows.database import CHUNK
from django_signal_kit.units.unit import UnitOfWork
from django_signal_kit.writes.instances import UpdateFields, remember
from django_signal_kit.writes.matched import lock

#: Model -> does a receiver that hears bulk writes of it flush before the commit?
covered: dict[type[Model], bool] = {}

# bulk_update() calls update() for each batch, which is not to be heard again.
_hushed: ContextVar[type[Model] | None] = ContextVar("signal_kit_hushed", default=None)


def is_hushed(model: type[Model]) -> bool:
    """Is this an update() of a bulk_update() that is heard as such?"""
    return _hushed.get() is model


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
        if self.model not in covered:
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
            result = original(self, objs, batch_size, *conflicts)
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
        if model not in covered or query.is_sliced or query.combinator:
            return original(self, objs, fields, batch_size)
        objs, fields = list(objs), list(fields)
        if not objs or not fields or (batch_size is not None and batch_size <= 0):
            return original(self, objs, fields, batch_size)
        self._for_write = True  # type: ignore[attr-defined]
        names = UpdateFields(_get_names(model, fields))
        is_atomic = covered[model]
        undo = _remember_all(objs) if is_atomic else None
        with UnitOfWork(self.db, atomic=is_atomic, undo=undo) as unit:
            snapshots.note_together(unit, model, objs)
            # Afterwards the rows that matched may not do so any more.
            matched = _find_keys(self, objs) if query.where else None
            sent = {"sender": model, "fields": names, "using": self.db}
            each = list({id(obj): obj for obj in objs}.values())
            signals.pre_bulk_update.send(**sent, objs=each)
            fields = [*fields, *sorted(names.difference(_get_names(model, fields)))]
            token = _hushed.set(model)
            try:
                count = original(self, objs, fields, batch_size)
            finally:
                _hushed.reset(token)
            if count:
                unit.note_write()
            written = _find_written(self, objs, fields, batch_size, count, matched)
            snapshots.note_together(unit, model, written)
            signals.post_bulk_update.send(**sent, objs=written, count=count)
            memory.move_forward(unit)
            return count

    return bulk_update


def _get_names(model: type[Model], fields: Iterable[str]) -> list[str]:
    """The names of fields: Django takes attnames, too."""
    return [model._meta.get_field(name).name for name in fields]


def _find_written(
    queryset: QuerySet[Any],
    objs: list[Any],
    fields: list[str],
    batch_size: int | None,
    count: int,
    matched: set[Any] | None,
) -> list[Any]:
    """Of a bulk_update() that has been done: one instance for each row that was there, the one
    whose values it has got."""
    model = queryset.model
    meta = model._meta
    columns: list[Any] = [meta.pk, meta.pk, *map(meta.get_field, fields)]
    # As Django cuts them.
    most = max(connections[queryset.db].ops.bulk_batch_size(columns, objs), 1)
    size = min(batch_size or most, most)
    written: dict[Any, Any] = {}
    expected = 0
    for start in range(0, len(objs), size):
        # The first in a statement prevails, and the last statement.
        batch: dict[Any, Any] = {}
        for obj in objs[start : start + size]:
            batch.setdefault(canonical_key(model, obj.pk), obj)
        expected += len(batch)
        written |= batch
    if matched is None and count != expected:
        rows: QuerySet[Any] = QuerySet(model, using=queryset.db)
        matched = _find_keys(rows, objs)
    return [obj for key, obj in written.items() if matched is None or key in matched]


def _find_keys(queryset: QuerySet[Any], objs: list[Any]) -> set[Any]:
    """The keys of those of ``objs`` whose rows ``queryset`` finds, and locks."""
    model, using = queryset.model, queryset.db
    keys = [canonical_key(model, obj.pk) for obj in objs if obj.pk is not None]
    found: set[Any] = set()
    for start in range(0, len(keys), CHUNK):
        some = lock(queryset.filter(pk__in=keys[start : start + CHUNK]), using)
        found |= {canonical_key(model, pk) for pk in some.values_list("pk", flat=True)}
    return found


def _remember_all(objs: list[Any]) -> Callable[[], None]:
    undos = [remember(obj) for obj in objs]

    def restore() -> None:
        for undo in undos:
            undo()

    return restore
