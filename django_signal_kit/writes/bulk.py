"""The writes about which Django is silent: bulk_create, bulk_update and QuerySet.update().

Their async twins, ``update_or_create`` and related managers come through here too, and so does the
SET_NULL or SET_DEFAULT of a deletion. A covered one is a unit of work with a signal before and one
after it; of what it writes nothing else is read, unless a receiver of the model asks for the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from functools import wraps
from typing import Any

from django.db import connections
from django.db.models import CompositePrimaryKey, Model, QuerySet
from django.db.models.query import ModelIterable
from django.db.models.sql import UpdateQuery

from django_signal_kit import signals
from django_signal_kit.rows import memory, snapshots
from django_signal_kit.rows.database import lock_rows
from django_signal_kit.units.journal import CHUNK
from django_signal_kit.units.locking import lock_before_reading
from django_signal_kit.units.unit import UnitOfWork
from django_signal_kit.writes import linkrows
from django_signal_kit.writes.instances import UpdateFields, remember
from django_signal_kit.writes.locality import is_row_by_row

#: Model -> does a receiver that hears bulk writes of it flush before the commit?
covered: dict[type[Model], bool] = {}
#: Models of which a receiver asks for the rows of QuerySet.update().
read: set[type[Model]] = set()

# bulk_update() calls update() for each batch, which is not to be heard again.
_hushed: ContextVar[type[Model] | None] = ContextVar("signal_kit_hushed", default=None)


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
        update_fields = None if update_fields is None else list(update_fields)
        unique_fields = None if unique_fields is None else list(unique_fields)
        self._for_write = True  # type: ignore[attr-defined]
        is_atomic = covered[self.model]
        undo = _remember_all(objs) if is_atomic else None
        with UnitOfWork(self.db, atomic=is_atomic, undo=undo) as unit:
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
        if self.model not in covered:
            return original(self, objs, fields, batch_size)
        objs, fields = list(objs), list(fields)
        if not objs or not fields:
            return original(self, objs, fields, batch_size)
        self._for_write = True  # type: ignore[attr-defined]
        is_atomic = covered[self.model]
        undo = _remember_all(objs) if is_atomic else None
        with UnitOfWork(self.db, atomic=is_atomic, undo=undo) as unit:
            snapshots.note_together(unit, self.model, objs)
            names = UpdateFields(fields)
            sent = {"sender": self.model, "objs": objs, "fields": names, "using": self.db}
            signals.pre_bulk_update.send(**sent)
            fields += sorted(names.difference(fields))
            token = _hushed.set(self.model)
            try:
                with linkrows.updating(self.model, objs, self.db, names):
                    count = original(self, objs, fields, batch_size)
            finally:
                _hushed.reset(token)
            if count:
                unit.note_write()
            signals.post_bulk_update.send(**sent, count=count)
            memory.move_forward(unit)
            return count

    return bulk_update


def wrap_update(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def update(self: QuerySet[Any], **kwargs: Any) -> Any:
        model = self.model
        if model not in covered or _hushed.get() is model or self.query.is_sliced:
            return original(self, **kwargs)
        self._not_support_combined_queries("update")  # type: ignore[attr-defined]
        self._for_write = True  # type: ignore[attr-defined]

        def write(values: dict[str, Any], keys: list[Any] | None) -> Any:
            queryset = self if keys is None else _confine(self, keys)
            return original(queryset, **values)

        return _update(self, self.db, kwargs, write)

    return update


def wrap_update_batch(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def update_batch(
        self: UpdateQuery, pk_list: list[Any], values: dict[str, Any], using: str
    ) -> Any:
        model = self.model
        if model not in covered:
            return original(self, pk_list, values, using)
        queryset: QuerySet[Any] = QuerySet(model, using=using)

        def write(values: dict[str, Any], keys: list[Any] | None) -> Any:
            original(self, pk_list if keys is None else keys, values, using)
            return len(pk_list)

        return _update(queryset.filter(pk__in=pk_list), using, values, write)

    return update_batch


def _update(
    queryset: QuerySet[Any],
    using: str,
    values: dict[str, Any],
    write: Callable[[dict[str, Any], list[Any] | None], Any],
) -> Any:
    model = queryset.model
    with UnitOfWork(using, atomic=covered[model]) as unit:
        values = dict(values)
        if model not in read and not linkrows.needs_rows(model, values):
            return _update_rows(unit, queryset, values, write, None)
        rows = list(_read_and_lock(queryset, using)[: CHUNK + 1])
        if len(rows) <= CHUNK or not is_row_by_row(queryset.query, values.values()):
            if len(rows) > CHUNK:
                rows = list(_read_and_lock(queryset, using))
            return _update_rows(unit, queryset, values, write, rows)
        # So many that they are told of, and written, part by part.
        keys = list(_read_and_lock(queryset, using).order_by("pk").values_list("pk", flat=True))
        del rows
        count = 0
        for start in range(0, len(keys), CHUNK):
            some: QuerySet[Any] = QuerySet(model, using=using).filter(
                pk__in=keys[start : start + CHUNK]
            )
            rows = list(_read_and_lock(some, using))
            count += _update_rows(unit, queryset, values, write, rows)
        return count


def _update_rows(
    unit: UnitOfWork,
    queryset: QuerySet[Any],
    values: dict[str, Any],
    write: Callable[[dict[str, Any], list[Any] | None], Any],
    rows: list[Any] | None,
) -> Any:
    """Update ``rows`` and no others; all that match, and nobody has read, if it is None."""
    model = queryset.model
    keys = None
    unit.notes.clear()
    if rows is not None:
        snapshots.note_read(unit, model, rows)
        keys = [row.pk for row in rows]
    sent = {"sender": model, "queryset": queryset, "values": values, "using": unit.using}
    signals.pre_queryset_update.send(**sent, rows=rows)
    with linkrows.updating(model, rows or (), unit.using, values.keys(), values):
        count = write(values, keys)
        if count:
            unit.note_write()
    _assign(rows or (), model, values)
    signals.post_queryset_update.send(**sent, rows=rows, count=count)
    return count


def _read_and_lock(queryset: QuerySet[Any], using: str) -> QuerySet[Any]:
    """The rows as they are, to be read and locked where the database can, so that what is read is
    what is updated."""
    rows = queryset._chain()  # type: ignore[attr-defined]
    query = rows.query
    is_composite = isinstance(queryset.model._meta.pk, CompositePrimaryKey)
    if query.group_by is not None or query.distinct or query.values_select or is_composite:
        # What is grouped cannot be locked, nor can Django name the table of a composite key; the
        # keys are found by a subquery.
        plain: QuerySet[Any] = QuerySet(queryset.model, using=using)
        rows = plain.filter(pk__in=rows.order_by().values("pk"))
        query = rows.query
    rows._iterable_class = ModelIterable
    rows._prefetch_related_lookups = ()
    query.select_related = False
    query.clear_ordering(force=True)
    query.clear_deferred_loading()
    rows = rows.using(using)
    lock_before_reading(connections[using], queryset.model)
    return lock_rows(rows, connections[using])


def _confine(queryset: QuerySet[Any], keys: list[Any]) -> QuerySet[Any]:
    return queryset.filter(pk__in=keys)


def _assign(rows: Iterable[Model], model: type[Model], values: dict[str, Any]) -> None:
    """Give instances the new values; expressions stay, and are read back if asked for."""
    assigned: dict[str, Any] = {}
    for name, value in values.items():
        field: Any = model._meta.pk if name == "pk" else model._meta.get_field(name)
        assigned[field.name if isinstance(value, Model) else field.attname] = value
    for row in rows:
        for name, value in assigned.items():
            setattr(row, name, value)


def _remember_all(objs: list[Any]) -> Callable[[], None]:
    undos = [remember(obj) for obj in objs]

    def restore() -> None:
        for undo in undos:
            undo()

    return restore
