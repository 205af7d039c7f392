"""Makes each covered write a unit of work.

Django's own methods are wrapped, once for all models; a model that no receiver covers costs one
look into a set. Wrapped are ``Model.save_base``, ``Collector.delete``, the managers of
many-to-many relations, what begins and ends a connection's transactions and savepoints, and, if a
receiver hears bulk writes, the methods of ``QuerySet`` that write. Where their statements are run
is heard by :mod:`.saving`, in covered classes alone, and :mod:`.deleting`. Nothing is heard of
``_raw_delete()``, ``_update()``, raw SQL, the models of migrations, and overrides that do not call
``super()``.

They are wrapped before any model is made, as others take Django's methods while models are made.
A wrapped method that somebody has taken stays what it is: it asks at each call what is covered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any

from django.apps import apps
from django.core.management import sql as management_sql
from django.db import router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Model, QuerySet
from django.db.models.deletion import Collector
from django.db.models.fields import related_descriptors
from django.db.models.options import Options
from django.db.models.sql import DeleteQuery, UpdateQuery

from django_signal_kit.conf import conf
from django_signal_kit.rows import memory, snapshots
from django_signal_kit.units import transactions
from django_signal_kit.units.unit import UnitOfWork
from django_signal_kit.writes import (
    bulk,
    deleting,
    guarded,
    late,
    linkrows,
    links,
    migrating,
    noting,
    saving,
    updates,
)
from django_signal_kit.writes.calls import calling
from django_signal_kit.writes.captured import leads_to, mark
from django_signal_kit.writes.instances import NOT_ADDING_YET, UpdateFields, remember
from django_signal_kit.writes.late import waiting
from django_signal_kit.writes.links import Heard
from django_signal_kit.writes.migrating import is_silent
from django_signal_kit.writes.recursion import check_recursion

# Model, or through model for m2m -> does a receiver of it flush before the commit?
saved: dict[type[Model], bool] = {}
deleted: dict[type[Model], bool] = {}
linked: dict[type[Model], bool] = {}

# Name of a signal -> what it covers; any other is one of a bulk write.
_COVERED = {
    "pre_save": saved,
    "post_save": saved,
    "pre_delete": deleted,
    "post_delete": deleted,
    "m2m_changed": linked,
}

# What writes links; the last, of Django 6.1, for a fixture.
_LINKING = ("add", "remove", "clear", "set", "set_base")

_SUSPICIOUS_DEPTH = 20

#: (Owner, name) -> what was there, and what has been put in its place.
_hooks: dict[tuple[Any, str], tuple[Any, Any]] = {}


def install() -> None:
    """Wrap Django's methods, unless they are wrapped already; nothing is covered by that alone."""
    for owner, name, make in (*_METHODS, *_BULK_METHODS):
        _hook(owner, name, make)


def cover(signal_name: str, model: type[Model], is_atomic: bool, is_read: bool) -> None:
    """A receiver hears this signal of ``model``, and flushes before the commit if ``is_atomic``;
    ``is_read``: it asks for the rows. ``settle()`` has to follow."""
    covered = _COVERED.get(signal_name, bulk.covered)
    covered[model] = covered.get(model, False) or is_atomic
    if covered is saved:
        saving.cover(model)
    if is_read:
        updates.read.add(model)


def cover_links(heard: Mapping[type[Model], Heard]) -> None:
    """The rows of these models are links, of which receivers hear whoever writes them. Their
    through models have been covered; ``settle()`` has to follow."""
    for model, known in heard.items():
        links.heard[model] = known
        saving.cover(model)
        for covered in (saved, deleted, bulk.covered)[: 3 if conf.BULK_SIGNALS else 2]:
            covered[model] = covered.get(model, False) or linked[known.through]


def uncover() -> None:
    """Leave all models to Django alone. ``settle()`` has to follow."""
    for covered in (saved, deleted, linked, bulk.covered):
        covered.clear()
    links.heard.clear()
    updates.read.clear()
    saving.uncover()
    guarded.guarded.clear()


def settle(*, is_heard: bool) -> None:
    """Wrap the methods that are needed for what is covered, and no others; those that tell of
    transactions if any receiver hears anything."""
    is_any = bool(saved or deleted or linked or bulk.covered)
    saving.settle()
    if is_heard and not is_hooked(*_TRANSACTION_METHODS[0][:2]):
        transactions.forget_journals()
    for methods, is_needed in (
        (_METHODS, is_any),
        (_BULK_METHODS, bool(bulk.covered)),
        (_GUARDED_METHODS, bool(guarded.guarded)),
        (_TRANSACTION_METHODS, is_heard),
    ):
        for owner, name, make in methods:
            if is_needed:
                _hook(owner, name, make)
            else:
                _unhook(owner, name)


def is_hooked(owner: Any, name: str) -> bool:
    _, hook = _hooks.get((owner, name), (None, None))
    return hook is not None and leads_to(getattr(owner, name), hook)


def _hook(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    # Somebody else may have wrapped it since.
    if is_hooked(owner, name):
        return
    present = getattr(owner, name)
    original, hook = _hooks.get((owner, name), (None, None))
    if present is not original:
        hook = mark(make(present))
        _hooks[owner, name] = present, hook
    setattr(owner, name, hook)
    if owner is related_descriptors:
        _forget_managers()


def _unhook(owner: Any, name: str) -> None:
    """Put Django's own method back, unless somebody else's is in front of ours."""
    original, hook = _hooks.get((owner, name), (None, None))
    if hook is not None and getattr(owner, name) is hook:
        setattr(owner, name, original)
        if owner is related_descriptors:
            _forget_managers()


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


def _delete(original: Callable[..., Any]) -> Callable[..., Any]:
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


def _create_manager(original: Callable[..., Any]) -> Callable[..., Any]:
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


def _forget_managers() -> None:
    """Drop the manager classes that many-to-many descriptors have made and kept."""
    if not apps.models_ready:
        return
    for model in apps.get_models(include_auto_created=True):
        for value in list(vars(model).values()):
            if isinstance(value, related_descriptors.ManyToManyDescriptor):
                value.__dict__.pop("related_manager_cls", None)


_METHODS: tuple[tuple[Any, str, Callable[[Any], Any]], ...] = (
    (Model, "save_base", _save_base),
    (Collector, "delete", _delete),
    (DeleteQuery, "delete_batch", deleting.wrap_delete_batch),
    (related_descriptors, "create_forward_many_to_many_manager", _create_manager),
    (Options, "add_field", late.wrap_add_field),
    (MigrationExecutor, "migrate", migrating.wrap_migrate),
    (management_sql, "emit_pre_migrate_signal", migrating.wrap_emit),
    (management_sql, "emit_post_migrate_signal", migrating.wrap_emit),
)
_BULK_METHODS: tuple[tuple[Any, str, Callable[[Any], Any]], ...] = (
    (QuerySet, "bulk_create", bulk.wrap_bulk_create),
    (QuerySet, "bulk_update", bulk.wrap_bulk_update),
    (QuerySet, "update", updates.wrap_update),
    (UpdateQuery, "update_batch", updates.wrap_update_batch),
)
_GUARDED_METHODS: tuple[tuple[Any, str, Callable[[Any], Any]], ...] = (
    (Model, "_do_update", guarded.wrap_do_update),
)
_TRANSACTION_METHODS: tuple[tuple[Any, str, Callable[[Any], Any]], ...] = tuple(
    (BaseDatabaseWrapper, name, make) for name, make in transactions.WRAPPERS.items()
)
