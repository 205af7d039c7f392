"""Reads the log as a ledger: what it tells, in its order, leads to what the database holds."""

from __future__ import annotations

from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.db.models import Model, QuerySet

from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.rows.values import to_json


def replay(*models: type[Model], in_order: bool = True) -> None:
    """Assert that each old value of the entries about ``models`` is what was there before, that
    they are in the order of their times, and that what they lead to is in the database.

    ``in_order``: nobody else has written meanwhile.
    """
    last = None
    for entry in AuditEntry.objects.order_by("pk") if in_order else ():
        assert last is None or entry.at >= last
        last = entry.at
    for model in models:
        rows: dict[str, dict[str, Any]] = {}
        kind = ContentType.objects.get_for_model(model)
        for entry in AuditEntry.objects.filter(content_type=kind).order_by("pk"):
            _follow(rows, entry)
        assert {key: _tell(row) for key, row in rows.items()} == {
            key: _tell(row) for key, row in _read(model).items()
        }


def _tell(row: dict[str, Any]) -> dict[str, Any]:
    """What a log says of a row: nothing of what is None, and no secrets."""
    return {
        name: value for name, value in row.items() if value is not None and "token" not in name
    }


def _follow(rows: dict[str, dict[str, Any]], entry: Any) -> None:
    key, action = entry.object_pk, entry.action
    said = f"{action} of {key}: {entry.changes}"
    if action == "create":
        assert key not in rows, f"{said}, which is there"
        rows[key] = {}
    assert key in rows, f"{said}, which is not there"
    row = rows[key]
    if action.startswith("m2m"):
        return
    for name, (old, new) in entry.changes.items():
        assert row.get(name) == old, f"{said}, and {name} was {row.get(name)!r}"
        row[name] = new
    if action == "delete":
        left = {name: value for name, value in rows.pop(key).items() if value is not None}
        assert left == {}, f"{said}, and there was {left}"


def _read(model: type[Model]) -> dict[str, dict[str, Any]]:
    fields = model._meta.concrete_fields
    rows: QuerySet[Any] = QuerySet(model)
    return {
        str(pk): {field.name: to_json(value) for field, value in zip(fields, values, strict=True)}
        for pk, *values in rows.values_list("pk", *(field.attname for field in fields))
    }
