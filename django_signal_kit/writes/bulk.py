"""The writes about which Django is silent: bulk_create() and bulk_update().

Their async twins and related managers come through here, too. A covered one is a unit of work with
a signal before and one after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from functools import wraps
from typing import Any

from django.db.models import Model, QuerySet

from django_signal_kit import signals
from django_signal_kit.rows import memory, snapshots
from django_signal_kit.units.unit import UnitOfWork
from django_signal_kit.writes.instances import UpdateFields, remember

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
                count = original(self, objs, fields, batch_size)
            finally:
                _hushed.reset(token)
            if count:
                unit.note_write()
            signals.post_bulk_update.send(**sent, count=count)
            memory.move_forward(unit)
            return count

    return bulk_update


def _remember_all(objs: list[Any]) -> Callable[[], None]:
    undos = [remember(obj) for obj in objs]

    def restore() -> None:
        for undo in undos:
            undo()

    return restore
