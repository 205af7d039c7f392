"""The columns of a row that keys and tags are made of, and whether a change of them matters."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from django.db.models import Field, Model

from django_signal_kit.cache.related import get_path
from django_signal_kit.cache.templates import get_names
from django_signal_kit.rows.columns import Column, get_columns
from django_signal_kit.rows.database import Row

if TYPE_CHECKING:
    from django_signal_kit.cache.cache_invalidation import CacheInvalidation


def list_columns(receiver: CacheInvalidation, model: type[Model]) -> list[Field[Any, Any]]:
    """Those but the key that the options of ``receiver`` name, or that a relation of ``related``
    starts with; all, if a template goes on to other rows."""
    columns = {f.name: f for f in model._meta.concrete_fields}
    columns |= {f.attname: f for f in model._meta.concrete_fields}
    key = ("pk", model._meta.pk.name)
    names = get_names([*receiver.keys, *receiver.tags], receiver.fragments)
    names = [name for name in names if name not in key]
    if not columns.keys() >= set(names):
        return list(model._meta.concrete_fields)
    names += [name for name in receiver.fields if name in columns]
    paths = [get_path(model, name) for name in receiver.related]
    names += [path.key.name for path in paths if path.key is not None]
    return list(dict.fromkeys(columns[name] for name in names))


def list_written(
    model: type[Model], old_fields: Sequence[Field[Any, Any]], update_fields: Any
) -> list[Column]:
    """The key, and those of ``old_fields`` that a save with ``update_fields`` writes."""
    columns = get_columns(model)
    return [
        columns[field.attname]
        for field in dict.fromkeys((*model._meta.pk_fields, *old_fields))
        if update_fields is None
        or field.primary_key
        or field.generated
        or not update_fields.isdisjoint((field.name, field.attname))
    ]


def differ(model: type[Model], names: Collection[str], old: Row | None, new: Row) -> bool:
    """Is one of the fields ``names`` another now?"""
    fields = [f for f in model._meta.concrete_fields if {f.name, f.attname} & {*names}]
    columns = get_columns(model)
    return any(
        old is None or not columns[f.attname].is_same(old[f.attname], new[f.attname])
        for f in fields
    )


def names_key(model: type[Model], names: Any) -> bool:
    """Is a column of the primary key one of the fields ``names``?"""
    return bool(names) and any(field.name in names for field in model._meta.pk_fields)
