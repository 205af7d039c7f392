"""What an entry tells of a row's fields, written as JSON at once.

The very text that ``encode()`` makes of what :func:`~django_signal_kit.audit.changes.compare`
finds, for those who need no more than the text.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from json.encoder import encode_basestring_ascii
from typing import Any, NamedTuple
from uuid import UUID

from django_signal_kit.audit.entries import encode
from django_signal_kit.rows.memory import MISSING


class Line(NamedTuple):
    """A field."""

    name: str
    attname: str
    #: Makes JSON of a value that is not None.
    write: Callable[[Any], str]
    is_same: Callable[[Any, Any], bool]
    #: ``"name":[``
    start: str


def make_line(
    name: str,
    attname: str,
    store: Callable[[Any], Any],
    is_same: Callable[[Any, Any], bool],
    *,
    is_plain: bool,
) -> Line:
    """``is_plain``: what ``store`` makes of a value is what ``to_json()`` makes of it."""
    start = f"{encode(name)}:["

    def write_odd(value: Any) -> str:
        return encode(store(value))

    def write(value: Any) -> str:
        cls = value.__class__
        if cls is str and value.isprintable():
            return encode_basestring_ascii(value)
        return _WRITERS.get(cls, write_odd)(value)

    return Line(name, attname, write if is_plain else write_odd, is_same, start)


def write_created(lines: Iterable[Line], row: Mapping[str, Any]) -> str:
    """What a row is created with."""
    pieces = [
        f"{start}null,{write(value)}]"
        for _, attname, write, _, start in lines
        if (value := row.get(attname)) is not None
    ]
    return f"{{{','.join(pieces)}}}"


def write_deleted(lines: Iterable[Line], row: Mapping[str, Any]) -> str:
    """What a row was that is deleted."""
    pieces = [
        f"{start}{write(value)},null]"
        for _, attname, write, _, start in lines
        if (value := row.get(attname)) is not None
    ]
    return f"{{{','.join(pieces)}}}"


def write_changed(
    lines: Iterable[Line], old: Mapping[str, Any], new: Mapping[str, Any]
) -> dict[str, str]:
    """What differs between two rows: name -> its piece of the text."""
    pieces: dict[str, str] = {}
    for name, attname, write, is_same, start in lines:
        before, after = old.get(attname, MISSING), new.get(attname, MISSING)
        if before is after or before is MISSING or after is MISSING or is_same(before, after):
            continue
        was = "null" if before is None else write(before)
        now = "null" if after is None else write(after)
        pieces[name] = f"{start}{was},{now}]"
    return pieces


def write(
    lines: Iterable[Line],
    old: Mapping[str, Any] | None,
    new: Mapping[str, Any] | None,
    untold: frozenset[str],
) -> str:
    """What became of a row, None where there is none; "" if an update has changed nothing but the
    fields ``untold``."""
    if old is None:
        return write_created(lines, new or {})
    if new is None:
        return write_deleted(lines, old)
    pieces = write_changed(lines, old, new)
    if untold and not untold.isdisjoint(pieces):
        pieces = {name: piece for name, piece in pieces.items() if name not in untold}
    return f"{{{','.join(pieces.values())}}}" if pieces else ""


def _write_moment(value: Any) -> str:
    return f'"{value.isoformat()}"'


def _write_str(value: Any) -> str:
    return f'"{value!s}"'


_WRITERS: dict[type, Callable[[Any], str]] = {
    int: int.__repr__,
    bool: lambda value: "true" if value else "false",
    Decimal: _write_str,
    UUID: _write_str,
    datetime.datetime: _write_moment,
    datetime.date: _write_moment,
    datetime.time: _write_moment,
}
