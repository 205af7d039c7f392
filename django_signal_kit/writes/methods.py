"""Django's methods that write a row, delete rows or write links, each as one unit of work."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from django.db import router
from django.db.models import Model
from django.db.models.deletion import Collector

from django_signal_kit.rows import memory, snapshots
from django_signal_kit.units.unit import UnitOfWork
from django_signal_kit.writes import deleting, late, linkrows, links, noting, saving
from django_signal_kit.writes.calls import calling
from django_signal_kit.writes.covered import deleted, linked, saved
from django_signal_kit.writes.instances import NOT_ADDING_YET, UpdateFields, remember
from django_signal_kit.writes.late import waiting
from django_signal_kit.writes.migrating import is_silent
from django_signal_kit.writes.recursion import check_recursion

# What writes links; the last, of Django 6.1, for a fixture.
_LINKING = ("add", "remove", "clear", "set", "set_base")

_SUSPICIOUS_DEPTH = 20


def wrap_save_base(original: Callable[..., None]) -> Callable[..., None]:
    @wraps(original)
    def save_base(
        self: Model,
        raw: bool = False,
        force_insert: Any = False,
        force_update: bool = False,
        using: str | None = None,
        update_fields: Iterable[str] | None = None,
    ) -> None:
        model = type(self)
        if waiting:
            late.settle()
        if model not in saved or is_silent((model,)):
            return original(self, raw, force_insert, force_update, using, update_fields)
        using = using or router.db_for_write(model, instance=self)
        with UnitOfWork(using, atomic=saved[model], undo=remember(self)) as unit:
            saving.start(unit, self)
            if unit.depth > _SUSPICIOUS_DEPTH:
                check_recursion(unit)
            if force_insert:
                snapshots.note_insert(unit)
            elif force_update or raw:
                snapshots.note_update(unit)
            if update_fields is not None:
                update_fields = UpdateFields(update_fields)
            state = self._state
            if not state.adding:
                state.adding = NOT_ADDING_YET  # type: ignore[assignment]
            try:
                if model in links.heard:
                    with linkrows.saving(self, update_fields, using, raw=raw):
                        original(self, raw, force_insert, force_update, using, update_fields)
                else:
                    original(self, raw, force_insert, force_update, using, update_fields)
            finally:
                if state.adding is False:
                    unit.note_write()
            if model in memory.kept:
                memory.move_forward(unit)

    save_base.alters_data = True  # type: ignore[attr-defined]
    return save_base


def wrap_delete(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def delete(self: Collector) -> Any:
        if waiting:
            late.settle()
        # By queries, beside those of which there are instances.
        queried = [rows.model for rows in self.fast_deletes]
        queried += [field.model for field, _ in self.field_updates]
        is_heard = not (
            deleted.keys().isdisjoint(self.data) and links.heard.keys().isdisjoint(queried)
        )
        if not is_heard or is_silent(self.data or queried):
            return original(self)
        is_atomic = any(deleted.get(model) for model in (*self.data, *queried))
        keys = [
            (instance, model._meta.pk.attname, getattr(instance, model._meta.pk.attname))
            for model, instances in self.data.items()
            for instance in instances
        ]

        def restore() -> None:
            for instance, attname, key in keys:
                setattr(instance, attname, key)

        with UnitOfWork(self.using, atomic=is_atomic, undo=restore) as unit:
            deleting.start(unit, self)
            with linkrows.deleting(self):
                result = original(self)
            unit.note_write()
            return result

    return delete


def wrap_create_manager(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def create_forward_many_to_many_manager(superclass: Any, rel: Any, reverse: bool) -> Any:
        manager = original(superclass, rel, reverse)
        for name in _LINKING:
            if hasattr(manager, name):
                setattr(manager, name, _link(getattr(manager, name), rel.field))
        manager.signal_kit_hook = True
        return manager

    return create_forward_many_to_many_manager


def _link(original: Callable[..., Any], field: Any) -> Callable[..., Any]:
    @wraps(original)
    def link(self: Any, *args: Any, **kwargs: Any) -> Any:
        through = self.through
        if waiting:
            late.settle()
        if through not in linked or is_silent((through,)):
            return original(self, *args, **kwargs)
        using = router.db_for_write(through, instance=self.instance)
        with UnitOfWork(using, atomic=linked[through]) as unit:
            noting.note_links(unit)
            relation, raw = links.get_relation(field), kwargs.get("raw", False)
            with calling(relation, self.instance, self.reverse, raw=raw):
                result = original(self, *args, **kwargs)
            unit.note_write()
            return result

    link.alters_data = True  # type: ignore[attr-defined]
    return link
