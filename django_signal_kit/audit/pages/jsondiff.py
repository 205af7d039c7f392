"""A change of JSON, key by key: ``address.city``, old and new."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from django_signal_kit.audit.pages.diff import Row, get_value, reveal

Part = tuple[str, Any, Any]

# What differs in more places than that was written anew, and is shown as a whole.
_MOST_PARTS = 100
_DEEPEST = 20
_ABSENT = object()


def expand(row: Row) -> list[Row]:
    """A row for each part that differs, and one for those that do not. ``row`` alone if its
    values are not two objects, or two lists of the same length."""
    if row.old is None or row.new is None or not _is_comparable(row.old.data, row.new.data):
        return [row]
    changed: list[Part] = []
    same: dict[str, Any] = {}
    for path, old, new in _walk("", row.old.data, row.new.data, _DEEPEST):
        if _is_same(old, new):
            same[path] = new
        else:
            changed.append((path, old, new))
    if not 0 < len(changed) <= _MOST_PARTS:
        return [row]
    rows = [_get_row(row, *part) for part in changed]
    if same:
        rows.append(Row(row.name, row.label, "same", raw=get_value(same), count=len(same)))
    return rows


def _get_row(row: Row, path: str, old: Any, new: Any) -> Row:
    before, after = (None if value is _ABSENT else get_value(value) for value in (old, new))
    return Row(row.name, row.label, "value", old=before, new=after, path=reveal(path))


def _walk(path: str, old: Any, new: Any, depth: int) -> Iterator[Part]:
    """The parts that are the same as a whole, and the smallest ones that are not."""
    if not depth or not _is_comparable(old, new) or (path and _is_same(old, new)):
        yield path, old, new
    elif isinstance(old, dict):
        for key in sorted({*old, *new}):
            place = _get_path(path, key)
            yield from _walk(place, old.get(key, _ABSENT), new.get(key, _ABSENT), depth - 1)
    else:
        for index, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _walk(f"{path}[{index}]", one, other, depth - 1)


def _is_comparable(old: Any, new: Any) -> bool:
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) > 0
    return isinstance(old, dict) and isinstance(new, dict)


def _is_same(old: Any, new: Any) -> bool:
    if old is _ABSENT or new is _ABSENT:
        return False
    # Not by ==, to which True is 1.
    return json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True)


def _get_path(path: str, key: str) -> str:
    if not key.isidentifier():
        return f"{path}[{json.dumps(key, ensure_ascii=False)}]"
    return f"{path}.{key}" if path else key
