"""Values as JSON: typed, without secrets, and always storable."""

from __future__ import annotations

import base64
import datetime
import math
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from django.db.models import Model
from django.utils.duration import duration_iso_string

REDACTED = "[redacted]"

#: Parts of names whose values are secrets, without case and separators.
SECRET_PARTS = ("password", "passwd", "token", "secret", "apikey", "privatekey", "credential")

_SEPARATORS = re.compile(r"[\W_]+")
# PostgreSQL's jsonb refuses NUL, and no encoding knows half of a surrogate pair.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def is_secret(name: str, extra: Iterable[str] = ()) -> bool:
    """Does a field or key of this name hold a secret? ``extra`` are further parts of names."""
    folded = _SEPARATORS.sub("", name).casefold()
    return any(part in folded for part in SECRET_PARTS) or any(
        _SEPARATORS.sub("", part).casefold() in folded for part in extra
    )


def to_json(value: Any, extra_secrets: Iterable[str] = ()) -> Any:
    """``value`` as what JSON knows: None, bool, int, float, str, list, dict.

    Decimals, dates, durations and UUIDs become their text; a key of a dict that looks like a
    secret has its whole value replaced.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return to_json(value.value, extra_secrets)
    if isinstance(value, int):
        return value
    if isinstance(value, str):
        return to_text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {
            to_text(str(key)): (
                REDACTED if is_secret(str(key), extra_secrets) else to_json(item, extra_secrets)
            )
            for key, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [to_json(item, extra_secrets) for item in value]
    if isinstance(value, datetime.timedelta):
        return duration_iso_string(value)
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, bytes | memoryview):
        return base64.b64encode(bytes(value)).decode()
    if isinstance(value, Decimal | UUID):
        return str(value)
    if isinstance(value, Model):
        return to_json(value.pk)
    return to_text(str(value))


def to_text(value: str) -> str:
    """``value`` without what a database cannot store."""
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", value)
