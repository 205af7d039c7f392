"""Makes each covered write a unit of work.

Django's own methods are wrapped, once for all models; a model that no receiver covers costs one
look into a set. Wrapped are ``Model.save_base``, ``Collector.delete``, the managers of
many-to-many relations, and a connection's savepoints. Nothing is heard of ``_raw_delete()``, raw
SQL, the models of migrations, and overrides that do not call ``super()``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from django.apps import apps
from django.db import router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model
from django.db.models.deletion import Collector
from django.db.models.fields import related_descriptors

from django_signal_kit import journal, snapshots
from django_signal_kit.batching import UnitOfWork

# Model, or through model for m2m -> does a receiver of it flush before the commit?
saved: dict[type[Model], bool] = {}
deleted: dict[type[Model], bool] = {}
linked: dict[type[Model], bool] = {}

_originals: list[tuple[Any, str, Any]] = []

_MISSING = object()


class UpdateFields(set[str]):
    """The ``update_fields`` of a covered save: a receiver of ``pre_save`` may add to it.

    Equal to, and hashed like, the frozenset that others expect.
    """

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self))


class PendingAlias(str):
    """The ``_state.db`` of an instance until Django writes another there, right after its SQL:
    what fails before that has written nothing that stays, what fails after it has."""

    __slots__ = ()


def install() -> None:
    """Wrap Django's methods, unless they are wrapped already."""
    if _originals:
        return
    _wrap(Model, "save_base", _save_base)
    _wrap(Collector, "delete", _delete)
    _wrap(related_descriptors, "create_forward_many_to_many_manager", _create_manager)
    _wrap(BaseDatabaseWrapper, "savepoint", _savepoint)
    _wrap(BaseDatabaseWrapper, "savepoint_rollback", _savepoint_rollback)
    _forget_managers()


def uninstall() -> None:
    """Put Django's own methods back."""
    while _originals:
        owner, name, original = _originals.pop()
        setattr(owner, name, original)
    _forget_managers()


def cover(
    saves: dict[type[Model], bool],
    deletes: dict[type[Model], bool],
    links: dict[type[Model], bool],
) -> None:
    """Say which models are covered. What is not named is left to Django alone."""
    for covered, given in ((saved, saves), (deleted, deletes), (linked, links)):
        covered.clear()
        covered.update(given)
    if saved or deleted or linked:
        install()
    else:
        uninstall()


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
        with UnitOfWork(using, atomic=saved[model], undo=_remember(self)) as unit:
            if force_insert:
                snapshots.note_insert(unit)
            if update_fields is not None:
                update_fields = UpdateFields(update_fields)
            state = self._state
            pending = state.db = None if state.db is None else PendingAlias(state.db)
            try:
                original(self, raw, force_insert, force_update, using, update_fields)
            finally:
                if state.db is not pending:
                    unit.note_write()

    save_base.alters_data = True  # type: ignore[attr-defined]
    return save_base


def _remember(instance: Model) -> Callable[[], None]:
    """What makes an instance again what it was, should the transaction be rolled back."""
    state = instance._state
    db, adding, values = state.db, state.adding, instance.__dict__.copy()

    def restore() -> None:
        state.db, state.adding = db, adding
        for field in instance._meta.concrete_fields:
            value = values.get(field.attname, _MISSING)
            if value is not _MISSING:
                instance.__dict__[field.attname] = value
            else:
                instance.__dict__.pop(field.attname, None)

    return restore


def _delete(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def delete(self: Collector) -> Any:
        if deleted.keys().isdisjoint(self.data):
            return original(self)
        is_atomic = any(deleted.get(model) for model in self.data)
        keys = [
            (instance, model._meta.pk.attname, getattr(instance, model._meta.pk.attname))
            for model, instances in self.data.items()
            for instance in instances
        ]

        def restore() -> None:
            for instance, attname, key in keys:
                setattr(instance, attname, key)

        with UnitOfWork(self.using, atomic=is_atomic, undo=restore) as unit:
            snapshots.note_doomed(unit, self.data)
            result = original(self)
            unit.note_write()
            return result

    return delete


def _create_manager(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def create_forward_many_to_many_manager(superclass: Any, rel: Any, reverse: bool) -> Any:
        manager = original(superclass, rel, reverse)
        for name in ("add", "remove", "clear", "set"):
            setattr(manager, name, _link(getattr(manager, name)))
        return manager

    return create_forward_many_to_many_manager


def _link(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def link(self: Any, *args: Any, **kwargs: Any) -> Any:
        through = self.through
        if through not in linked:
            return original(self, *args, **kwargs)
        using = router.db_for_write(through, instance=self.instance)
        with UnitOfWork(using, atomic=linked[through]) as unit:
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
        sid = original(self)
        journal.note_savepoint(self, sid)
        return sid

    return savepoint


def _savepoint_rollback(original: Callable[..., None]) -> Callable[..., None]:
    @wraps(original)
    def savepoint_rollback(self: BaseDatabaseWrapper, sid: str) -> None:
        original(self, sid)
        journal.forget_since(self, sid)

    return savepoint_rollback
