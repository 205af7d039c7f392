"""Puts wrappers in the place of Django's methods, so that each covered write is a unit of work.

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

from collections.abc import Callable, Mapping
from typing import Any

from django.apps import apps
from django.core.management import sql as management_sql
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Model, QuerySet
from django.db.models.deletion import Collector
from django.db.models.fields import related_descriptors
from django.db.models.options import Options
from django.db.models.sql import DeleteQuery, UpdateQuery

from django_signal_kit.conf import conf
from django_signal_kit.units import transactions
from django_signal_kit.writes import (
    bulk,
    deleting,
    guarded,
    late,
    links,
    migrating,
    saving,
    updates,
)
from django_signal_kit.writes.captured import leads_to, mark
from django_signal_kit.writes.covered import deleted, linked, saved
from django_signal_kit.writes.links import Heard
from django_signal_kit.writes.methods import wrap_create_manager, wrap_delete, wrap_save_base

# Name of a signal -> what it covers; any other is one of a bulk write.
_COVERED = {
    "pre_save": saved,
    "post_save": saved,
    "pre_delete": deleted,
    "post_delete": deleted,
    "m2m_changed": linked,
}

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


def _forget_managers() -> None:
    """Drop the manager classes that many-to-many descriptors have made and kept."""
    if not apps.models_ready:
        return
    for model in apps.get_models(include_auto_created=True):
        for value in list(vars(model).values()):
            if isinstance(value, related_descriptors.ManyToManyDescriptor):
                value.__dict__.pop("related_manager_cls", None)


_METHODS: tuple[tuple[Any, str, Callable[[Any], Any]], ...] = (
    (Model, "save_base", wrap_save_base),
    (Collector, "delete", wrap_delete),
    (DeleteQuery, "delete_batch", deleting.wrap_delete_batch),
    (related_descriptors, "create_forward_many_to_many_manager", wrap_create_manager),
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
