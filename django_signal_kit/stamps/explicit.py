"""Which stamps the caller has set himself."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from django.db.models import Field, Model
from django.db.models.fields import NOT_PROVIDED

from django_signal_kit.rows.columns import get_columns
from django_signal_kit.rows.memory import get_loaded_value, note_saved
from django_signal_kit.rows.values import UNKNOWN
from django_signal_kit.units.unit import get_unit


def is_explicit(instance: Model, field: Field[Any, Any]) -> bool:
    """Has the caller given ``field`` of ``instance`` a value of his own?

    One that was loaded is not his, in a copy of a row neither; nor is a default of the field that
    is the same for each row. Of an instance of which nobody knows what was loaded, which has not
    been made new, nothing is. Only a value that is there is a stamp: None asks for one.
    """
    value = instance.__dict__.get(field.attname)
    if value is None or _is_default(field, value):
        return False
    loaded = get_loaded_value(instance, field.attname)
    if loaded is UNKNOWN:
        return instance._state.adding or hasattr(instance._state, "signal_kit_loaded")
    return bool(value != loaded)


def _is_default(field: Field[Any, Any], value: Any) -> bool:
    if hasattr(value, "resolve_expression"):
        # As a new instance holds the place of a default of the database.
        return type(value).__name__ == "DatabaseDefault"
    default = field.default
    return default is not NOT_PROVIDED and not callable(default) and bool(value == default)


def note_written(
    instance: Model, fields: Iterable[Field[Any, Any]], update_fields: Collection[str] | None
) -> None:
    """What the write in progress has written of ``fields`` is as if it were loaded."""
    unit, columns = get_unit(), get_columns(type(instance))
    row: dict[str, Any] = {}
    for field in fields:
        names = {field.name, field.attname}
        if field.attname in instance.__dict__ and (
            update_fields is None or not names.isdisjoint(update_fields)
        ):
            try:
                row[field.attname] = columns[field.attname].canonical(
                    instance.__dict__[field.attname]
                )
            except ValueError:
                row[field.attname] = UNKNOWN
    if unit is not None and row:
        note_saved(unit, instance, row)
