"""Of which model an entry tells, also when that is gone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.db.models import Model

from django_signal_kit.audit.models import AbstractAuditEntry


def set_kinds(entries: Iterable[Any]) -> None:
    """Set ``content_type`` of each entry from Django's cache; None where it is gone."""
    kinds: dict[Any, Model | None] = {None: None}
    for entry in entries:
        key = entry.content_type_id
        if key not in kinds:
            manager = ContentType.objects.db_manager(entry._state.db)
            try:
                kinds[key] = manager.get_for_id(key)
            except ContentType.DoesNotExist:
                kinds[key] = None
        # Not by assignment, which would forget the key where the kind is gone.
        entry._meta.get_field("content_type").set_cached_value(entry, kinds[key])


def get_model(entry: AbstractAuditEntry) -> type[Model] | None:
    """The model of the row that ``entry`` tells of; None if it is gone."""
    kind = entry.content_type
    return None if kind is None else kind.model_class()
