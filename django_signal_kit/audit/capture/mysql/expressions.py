"""Columns of a row as JSON, as text, and compared: SQL of MariaDB and MySQL.

Written so that they mean the same whatever the session's ``sql_mode`` and character set are:
names in backticks, ASCII alone, no backslash, and what is not plain as hexadecimal digits. A
value too long for the server makes NULL of all that it is a part of, which the log refuses.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from django_signal_kit.audit.capture.specification import Cell, Kind
from django_signal_kit.rows import values


def quote_name(name: str) -> str:
    return "`{}`".format(name.replace("`", "``"))


def quote_text(text: str) -> str:
    if text.isascii() and text.isprintable() and "'" not in text and "\\" not in text:
        return f"'{text}'"
    return f"_utf8mb4 x'{text.encode().hex()}'"


def get_value(cell: Cell, row: str) -> str:
    """The column in ``row``: "OLD", "NEW" or the name of a table. Of JSON, "null" is NULL, as it
    is for Python."""
    column = f"{row}.{quote_name(cell.column)}"
    return f"NULLIF({_to_utf8(column)}, 'null')" if cell.kind is Kind.JSON else column


def write_json(cell: Cell, row: str) -> str:
    """The column, which has no JSON, as JSON, where it is not NULL."""
    return REDACTED if cell.is_secret else _WRITERS[cell.kind](get_value(cell, row))


def make_json(cell: Cell, row: str) -> str:
    """The column, which has no JSON, as JSON; "null" if it is NULL."""
    return if_null("'null'", cell, row, write_json(cell, row))


def make_text(cell: Cell, row: str) -> str:
    """The column as ``str()`` has it in Python."""
    return if_null("'None'", cell, row, _TEXTS.get(cell.kind, _to_chars)(get_value(cell, row)))


def if_null(otherwise: str, cell: Cell, row: str, written: str) -> str:
    """``written``, or ``otherwise`` where the column in it is NULL."""
    if cell.kind in _SHORT and not cell.is_secret:
        # Nothing else can make NULL of it; and a server gets ready for less.
        return f"COALESCE({written}, {otherwise})"
    return f"IF({get_value(cell, row)} IS NULL, {otherwise}, {written})"


def write_bytes(cell: Cell, row: str) -> str:
    """A text that is looked for within another, to the byte; "" if it is NULL."""
    return f"COALESCE({_to_utf8(get_value(cell, row))}, '') COLLATE utf8mb4_bin"


def is_same(cell: Cell) -> str:
    """Does the column hold the same in OLD and in NEW, to the byte?"""
    old, new = get_value(cell, "OLD"), get_value(cell, "NEW")
    if cell.kind in (Kind.TEXT, Kind.JSON):
        return f"CAST({old} AS BINARY) <=> CAST({new} AS BINARY)"
    return f"{old} <=> {new}"


def make_uuid(value: str) -> str:
    """A UUID with its dashes, whether the column is of that type or has 32 digits."""
    digits = remove_dashes(value)
    for place in (21, 17, 13, 9):
        digits = f"INSERT({digits}, {place}, 0, '-')"
    return digits


def remove_dashes(value: str) -> str:
    return f"REPLACE(CAST({value} AS CHAR), '-', '')"


#: JSON of what stands in the place of a secret.
REDACTED = quote_text(json.dumps(values.REDACTED))


def _to_utf8(value: str) -> str:
    return f"CONVERT({value} USING utf8mb4)"


def _to_chars(value: str) -> str:
    return f"CAST({value} AS CHAR)"


def _quote(text: str) -> str:
    return f"CONCAT('\"', {text}, '\"')"


def _write_text(value: str) -> str:
    return f"REPLACE({_to_utf8(value)}, CHAR(0 USING utf8mb4), _utf8mb4 x'efbfbd')"


def _write_boolean(value: str) -> str:
    return f"CASE {value} WHEN 0 THEN 'false' WHEN 1 THEN 'true' ELSE {_to_chars(value)} END"


def _write_float(value: str) -> str:
    chars = _to_chars(value)
    # Python's 1.0 is written as "1" by the server.
    return f"IF({chars} REGEXP '[.e]', {chars}, CONCAT({chars}, '.0'))"


def _write_date(value: str) -> str:
    return f"DATE_FORMAT({value}, '%Y-%m-%d')"


def _write_time(value: str) -> str:
    return f"CONCAT(TIME_FORMAT({value}, '%H:%i:%s'), {_write_microseconds(value)})"


def _write_datetime(value: str) -> str:
    moment = f"DATE_FORMAT({value}, '%Y-%m-%dT%H:%i:%s')"
    return f"CONCAT({moment}, {_write_microseconds(value)}, '+00:00')"


def _write_microseconds(value: str) -> str:
    return f"IF(MICROSECOND({value}), DATE_FORMAT({value}, '.%f'), '')"


def _write_duration(value: str) -> str:
    """As :func:`django.utils.duration.duration_iso_string` has it."""
    # The least of all has no opposite among the numbers of a column.
    total = f"ABS(CAST({value} AS DECIMAL(20)))"
    seconds = f"{total} DIV 1000000"
    parts = (
        f"IF({value} < 0, '-', '')",
        "'P'",
        f"{seconds} DIV 86400",
        "'DT'",
        f"LPAD({seconds} DIV 3600 MOD 24, 2, '0')",
        "'H'",
        f"LPAD({seconds} DIV 60 MOD 60, 2, '0')",
        "'M'",
        f"LPAD({seconds} MOD 60, 2, '0')",
        f"IF({total} MOD 1000000, CONCAT('.', LPAD({total} MOD 1000000, 6, '0')), '')",
        "'S'",
    )
    return f"CONCAT({', '.join(parts)})"


def _write_bytes(value: str) -> str:
    return f"REPLACE(TO_BASE64({value}), CHAR(10), '')"


#: A server writes them as it is, and never too long.
_SHORT = frozenset((Kind.INTEGER, Kind.DECIMAL))
_TEXTS: Mapping[Kind, Callable[[str], str]] = {
    Kind.TEXT: _write_text,
    Kind.UUID: make_uuid,
    Kind.DATE: _write_date,
    Kind.INTEGER: lambda value: value,
    Kind.DECIMAL: lambda value: value,
}
_WRITERS: Mapping[Kind, Callable[[str], str]] = {
    Kind.BOOLEAN: _write_boolean,
    Kind.INTEGER: lambda value: value,
    Kind.FLOAT: _write_float,
    Kind.DECIMAL: _quote,
    Kind.TEXT: lambda value: f"JSON_QUOTE({_write_text(value)})",
    Kind.DATE: lambda value: _quote(_write_date(value)),
    Kind.TIME: lambda value: _quote(_write_time(value)),
    Kind.DATETIME: lambda value: _quote(_write_datetime(value)),
    Kind.DURATION: lambda value: _quote(_write_duration(value)),
    Kind.UUID: lambda value: _quote(make_uuid(value)),
    Kind.BYTES: lambda value: _quote(_write_bytes(value)),
}
