"""Files that a row named, which others may have put away since."""

from __future__ import annotations

from collections.abc import Set
from datetime import datetime
from typing import Any

from django.db.models import FileField, Model

from django_signal_kit.audit.refusals import RevertError
from django_signal_kit.wiring.registry import registry


def bring_back_files(entry: Any, row: Model, names: Set[str], *, force: bool = False) -> None:
    """Have what the fields ``names`` of ``row`` name in its place again. Raises RevertError if it
    is gone for good."""
    fields = [
        field
        for field in row._meta.concrete_fields
        if field.name in names and isinstance(field, FileField)
    ]
    if not fields:
        return
    for receiver in registry.get_covering(type(row)):
        receiver.restore_values(row, {field.name for field in fields}, entry.at, entry.using)
    for field in fields:
        file = getattr(row, field.attname)
        if file and not force and not file.storage.exists(file.name):
            raise RevertError(
                f"The file {file.name!r}, which {field} named before entry {entry.pk}, is gone "
                f"for good.",
                by_force="leaves its name without a file",
            )


def show_files(row: Model, at: datetime) -> None:
    """Have the file fields of ``row``, which is as it was ``at`` that moment, show their files."""
    names = {
        field.name
        for field in row._meta.concrete_fields
        if isinstance(field, FileField) and row.__dict__.get(field.attname)
    }
    if names:
        for receiver in registry.get_covering(type(row)):
            receiver.show_values(row, names, at)
