"""Does a save give a row other files than it has?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.core.files.base import File
from django.db.models import FileField, Model

from django_signal_kit.rows.columns import get_columns
from django_signal_kit.rows.memory import get_loaded_row
from django_signal_kit.rows.values import UNKNOWN


def is_changing(instance: Model, fields: Iterable[FileField], old: Mapping[str, Any]) -> bool:
    """Does saving ``instance`` give one of ``fields`` another file than the row has?"""
    for field in fields:
        value = instance.__dict__.get(field.attname, instance)
        if value is instance:
            # Deferred: it is not written.
            continue
        if isinstance(value, File) and not getattr(value, "_committed", False):
            return True
        if hasattr(value, "resolve_expression") or str(value or "") != (old[field.attname] or ""):
            return True
    return False


def is_as_loaded(instance: Model, fields: Sequence[FileField], using: str) -> bool:
    """Is it certain that ``instance`` holds in ``fields`` what was loaded into it? No query."""
    columns = get_columns(type(instance))
    loaded = get_loaded_row(instance, [columns[field.attname] for field in fields], using)
    if loaded is None or instance._state.adding:
        return False
    is_known = all(
        value is not UNKNOWN or name not in instance.__dict__ for name, value in loaded.items()
    )
    return is_known and not is_changing(instance, fields, loaded)
