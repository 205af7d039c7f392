"""A value of a row as JSON, written as an expression of PostgreSQL.

Settings of a session must not change what is told: no expression depends on how dates, intervals
and bytes are shown.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from django_signal_kit.audit.capture.postgresql.statements import ZONE, quote, quote_name
from django_signal_kit.audit.capture.specification import Cell, Kind
from django_signal_kit.rows.values import REDACTED


class Telling:
    """How the values of one table are told."""

    def __init__(self, *, use_tz: bool, redact: str) -> None:
        """``redact``: the name of a function that takes the secrets out of JSON as text."""
        self.use_tz = use_tz
        self.redact = redact

    def tell(self, cell: Cell, row: str) -> str:
        """The value of a column as JSON, which is text; NULL if the value is."""
        value = get_value(cell, row)
        if cell.is_secret:
            return f"CASE WHEN {value} IS NULL THEN NULL ELSE {quote(json.dumps(REDACTED))} END"
        return self.tell_value(cell.kind, value)

    def tell_value(self, kind: Kind, value: str) -> str:
        if kind is Kind.DATETIME:
            zone, offset = ("'UTC'", "+00:00") if self.use_tz else (ZONE, "")
            return _tell_moment(f"{value} AT TIME ZONE {zone}", 'YYYY-MM-DD"T"', offset)
        if kind is Kind.JSON:
            return f"{self.redact}({value})"
        return _KINDS[kind](value)


def get_value(cell: Cell, row: str) -> str:
    """The value of a column; of JSON the text, NULL for ``null`` too, which Django reads so."""
    value = f"{row}.{quote_name(cell.column)}"
    return f"nullif({value}::text, 'null')" if cell.kind is Kind.JSON else value


def differ(cell: Cell, old: str, new: str) -> str:
    """Is it true that a value has changed? Texts are compared by their bytes, whatever their
    collation takes as the same, and JSON by its text: 1 is not 1.0."""
    before, after = get_value(cell, old), get_value(cell, new)
    if cell.kind is Kind.TEXT:
        # One of the two will do.
        return f'{before}::text COLLATE "C" IS DISTINCT FROM {after}::text'
    return f"{before} IS DISTINCT FROM {after}"


def say(cell: Cell, row: str) -> str:
    """A value as ``str()`` has it, never NULL."""
    value = f"{row}.{quote_name(cell.column)}"
    # Not ::text, which adds the mask to an address; concat() writes what Django reads.
    text = f"to_char({value}, 'YYYY-MM-DD')" if cell.kind is Kind.DATE else f"concat({value})"
    return f"CASE WHEN {value} IS NULL THEN 'None' ELSE {text} END"


def _tell_plain(value: str) -> str:
    return f"{value}::text"


def _tell_quoted(value: str) -> str:
    return f"""'"' || {value}::text || '"'"""


def _tell_by_database(value: str) -> str:
    return f"to_json({value})::text"


def _tell_moment(value: str, day: str = "", offset: str = "") -> str:
    """Of microseconds Python says six digits, or nothing."""
    text = f"replace(to_char({value}, '{day}HH24:MI:SS.US'), '.000000', '')"
    return f"""'"' || {text} || '{offset}"'"""


def _tell_float(value: str) -> str:
    """As Python writes it: 1.0, and numbers of 16 digits without an exponent."""
    return (
        f"CASE WHEN {value} = 'Infinity' THEN '\"inf\"' WHEN {value} = '-Infinity' "
        f"THEN '\"-inf\"' WHEN {value} = 'NaN' THEN '\"nan\"' "
        f"WHEN abs({value}) < 1e16 AND trunc({value}) = {value} "
        f"THEN {value}::text::numeric::text || '.0' ELSE {value}::text END"
    )


def _tell_duration(value: str) -> str:
    """See ``django.utils.duration``. Drivers take a year for 365 days, PostgreSQL does not."""
    seconds = f"(extract(epoch FROM {value}) - extract(year FROM {value}) * 21600)"
    rest = f"(mod(abs{seconds}, 86400) * interval '1 second')"
    return (
        f"CASE WHEN {seconds} < 0 THEN '\"-P' ELSE '\"P' END || "
        f"div(abs{seconds}, 86400)::text || "
        f"replace(to_char({rest}, '\"DT\"HH24\"H\"MI\"M\"SS.US'), '.000000', '') || 'S\"'"
    )


def _tell_bytes(value: str) -> str:
    return f"""'"' || translate(encode({value}, 'base64'), E'\\n', '') || '"'"""


_KINDS: dict[Kind, Callable[[str], str]] = {
    Kind.BOOLEAN: _tell_plain,
    Kind.INTEGER: _tell_plain,
    Kind.FLOAT: _tell_float,
    Kind.DECIMAL: _tell_quoted,
    Kind.TEXT: _tell_by_database,
    Kind.DATE: _tell_by_database,
    Kind.TIME: _tell_moment,
    Kind.DURATION: _tell_duration,
    Kind.UUID: _tell_quoted,
    Kind.BYTES: _tell_bytes,
}
