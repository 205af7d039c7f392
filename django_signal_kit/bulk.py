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
from django.db.models import Model, QuerySet
from django.db.models.query import ModelIterable
from django.db.models.sql import UpdateQuery

from django_signal_kit import signals, snapshots
from django_signal_kit.batching import UnitOfWork
from django_signal_kit.instances import UpdateFields, remember
from django_signal_kit.locking import lock_before_reading

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
            result = original(self, objs, batch_size, *conflicts)
            unit.note_write()
            signals.post_bulk_create.send(**sent)
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
                count = original(self, objs, fields, batch_size)
            finally:
                _hushed.reset(token)
            if count:
                unit.note_write()
            signals.post_bulk_update.send(**sent, count=count)
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
        rows = _read_and_lock(queryset, using) if model in read else None
        if rows is not None:
            snapshots.note_read(unit, model, rows)
        sent = {"sender": model, "queryset": queryset, "values": values, "using": using}
        signals.pre_queryset_update.send(**sent, rows=rows)
        keys = None if rows is None else [row.pk for row in rows]
        count = write(values, keys)
        if count:
            unit.note_write()
        if rows is not None:
            for row in rows:
                _assign(row, values)
        signals.post_queryset_update.send(**sent, rows=rows, count=count)
        return count


def _read_and_lock(queryset: QuerySet[Any], using: str) -> list[Any]:
    """The rows as they are, locked where the database can, so that what is read is what is
    updated."""
    rows = queryset._chain()  # type: ignore[attr-defined]
    query = rows.query
    features = connections[using].features
    if query.group_by is not None or query.distinct or query.values_select:
        # What is grouped cannot be locked; the keys are found by a subquery.
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
    if connections[using].in_atomic_block and features.has_select_for_update:
        rows = rows.select_for_update(
            of=("self",) if features.has_select_for_update_of else (),
            no_key=features.has_select_for_no_key_update,
        )
    return list(rows)


def _confine(queryset: QuerySet[Any], keys: list[Any]) -> QuerySet[Any]:
    return queryset.filter(pk__in=keys)


def _assign(row: Model, values: dict[str, Any]) -> None:
    """Give an instance the new values; expressions stay, and are read back if asked for."""
    for name, value in values.items():
        field = row._meta.pk if name == "pk" else row._meta.get_field(name)
        if isinstance(value, Model):
            setattr(row, field.name, value)
        else:
            setattr(row, field.attname, value)  # type: ignore[union-attr]


def _remember_all(objs: list[Any]) -> Callable[[], None]:
    undos = [remember(obj) for obj in objs]

    def restore() -> None:
        for undo in undos:
            undo()

    return restore
