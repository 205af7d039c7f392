"""Whether the audit log tells what the triggers have seen: neither less, nor more."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Container
from typing import Any

from django.db import connection
from django.db.models import Model

from django_signal_kit.audit.keys import to_key
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.receivers import AuditLog
from django_signal_kit.wiring.registry import registry
from tests.thirdparty import reasons, rowchanges
from tests.thirdparty.rowchanges import Change
from tests.thirdparty.told import Told


class Comparison:
    """Of all that was written since it began, or since the last :meth:`restart`."""

    def __init__(self) -> None:
        (log,) = (each for each in registry.receivers if isinstance(each, AuditLog))
        tables = rowchanges.list_tables()
        models = [
            model
            for model in registry.get_models(log)
            if not model._meta.proxy and model._meta.db_table in tables
        ]
        fields: list[Any] = [
            field
            for model in models
            for field in model._meta.local_many_to_many
            if field.remote_field.through._meta.auto_created and hasattr(field, "m2m_column_name")
        ]
        self.models = {model._meta.db_table: model for model in models}
        self.links = {field.remote_field.through._meta.db_table: field for field in fields}
        reasons.watch()
        rowchanges.install(models, fields)
        self.restart()

    def restart(self) -> None:
        rowchanges.forget()
        AuditEntry.objects.all().delete()

    def find_differences(self, counts: dict[str, int]) -> list[str]:
        """Sentences about what differs. ``counts`` is told how many changes were told, and how
        many need not be, by their reason."""
        if connection.needs_rollback:
            return []
        changes, told, found = rowchanges.read(), Told(), []
        deleted = {
            (change.table, self._get_key(change))
            for change in changes
            if change.action == "delete" and change.table in self.models
        }
        # Those that have to be told first, lest another take the entry.
        for change in sorted(changes, key=lambda change: bool(change.reason)):
            if change.table in self.links:
                is_told = self._is_link_told(change, told, deleted)
            else:
                is_told = self._is_row_told(change, told)
            if is_told or change.reason:
                how = "told" if is_told else change.reason
                counts[how] = counts.get(how, 0) + 1
            else:
                found.append(f"happened, and was not told: {change}")
        return [*found, *told.list_rest(self._list_updates(changes))]

    def _get_key(self, change: Change) -> str:
        model: Any = self.models[change.table]
        return to_key(model, model._meta.pk.to_python(change.key))

    def _is_row_told(self, change: Change, told: Told) -> bool:
        key = self._get_key(change)
        if change.action != "update":
            return told.take_row(change.table, change.action, key)
        model = self.models[change.table]
        untold = _list_fields(model, change.columns) - told.updates[change.table, key]
        return all(_reads_as_before(model, name, change.columns) for name in untold)

    def _is_link_told(self, change: Change, told: Told, deleted: Container[Any]) -> bool:
        field = self.links[change.table]
        source, target = json.loads(change.key)
        row = field.model._meta.db_table, to_key(field.model, source)
        member = to_key(field.remote_field.model, target)
        if told.take_link((*row, field.name, change.action, member)):
            return True
        # The deletion of a row tells of its links as well.
        return change.action == "delete" and row in deleted

    def _list_updates(self, changes: list[Change]) -> dict[tuple[str, str], set[str]]:
        found: dict[tuple[str, str], set[str]] = defaultdict(set)
        for change in changes:
            if change.action == "update":
                names = _list_fields(self.models[change.table], change.columns)
                found[change.table, self._get_key(change)] |= names
        return found


def _list_fields(model: type[Model], columns: Container[str]) -> set[str]:
    return {field.name for field in model._meta.local_concrete_fields if field.column in columns}


def _reads_as_before(model: type[Model], name: str, columns: dict[str, list[str]]) -> bool:
    """Does the field make the same of what is another text in its column?"""
    field: Any = model._meta.get_field(name)
    if not hasattr(field, "from_db_value"):
        return False
    old, new = (
        field.get_prep_value(field.from_db_value(rowchanges.unquote(text), None, connection))
        for text in columns[field.column]
    )
    return bool(old == new)
