"""What an entry tells of a row's fields, as JSON: ``{field: [old, new]}``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django_signal_kit.audit.plans import Stored
from django_signal_kit.rows.memory import MISSING
from django_signal_kit.rows.values import UNKNOWN

Changes = dict[str, Any]


def compare(
    stored: Stored, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None
) -> Changes:
    """What differs between two rows, given as values by attname; None if there is no such row."""
    if old is None or new is None:
        row, position = (new, 1) if old is None else (old, 0)
        return _list_values(stored, row or {}, position)
    changes: Changes = {}
    for name, attname, store, is_same in stored:
        before, after = old.get(attname, MISSING), new.get(attname, MISSING)
        if before is after or before is MISSING or after is MISSING or is_same(before, after):
            continue
        changes[name] = [
            None if before is None else store(before),
            None if after is None else store(after),
        ]
    return changes


def leave_out(changes: Mapping[str, Any], stamps: frozenset[str]) -> Changes:
    """``changes``, by name, without ``stamps`` if there is anything beside them: then these say
    only that there was a change."""
    if stamps.isdisjoint(changes) or stamps.issuperset(changes):
        return changes  # type: ignore[return-value]
    return {name: change for name, change in changes.items() if name not in stamps}


def tell_statement(stored: Stored, values: Mapping[str, Any]) -> Changes:
    """What a bulk write sets, values by name. What they were nobody has read."""
    changes: Changes = {}
    for name, _, store, _ in stored:
        if name in values:
            value = values[name]
            is_known = value is not UNKNOWN and not hasattr(value, "resolve_expression")
            changes[name] = [str(UNKNOWN), store(value) if is_known else str(UNKNOWN)]
    return changes


def tell_links(
    verb: str, keys: Iterable[Any], to_members: Callable[[list[Any]], list[Any]]
) -> dict[str, Any]:
    """The rows that were ``"added"`` to a many-to-many field, or ``"removed"``; ``to_members``
    makes JSON of their keys."""
    return {verb: to_members(sorted(keys, key=_sort_key))}


def _list_values(stored: Stored, row: Mapping[str, Any], position: int) -> Changes:
    """What a row is created with, or was when it was deleted."""
    if position:
        return {
            name: [None, store(value)]
            for name, attname, store, _ in stored
            if (value := row.get(attname)) is not None
        }
    return {
        name: [store(value), None]
        for name, attname, store, _ in stored
        if (value := row.get(attname)) is not None
    }


def _sort_key(value: Any) -> tuple[str, Any]:
    return (type(value).__name__, value)
