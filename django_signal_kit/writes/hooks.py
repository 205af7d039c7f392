"""Makes each covered write a unit of work.

Django's own methods are wrapped, once for all models; a model that no receiver covers costs one
look into a set. Wrapped are ``Model.save_base``, ``Collector.delete``, the managers of
many-to-many relations, a connection's savepoints, and, if a receiver hears bulk writes, the
methods of ``QuerySet`` that write. Nothing is heard of ``_raw_delete()``, ``_update()``, raw SQL,
the models of migrations, and overrides that do not call ``super()``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from functools import wraps
from typing import Any

from django.apps import apps
from django.db import router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model, QuerySet
from django.db.models.deletion import Collector
from django.db.models.fields import related_descriptors
from django.db.models.sql import UpdateQuery

from django_signal_kit.rows import memory, snapshots
from django_signal_kit.units import journal
from django_signal_kit.units.unit import UnitOfWork, relieve
from django_signal_kit.writes import bulk, linkrows, links
from django_signal_kit.writes.calls import calling
from django_signal_kit.writes.instances import NOT_ADDING_YET, UpdateFields, remember
from django_signal_kit.writes.recursion import check_recursion

# Model, or through model for m2m -> does a receiver of it flush before the commit?
saved: dict[type[Model], bool] = {}
deleted: dict[type[Model], bool] = {}
linked: dict[type[Model], bool] = {}

_SUSPICIOUS_DEPTH = 20

_originals: list[tuple[Any, str, Any]] = []


def install() -> None:
    """Wrap Django's methods, unless they are wrapped already."""
    if _originals:
        return
    _wrap(Model, "save_base", _save_base)
    _wrap(Collector, "delete", _delete)
    _wrap(related_descriptors, "create_forward_many_to_many_manager", _create_manager)
    _wrap(BaseDatabaseWrapper, "savepoint", _savepoint)
    _wrap(BaseDatabaseWrapper, "savepoint_commit", _savepoint_commit)
    _wrap(BaseDatabaseWrapper, "savepoint_rollback", _savepoint_rollback)
    _wrap(BaseDatabaseWrapper, "commit", _commit)
    _wrap(BaseDatabaseWrapper, "rollback", _rollback)
    if bulk.covered:
        _wrap(QuerySet, "bulk_create", bulk.wrap_bulk_create)
        _wrap(QuerySet, "bulk_update", bulk.wrap_bulk_update)
        _wrap(QuerySet, "update", bulk.wrap_update)
        _wrap(UpdateQuery, "update_batch", bulk.wrap_update_batch)
    _forget_managers()


def uninstall() -> None:
    """Put Django's own methods back."""
    if not _originals:
        return
    while _originals:
        owner, name, original = _originals.pop()
        setattr(owner, name, original)
    _forget_managers()


def cover(
    saves: dict[type[Model], bool],
    deletes: dict[type[Model], bool],
    calls: dict[type[Model], bool],
    bulk_writes: dict[type[Model], bool],
    bulk_reads: set[type[Model]],
) -> None:
    """Say which models are covered. What is not named is left to Django alone."""
    given = ((saved, saves), (deleted, deletes), (linked, calls), (bulk.covered, bulk_writes))
    for covered, models in given:
        covered.clear()
        covered.update(models)
    bulk.read.clear()
    bulk.read.update(bulk_reads)
    uninstall()
    if saved or deleted or linked or bulk.covered:
        install()


def _wrap(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    original = getattr(owner, name)
    _originals.append((owner, name, original))
    setattr(owner, name, make(original))


def _save_base(original: Callable[..., None]) -> Callable[..., None]:
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
        if model not in saved:
            return original(self, raw, force_insert, force_update, using, update_fields)
        using = using or router.db_for_write(model, instance=self)
        with UnitOfWork(using, atomic=saved[model], undo=remember(self)) as unit:
            unit.instance = self
            if unit.depth > _SUSPICIOUS_DEPTH:
                check_recursion(unit)
            if force_insert:
                snapshots.note_insert(unit)
            if update_fields is not None:
                update_fields = UpdateFields(update_fields)
            state = self._state
            if not state.adding:
                state.adding = NOT_ADDING_YET  # type: ignore[assignment]
            told = (
                linkrows.saving(self, update_fields, using, raw=raw)
                if model in links.heard
                else nullcontext()
            )
            try:
                with told:
                    original(self, raw, force_insert, force_update, using, update_fields)
            finally:
                if state.adding is False:
                    unit.note_write()
            if model in memory.kept:
                memory.move_forward(unit)

    save_base.alters_data = True  # type: ignore[attr-defined]
    return save_base


def _delete(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def delete(self: Collector) -> Any:
        # By queries, beside those of which there are instances.
        queried = [rows.model for rows in self.fast_deletes]
        queried += [field.model for field, _ in self.field_updates]
        if deleted.keys().isdisjoint(self.data) and links.heard.keys().isdisjoint(queried):
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
            for model, instances in self.data.items():
                snapshots.note_together(unit, model, instances)
            with linkrows.deleting(self):
                result = original(self)
            unit.note_write()
            return result

    return delete


def _create_manager(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def create_forward_many_to_many_manager(superclass: Any, rel: Any, reverse: bool) -> Any:
        manager = original(superclass, rel, reverse)
        for name in ("add", "remove", "clear", "set"):
            setattr(manager, name, _link(getattr(manager, name), rel.field))
        return manager

    return create_forward_many_to_many_manager


def _link(original: Callable[..., Any], field: Any) -> Callable[..., Any]:
    @wraps(original)
    def link(self: Any, *args: Any, **kwargs: Any) -> Any:
        through = self.through
        if through not in linked:
            return original(self, *args, **kwargs)
        using = router.db_for_write(through, instance=self.instance)
        with UnitOfWork(using, atomic=linked[through]) as unit:
            with calling(links.get_relation(field), self.instance, self.reverse):
                result = original(self, *args, **kwargs)
            unit.note_write()
            return result

    link.alters_data = True  # type: ignore[attr-defined]
    return link


def _forget_managers() -> None:
    """Drop the manager classes that many-to-many descriptors have made and kept."""
    if not apps.models_ready:
        return
    for model in apps.get_models(include_auto_created=True):
        for value in list(vars(model).values()):
            if isinstance(value, related_descriptors.ManyToManyDescriptor):
                value.__dict__.pop("related_manager_cls", None)


def _savepoint(original: Callable[..., str | None]) -> Callable[..., str | None]:
    @wraps(original)
    def savepoint(self: BaseDatabaseWrapper) -> str | None:
        relieve(journal.get_journal(self))
        sid = original(self)
        journal.note_savepoint(self, sid)
        return sid

    return savepoint


def _savepoint_commit(original: Callable[..., None]) -> Callable[..., None]:
    @wraps(original)
    def savepoint_commit(self: BaseDatabaseWrapper, sid: str) -> None:
        original(self, sid)
        journal.release(self, sid)

    return savepoint_commit


def _savepoint_rollback(original: Callable[..., None]) -> Callable[..., None]:
    @wraps(original)
    def savepoint_rollback(self: BaseDatabaseWrapper, sid: str) -> None:
        original(self, sid)
        journal.forget_since(self, sid)

    return savepoint_rollback


def _commit(original: Callable[..., None]) -> Callable[..., None]:
    @wraps(original)
    def commit(self: BaseDatabaseWrapper) -> None:
        original(self)
        journal.end_transaction(self, is_committed=True)

    return commit


def _rollback(original: Callable[..., None]) -> Callable[..., None]:
    @wraps(original)
    def rollback(self: BaseDatabaseWrapper) -> None:
        try:
            original(self)
        finally:
            journal.end_transaction(self, is_committed=False)

    return rollback
