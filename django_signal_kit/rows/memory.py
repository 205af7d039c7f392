"""What was loaded into an instance, kept beside it: old values that cost no query.

Kept is the very tuple that ``from_db()`` is given, with a copy of those values alone that can be
changed in place. It moves forward when the instance is saved, and back if that is rolled back. It
is what was loaded, which is not always what the database holds by now.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import wraps
from typing import Any

from django.db import connections, router
from django.db.models import Field, Model
from django.db.models.base import ModelState
from django.db.models.query_utils import DeferredAttribute

from django_signal_kit.rows.columns import Column, get_columns
from django_signal_kit.rows.telling import detach
from django_signal_kit.rows.values import UNKNOWN
from django_signal_kit.units.journal import get_journal
from django_signal_kit.units.unit import UnitOfWork, get_unit

#: Model -> attnames of what may be changed in place, for models whose loaded values are kept.
kept: dict[type[Model], tuple[str, ...]] = {}

MISSING = object()

_KEY = "signal_kit_loaded"
_NOTE = "loaded"
# Model -> name and what it had itself under it.
_originals: dict[type[Model], list[tuple[str, Any]]] = {}
# Django's own method, while another is in its place.
_fetch_many: list[Callable[..., None]] = []


def keep(models: Mapping[type[Model], Collection[str]]) -> None:
    """Keep what is loaded into instances of these models, and of no others. Each with the attnames
    of what will be asked for."""
    for model in reversed(list(kept)):
        _let_go(model)
    keep_also(models)


def keep_also(models: Mapping[type[Model], Collection[str]]) -> None:
    """Keep what is loaded into instances of these models too, with the fields they have now."""
    for model in models:
        _let_go(model)
        columns = get_columns(model).values()
        asked = models[model]
        kept[model] = tuple(
            column.attname for column in columns if column.is_mutable and column.attname in asked
        )
        from_db: Any = model.from_db
        _replace(model, "from_db", classmethod(_wrap_from_db(model, from_db.__func__)))
        _replace(model, "refresh_from_db", _wrap_refresh(model.refresh_from_db))
    _watch_peers()


def _watch_peers() -> None:
    """Since Django 6.1 a deferred attribute may be loaded for all rows of a query at once."""
    attribute: Any = DeferredAttribute
    if kept and not _fetch_many and hasattr(attribute, "fetch_many"):
        _fetch_many.append(attribute.fetch_many)
        attribute.fetch_many = _wrap_fetch_many(attribute.fetch_many)
    elif not kept and _fetch_many:
        attribute.fetch_many = _fetch_many.pop()


def _let_go(model: type[Model]) -> None:
    kept.pop(model, None)
    for name, original in _originals.pop(model, ()):
        if original is None:
            delattr(model, name)
        else:
            setattr(model, name, original)


def _replace(model: type[Model], name: str, function: Any) -> None:
    _originals.setdefault(model, []).append((name, vars(model).get(name)))
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
        instance._state.signal_kit_loaded = (db, field_names, values, frozen)  # type: ignore[attr-defined]
        return instance

    return from_db


def _wrap_refresh(original: Callable[..., None]) -> Callable[..., None]:
    @wraps(original)
    def refresh_from_db(self: Model, *args: Any, **kwargs: Any) -> None:
        # Handed on as they are given: a model may have a method of its own, which takes less.
        fields = args[1] if len(args) > 1 else kwargs.get("fields")
        if fields is not None:
            fields = list(fields)
            if len(args) > 1:
                args = (args[0], fields, *args[2:])
            else:
                kwargs["fields"] = fields
        columns, before = get_columns(type(self)), set(self.__dict__)
        original(self, *args, **kwargs)
        # What was deferred may have come along.
        _note_loaded(
            self,
            [
                attname
                for attname, column in columns.items()
                if fields is None
                or attname not in before
                or not {attname, column.field.name}.isdisjoint(fields)
            ],
        )

    return refresh_from_db


def _wrap_fetch_many(original: Callable[..., None]) -> Callable[..., None]:
    @wraps(original)
    def fetch_many(self: Any, instances: Iterable[Model]) -> None:
        attname = self.field.attname
        instances = list(instances)
        given = [i for i in instances if type(i) in kept and attname not in i.__dict__]
        original(self, instances)
        for instance in given:
            _note_loaded(instance, (attname,))

    return fetch_many


def _note_loaded(instance: Model, attnames: Iterable[str]) -> None:
    """The database has just given ``instance`` these values, as far as it has them now."""
    using = instance._state.db
    found, values = _thaw(instance, using) or {}, instance.__dict__
    for attname in attnames:
        if attname in values:
            found[attname] = _thaw_value(_freeze(values[attname]))
    instance._state.signal_kit_loaded = using, found  # type: ignore[attr-defined]


def get_loaded_row(
    instance: Model, columns: Sequence[Column], using: str
) -> dict[str, Any] | None:
    """What was loaded into ``instance``, or last saved from it, by attname; no query.

    ``UNKNOWN`` stands for what was not loaded. None if nothing was, or another row: an instance
    that was made by hand, that has been given another key since, or that is written into another
    database than the one it was loaded from and no replica of it.
    """
    unit = get_unit()
    noted: Any = MISSING if unit is None else unit.notes.get((_NOTE, id(instance)), MISSING)
    found = _get_loaded(instance, using) if noted is MISSING else noted
    if found is None:
        return None
    return {column.attname: found.get(column.attname, UNKNOWN) for column in columns}


def _get_loaded(instance: Model, using: str) -> Any:
    found = _thaw(instance, using)
    return None if found is None or not _is_same_row(instance, found) else found


def get_loaded_value(instance: Model, attname: str) -> Any:
    """What was loaded into one attribute of ``instance``, or last saved from it, whatever key or
    database it has by now; ``UNKNOWN`` if nothing was. For values that are never changed in
    place; no query."""
    loaded = instance._state.__dict__.get(_KEY)
    if loaded is None:
        return UNKNOWN
    if len(loaded) == 2:
        return loaded[1].get(attname, UNKNOWN)
    names = list(loaded[1])
    return loaded[2][names.index(attname)] if attname in names else UNKNOWN


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


def move_on(
    unit: UnitOfWork, instance: Model, row: Mapping[str, Any], unknown: Iterable[str]
) -> None:
    """The statement that makes ``row`` of ``instance``, and nobody knows what of the columns
    ``unknown``, has been run. What was loaded before it is kept for the write in progress."""
    unit.notes[_NOTE, id(instance)] = _get_loaded(instance, unit.using)
    note_saved(unit, instance, {**row, **dict.fromkeys(unknown, UNKNOWN)})
    move_forward(unit)


def move_forward(unit: UnitOfWork) -> None:
    """The write has been done: what it wrote is what the instances hold from now on."""
    journal = get_journal(connections[unit.using])
    for instance, row in unit.notes.pop(_NOTE, ()):
        state: Any = instance._state
        before = state.__dict__.get(_KEY)
        journal.remember_instance(instance, _KEY, before)
        found = _get_loaded(instance, unit.using) or {}
        for field in instance._meta.pk_fields:
            found[field.attname] = _get_key(instance, field)
        state.signal_kit_loaded = unit.using, found | row


def _freeze(value: Any) -> Any:
    try:
        return marshal.dumps(value)
    except ValueError:
        return detach(value)


def _thaw_value(frozen: Any) -> Any:
    return marshal.loads(frozen) if isinstance(frozen, bytes) else detach(frozen)


def _holds_same(model: type[Model], alias: str, using: str | None) -> bool:
    """Is one of the two a replica of the other? A router says so by allowing relations."""
    one, other = model.__new__(model), model.__new__(model)
    one._state, other._state = ModelState(), ModelState()
    one._state.db, other._state.db = alias, using
    return router.allow_relation(one, other)


def _thaw(instance: Model, using: str | None) -> dict[str, Any] | None:
    loaded = instance._state.__dict__.get(_KEY)
    if loaded is None or not (loaded[0] == using or _holds_same(type(instance), loaded[0], using)):
        return None
    if len(loaded) == 2:
        return dict(loaded[1])
    _, names, values, frozen = loaded
    found = dict(zip(names, values, strict=True))
    for name in frozen:
        found[name] = _thaw_value(frozen[name])
    return found
