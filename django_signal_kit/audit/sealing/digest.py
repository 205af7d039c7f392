"""The digest of an entry: the same for the same values, whatever database they come from."""

from __future__ import annotations

import datetime
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Model

#: Long enough that nobody finds a second entry with the digest of a first (2**128 tries); with the
#: id an entry costs 17 bytes, where its row takes some hundred.
DIGEST_SIZE = 16

_EPOCH = datetime.datetime(1970, 1, 1)
_MICROSECOND = datetime.timedelta(microseconds=1)


def get_columns(model: type[Model]) -> list[str]:
    """The columns of a log, by the names that Python has for them, in order."""
    return sorted(field.attname for field in model._meta.concrete_fields)


def get_digest(columns: Sequence[str], values: Sequence[Any]) -> bytes:
    """The digest of an entry that has ``values`` in ``columns``: 16 bytes.

    Raises TypeError for a value that has no canonical form.
    """
    return hashlib.sha256(serialize(columns, values)).digest()[:DIGEST_SIZE]


def serialize(columns: Sequence[str], values: Sequence[Any]) -> bytes:
    """An entry as one line of JSON: its columns in order of their names, in ASCII.

    Numbers are written as their value (1.0 is 1), times in microseconds since 1970 UTC. A JSON
    list begins with the word that says what it stands for, so that no two values look alike.
    """
    entry = {
        column: _to_plain(value, column) for column, value in zip(columns, values, strict=True)
    }
    return json.dumps(entry, sort_keys=True, separators=(",", ":")).encode("ascii")


def to_microseconds(value: datetime.datetime) -> int:
    """Since 1970 UTC; a naive time is taken as it is."""
    if value.tzinfo is not None:
        value = value.astimezone(datetime.UTC).replace(tzinfo=None)
    return (value - _EPOCH) // _MICROSECOND


def _to_plain(value: Any, column: str) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): _to_plain(item, column) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return ["list", *(_to_plain(item, column) for item in value)]
    if isinstance(value, float):
        return _to_number(value)
    return _to_tagged(value, column)


def _to_number(value: float) -> Any:
    if not math.isfinite(value):
        return ["float", repr(value)]
    # PostgreSQL's jsonb writes 1e20 as an integer.
    return int(Decimal(repr(value))) if value.is_integer() else value


def _to_tagged(value: Any, column: str) -> list[Any]:
    match value:
        case datetime.datetime():
            return ["datetime", to_microseconds(value)]
        case datetime.date() | datetime.time():
            return [type(value).__name__, value.isoformat()]
        case datetime.timedelta():
            return ["timedelta", value // _MICROSECOND]
        case UUID():
            return ["uuid", value.hex]
        case Decimal():
            return ["decimal", _strip(f"{value:f}")]
        case bytes() | bytearray() | memoryview():
            return ["bytes", bytes(value).hex()]
    raise TypeError(
        f"The column {column!r} of the audit log holds a {type(value).__name__}, which has no "
        f"canonical form, so the log cannot be sealed. Store it as JSON or as text."
    )


def _strip(number: str) -> str:
    """Without the zeros that say how many places the column has."""
    return number.rstrip("0").rstrip(".") if "." in number else number
