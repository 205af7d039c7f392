"""Whether a save changes anything but stamps."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from django.db import connections, models
from django.db.models import Model, Q
from django.db.models.fields import NOT_PROVIDED

from django_signal_kit.rows.columns import Column, get_columns
from django_signal_kit.rows.fields import get_target
from django_signal_kit.stamps.columns import Stamps

# Those of which every database says itself whether a value is the one that is there.
_COMPARABLE = {
    models.AutoField,
    models.BigAutoField,
    models.BigIntegerField,
    models.BooleanField,
    models.DateField,
    models.DateTimeField,
    models.DecimalField,
    models.DurationField,
    models.IntegerField,
    models.PositiveBigIntegerField,
    models.PositiveIntegerField,
    models.PositiveSmallIntegerField,
    models.SmallAutoField,
    models.SmallIntegerField,
    models.TimeField,
    models.UUIDField,
}
_TEXTS = {
    models.CharField,
    models.EmailField,
    models.SlugField,
    models.TextField,
    models.URLField,
}


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


def find_same(stamps: Stamps, values: Mapping[str, Any], using: str) -> Q | None:
    """The condition under which an update with ``values`` leaves a row as it is, for rows that
    nobody reads. None if that cannot be said in the statement itself: some columns cannot be
    compared, take one text for another, or are in another table than the stamps."""
    same = Q()
    for name, value in values.items():
        if name in stamps.names:
            continue
        field: Any = stamps.model._meta.get_field(name)
        if not _is_comparable(field, using) or field.model is not stamps.changed.model:
            return None
        same &= Q(**({f"{name}__isnull": True} if value is None else {name: value}))
    return same or None


def _is_comparable(field: Any, using: str) -> bool:
    target = get_target(field)
    if type(target) in _TEXTS:
        # Collations of MySQL take "tea" for "Tea".
        has_collation = getattr(target, "db_collation", None) is not None
        return connections[using].vendor in ("postgresql", "sqlite") and not has_collation
    return type(target) in _COMPARABLE
