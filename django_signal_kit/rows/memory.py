"""What was loaded into an instance, kept beside it: old values that cost no query.

Kept is the very tuple that ``from_db()`` is given, with a copy of those values alone that can be
changed in place. It moves forward when the instance is saved, and back if that is rolled back. It
is what was loaded, which is not always what the database holds by now.
"""

from __future__ import annotations

import marshal
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from typing import Any

from django.db import connections
from django.db.models import Field, Model

from django_signal_kit.rows.canonical import Column, get_columns
from django_signal_kit.rows.telling import detach
from django_signal_kit.rows.values import UNKNOWN
from django_signal_kit.units.journal import MISSING, get_journal
from django_signal_kit.units.unit import UnitOfWork

#: Model -> attnames of what may be changed in place, for models whose loaded values are kept.
kept: dict[type[Model], tuple[str, ...]] = {}

_KEY = "signal_kit_loaded"
_NOTE = "loaded"
_originals: list[tuple[type[Model], str, Any]] = []


def keep(models: Iterable[type[Model]]) -> None:
    """Keep what is loaded into instances of these models, and of no others."""
    for model, name, original in reversed(_originals):
        if original is None:
            delattr(model, name)
        else:
            setattr(model, name, original)
    _originals.clear()
    kept.clear()
    for model in models:
        columns = get_columns(model).values()
        kept[model] = tuple(column.attname for column in columns if column.is_mutable)
        from_db: Any = model.from_db
        _replace(model, "from_db", classmethod(_wrap_from_db(model, from_db.__func__)))
        _replace(model, "refresh_from_db", _wrap_refresh(model.refresh_from_db))


def _replace(model: type[Model], name: str, function: Any) -> None:
    _originals.append((model, name, vars(model).get(name)))
    setattr(model, name, function)


def _wrap_from_db(model: type[Model], original: Callable[..., Model]) -> Callable[..., Model]:
    names = [field.attname for field in model._meta.concrete_fields]
    mutable = [(name, names.index(name)) for name in kept[model]]
    count = len(names)

    @wraps(original)
    def from_db(cls: Any, db: Any, field_names: Any, values: Any, **kwargs: Any) -> Model:
        frozen: Any = ()
        if not mutable:
            pass
        elif len(values) == count:
            frozen = {name: _freeze(values[position]) for name, position in mutable}
        else:
            given = dict(zip(field_names, values, strict=True))
            frozen = {name: _freeze(given[name]) for name, _ in mutable if name in given}
        instance = original(cls, db, field_names, values, **kwargs)
        instance._state.signal_kit_loaded = (field_names, values, frozen)  # type: ignore[attr-defined]
        return instance

    return from_db


def _wrap_refresh(original: Callable[..., None]) -> Callable[..., None]:
    @wraps(original)
    def refresh_from_db(
        self: Model, using: str | None = None, fields: Any = None, from_queryset: Any = None
    ) -> None:
        fields = None if fields is None else list(fields)
        original(self, using, fields, from_queryset)
        before = _thaw(self) or {}
        values = self.__dict__
        for attname, column in get_columns(type(self)).items():
            names = (attname, column.field.name)
            if attname in values and (fields is None or not set(fields).isdisjoint(names)):
                before[attname] = _thaw_value(_freeze(values[attname]))
        self._state.signal_kit_loaded = before  # type: ignore[attr-defined]

    return refresh_from_db


def get_loaded_row(instance: Model, columns: Sequence[Column]) -> dict[str, Any] | None:
    """What was loaded into ``instance``, or last saved from it, by attname; no query.

    ``UNKNOWN`` stands for what was not loaded. None if nothing was, or another row: an instance
    that was made by hand, or that has been given another key since.
    """
    found = _thaw(instance)
    if found is None or not _is_same_row(instance, found):
        return None
    return {column.attname: found.get(column.attname, UNKNOWN) for column in columns}


def _is_same_row(instance: Model, found: Mapping[str, Any]) -> bool:
    columns = get_columns(type(instance))
    return all(
        columns[field.attname].is_same(
            found.get(field.attname, MISSING), _get_key(instance, field)
        )
        for field in instance._meta.pk_fields
    )


def _get_key(instance: Model, field: Field[Any, Any]) -> Any:
    """As the database has it, so that "5" is the same key as 5."""
    value = instance.__dict__.get(field.attname)
    try:
        return get_columns(type(instance))[field.attname].canonical(value)
    except ValueError:
        return UNKNOWN if hasattr(value, "resolve_expression") else value


def note_saved(unit: UnitOfWork, instance: Model, row: Mapping[str, Any]) -> None:
    """``row`` is what the write in progress makes of ``instance``."""
    unit.notes.setdefault(_NOTE, []).append((instance, row))


def move_forward(unit: UnitOfWork) -> None:
    """The write has been done: what it wrote is what the instances hold from now on."""
    journal = get_journal(connections[unit.using])
    for instance, row in unit.notes.pop(_NOTE, ()):
        state: Any = instance._state
        before = state.__dict__.get(_KEY)
        if journal.connection.in_atomic_block:
            journal.moved.append((weakref.ref(instance), before))
        found = _thaw(instance)
        if found is None or not _is_same_row(instance, found):
            found = {}
        for field in instance._meta.pk_fields:
            found[field.attname] = _get_key(instance, field)
        state.signal_kit_loaded = found | row


def _freeze(value: Any) -> Any:
    try:
        return marshal.dumps(value)
    except ValueError:
        return detach(value)


def _thaw_value(frozen: Any) -> Any:
    return marshal.loads(frozen) if isinstance(frozen, bytes) else detach(frozen)


def _thaw(instance: Model) -> dict[str, Any] | None:
    loaded = instance._state.__dict__.get(_KEY)
    if loaded is None or isinstance(loaded, dict):
        return None if loaded is None else dict(loaded)
    names, values, frozen = loaded
    found = dict(zip(names, values, strict=True))
    for name in frozen:
        found[name] = _thaw_value(frozen[name])
    return found
