"""Whether a save changes anything but stamps."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from django.db.models import Model
from django.db.models.fields import NOT_PROVIDED

from django_signal_kit.rows.canonical import Column, get_columns


def has_changed(
    instance: Model,
    old: Mapping[str, Any],
    update_fields: Collection[str] | None,
    stamps: Collection[str],
) -> bool:
    """Will the row of ``instance`` be another than ``old``, given by attname, once it is saved?

    ``stamps`` are names of fields that do not count, nor do those that stamp themselves
    (``auto_now``). What only the database can say (an expression) is a change.
    """
    return any(
        _is_other(column, instance, old)
        for column in get_columns(type(instance)).values()
        if _counts(column, update_fields, stamps)
    )


def _counts(
    column: Column, update_fields: Collection[str] | None, stamps: Collection[str]
) -> bool:
    field: Any = column.field
    if field.primary_key or field.generated or field.name in stamps:
        return False
    if getattr(field, "auto_now", False):
        return False
    return update_fields is None or not {field.name, field.attname}.isdisjoint(update_fields)


def _is_other(column: Column, instance: Model, old: Mapping[str, Any]) -> bool:
    value = column.get(instance)
    if value is NOT_PROVIDED:
        # Not loaded, and so not written.
        return False
    if column.attname not in old or getattr(value, "_committed", True) is False:
        # A file may be uploaded under the name of the one that is there.
        return True
    try:
        new = value if value.__class__ is column.plain else column.canonical(value)
    except ValueError:
        return True
    return not column.is_same(old[column.attname], new)
