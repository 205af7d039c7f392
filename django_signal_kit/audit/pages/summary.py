"""The changes of an entry in a line: "Price 9.50 → 12.00, Tags +3"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from django.db.models import DateField, Model, TimeField

from django_signal_kit.audit.pages.diff import Row, Value, get_rows
from django_signal_kit.audit.plans import get_stamps

#: The longest value that a line shows.
_WIDTH = 28
# Longer than that as a rule, though nobody wants its microseconds.
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?([+-]\d\d:\d\d|Z)?")


@dataclass(frozen=True)
class Item:
    """One field of the line. ``old`` and ``new`` are None where there is nothing to show."""

    label: str
    old: str | None = None
    new: str | None = None


def get_summary(
    changes: Any, model: type[Model] | None, action: str, limit: int = 3
) -> tuple[list[Item], int]:
    """At most ``limit`` items, and how many fields they leave out. What a person changed comes
    before what is stamped. ``model`` is None if it is gone.

    Of what a row was created or deleted with, only what says something about it.
    """
    stamps = _list_stamps(model)
    rows = sorted(get_rows(changes, model), key=lambda row: row.name in stamps)
    items = [_get_item(row, action) for row in rows if not _says_nothing(row, action)]
    return items[:limit], len(items[limit:])


def _list_stamps(model: type[Model] | None) -> frozenset[str]:
    """The names of the fields that are written beside, and of moments that no form asks for."""
    if model is None:
        return frozenset()
    return get_stamps(model) | {
        field.name
        for field in model._meta.concrete_fields
        if isinstance(field, DateField | TimeField) and not field.editable
    }


def _says_nothing(row: Row, action: str) -> bool:
    shown = {"create": row.new, "delete": row.old}.get(action)
    return row.is_key or (shown is not None and shown.kind in ("none", "empty", "redacted"))


def _get_item(row: Row, action: str) -> Item:
    if row.kind == "members":
        counts = (("+", row.added), ("\N{MINUS SIGN}", row.removed))
        return Item(row.label, new=" ".join(f"{sign}{len(keys)}" for sign, keys in counts if keys))
    if row.old is None or row.new is None:
        return Item(row.label, new="…")
    if action == "create":
        return Item(row.label, new=shorten(row.new))
    if action == "delete":
        return Item(row.label, new=shorten(row.old))
    if _is_short(row.old) and _is_short(row.new):
        return Item(row.label, shorten(row.old), shorten(row.new))
    return Item(row.label, new="…")


def _is_short(value: Value) -> bool:
    text = value.label or value.text
    return len(text) <= _WIDTH and "\n" not in text


def shorten(value: Value) -> str:
    """``value`` in a few characters."""
    if value.kind == "none":
        return "—"
    if value.kind == "empty":
        return "“”"
    text = value.label or value.text
    if moment := _MOMENT.fullmatch(text):
        return " ".join(moment.group(1, 2)) + (moment[3] or "")
    return text if _is_short(value) else f"{' '.join(text[:_WIDTH].split())}…"
