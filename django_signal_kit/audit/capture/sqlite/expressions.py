"""Values of columns as JSON and as text, in the SQL of SQLite.

A column may hold values of any kind, whatever it was declared as: those that are not of its own
are told as what they are, and never make a write fail. A template has ``{v}`` where the SQL of the
value stands, and gives "null" for NULL. Each connection reads all of it anew: short is quick.
"""

from __future__ import annotations

import json

from django_signal_kit.audit.capture.specification import Cell, Kind, Specification
from django_signal_kit.audit.capture.sqlite import quoting
from django_signal_kit.audit.capture.sqlite.secrets import has_secret
from django_signal_kit.rows.values import REDACTED

_HIDDEN = quoting.text(json.dumps(REDACTED))

# quote() alone writes a number so that it is read as the same again; JSON has none without end.
_NUMBER = (
    "CASE typeof({v}) WHEN 'integer' THEN {v} WHEN 'text' THEN json_quote({v}) WHEN 'real' THEN "
    "CASE WHEN abs({v}) <= 1.7976931348623157e308 THEN quote({v}) "
    "WHEN {v} > 0 THEN '\"inf\"' ELSE '\"-inf\"' END "
    "WHEN 'blob' THEN json_quote(hex({v})) ELSE 'null' END"
)
_PLAIN = "CASE typeof({v}) WHEN 'blob' THEN hex({v}) ELSE {v} || '' END"
_TEXT = f"json_quote({_PLAIN})"
_BOOLEAN = "CASE WHEN {v} = 1 THEN 'true' WHEN {v} IS NULL THEN 'null' ELSE 'false' END"


def _get_fraction(start: int) -> str:
    """Of a second, from its dot on: SQLite writes three digits, Python six, or none for zero."""
    fraction = f"substr({{v}}, {start})"
    return (
        f"CASE WHEN {fraction} GLOB '*[^.0]*' THEN substr({fraction} || '00000', 1, 7) ELSE '' END"
    )


_TIME = (
    "CASE WHEN {v} GLOB '??:??:??*' AND ltrim(substr({v}, 9), '.0123456789') = '' "
    f"THEN json_quote(substr({{v}}, 1, 8) || {_get_fraction(9)}) ELSE {_TEXT} END"
)
_DATETIME = (
    "CASE WHEN {v} GLOB '????-??-??[ T]??:??:??*' "
    "AND ltrim(substr({v}, 20), '.0123456789') = '' "
    "THEN json_quote(substr({v}, 1, 10) || 'T' || substr({v}, 12, 8) || "
    f"{_get_fraction(20)}{{{{offset}}}}) ELSE {_TEXT} END"
)
_LENGTH = "max({v}, -{v})"
_DURATION = (
    "CASE typeof({v}) WHEN 'integer' THEN printf('\"%sP%dDT%02dH%02dM%02d%sS\"', "
    f"CASE WHEN {{v}} < 0 THEN '-' ELSE '' END, {_LENGTH} / 86400000000, "
    f"{_LENGTH} / 3600000000 % 24, {_LENGTH} / 60000000 % 60, {_LENGTH} / 1000000 % 60, "
    f"CASE WHEN {{v}} % 1000000 THEN printf('.%06d', {_LENGTH} % 1000000) ELSE '' END) "
    f"ELSE {_TEXT} END"
)
_DIGITS = "rtrim(printf(CASE WHEN abs({v}) < 1 THEN '%.15f' ELSE '%.15g' END, {v}), '0')"


def _write_decimal(places: int, otherwise: str) -> str:
    """A number as Django reads it: fifteen digits, and of two that are as near the even one."""
    half = f"*.{'?' * (places - 1)}[02468]5" if places else "*[02468].5"
    rest = 1 if places else 2
    return (
        f"CASE WHEN typeof({{v}}) NOT IN ('integer', 'real') THEN {otherwise} "
        f"WHEN {_DIGITS} GLOB '{half}' THEN substr({_DIGITS}, 1, length({_DIGITS}) - {rest}) "
        f"ELSE printf('%.{places}f', {{v}}) END"
    )


_DASHED = " || '-' || ".join(
    f"substr(lower({{v}}), {start}, {length})"
    for start, length in ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))
)
_IS_HEX = "length({v}) = 32 AND {v} NOT GLOB '*[^0-9a-fA-F]*'"
_UUID = f"CASE WHEN {_IS_HEX} THEN '\"' || {_DASHED} || '\"' ELSE {_TEXT} END"


def _get_base64() -> str:
    """Three bytes after the other are six digits of hex, a number, four letters."""
    number = "0"
    for place in range(1, 7):
        number = f"({number}) * 16 + instr('123456789ABCDEF', substr(h, {place}, 1))"
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    letters = " || ".join(
        f"substr('{alphabet}', (b >> {shift} & 63) + 1, 1)" for shift in (18, 12, 6, 0)
    )
    # A LIMIT keeps SQLite from computing a column anew wherever it is named.
    return (
        "'\"' || (WITH RECURSIVE starts(n) AS "
        "(SELECT 1 UNION ALL SELECT n + 3 FROM starts WHERE n + 3 <= length({v})) "
        f"SELECT substr(group_concat({letters}, ''), 1, (length({{v}}) * 4 + 2) / 3) "
        "|| substr('==', 1, (3 - length({v}) % 3) % 3) FROM "
        f"(SELECT {number} AS b FROM (SELECT hex(substr({{v}}, n, 3)) || '0000' AS h "
        "FROM starts LIMIT -1) LIMIT -1)) || '\"'"
    )


_BYTES = f"CASE typeof({{v}}) WHEN 'blob' THEN {_get_base64()} ELSE {_TEXT} END"

# Patterns of JSON with half of a surrogate pair, which no encoding knows.
_HIGH, _LOW = r"\u[dD][89abAB]??", r"\u[dD][c-fC-F]"
_HALVES = quoting.text(
    json.dumps(
        [
            *(
                f"*{_HIGH}{after}*"
                for after in (r"[^\]", r"\[^u]", r"\u[^dD]", r"\u[dD][^c-fC-F]")
            ),
            *(
                f"*{before}{_LOW}*"
                for before in (r"[^\]?????", r"\[^u]????", r"\u[^dD]???", r"\u[dD][^89abAB]??")
            ),
        ]
    )
)
_HAS_HALF = (
    r"{v} GLOB '*\u[dD][89a-fA-F]*' AND "
    f"EXISTS (SELECT 1 FROM json_each({_HALVES}) WHERE '......' || {{v}} GLOB value)"
)
_WITHOUT_HALVES = r"replace(replace(replace({v}, '\\', '\u005c'), '\ud', '\\ud'), '\uD', '\\uD')"
_JSON = (
    f"CASE WHEN {{v}} IS NULL THEN 'null' "
    f"WHEN typeof({{v}}) <> 'text' OR json_valid({{v}}) IS NOT 1 OR {{secret}} THEN {_HIDDEN} "
    f"WHEN {_HAS_HALF} THEN {_WITHOUT_HALVES} ELSE {{v}} END"
)

_TEMPLATES = {
    Kind.BOOLEAN: _BOOLEAN,
    Kind.INTEGER: _NUMBER,
    Kind.FLOAT: _NUMBER,
    Kind.TEXT: _TEXT,
    Kind.DATE: _TEXT,
    Kind.TIME: _TIME,
    Kind.DATETIME: _DATETIME,
    Kind.DURATION: _DURATION,
    Kind.UUID: _UUID,
    Kind.BYTES: _BYTES,
}


def get_value(cell: Cell, row: str) -> str:
    """The SQL of what ``row`` (NEW, OLD or the name of a table) has in the column of ``cell``;
    NULL for what Django reads as None."""
    value = get_column(cell, row)
    return f"nullif({value}, 'null')" if cell.kind is Kind.JSON else value


def get_column(cell: Cell, row: str) -> str:
    return f"{row}.{quoting.name(cell.column)}"


def to_json(specification: Specification, cell: Cell, row: str) -> str:
    """What stands in the log for the value."""
    value = get_column(cell, row)
    if cell.is_secret:
        return f"CASE WHEN {value} IS NULL THEN 'null' ELSE {_HIDDEN} END"
    return kind_to_json(specification, cell.kind, value, cell.decimal_places)


def kind_to_json(
    specification: Specification, kind: Kind, value: str, decimal_places: int = 0
) -> str:
    if kind is Kind.JSON:
        template = _JSON.replace("{secret}", has_secret(specification.secrets))
    elif kind is Kind.DECIMAL:
        template = f"json_quote({_write_decimal(decimal_places, _PLAIN)})"
    else:
        template = _TEMPLATES[kind]
    offset = " || '+00:00'" if specification.use_tz else ""
    return template.replace("{{offset}}", offset).replace("{v}", value)


def to_text(cell: Cell, row: str) -> str:
    """What ``str()`` makes of the value."""
    return f"coalesce({key_to_text(cell, get_column(cell, row))}, 'None')"


def key_to_text(cell: Cell, value: str) -> str:
    """The same, but NULL for NULL."""
    if cell.kind is Kind.UUID:
        text = f"CASE WHEN {_IS_HEX} THEN {_DASHED} ELSE {{v}} END"
    elif cell.kind is Kind.DECIMAL:
        text = _write_decimal(cell.decimal_places, "{v}")
    elif cell.kind is Kind.TEXT:
        # As in JSON, where what cannot be stored everywhere is replaced.
        text = (
            "CASE WHEN typeof({v}) = 'blob' THEN hex({v}) "
            "WHEN instr({v}, char(0)) THEN json_extract("
            r"replace(replace(json_quote({v}), '\\', '\u005c'), '\u0000', '\ufffd')"
            ", '$') ELSE {v} END"
        )
    else:
        text = "{v}"
    return text.replace("{v}", value)
