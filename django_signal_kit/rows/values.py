"""Values as JSON: typed, without secrets, and always storable."""

from __future__ import annotations

import base64
import datetime
import json
import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import Enum
from itertools import islice
from typing import Any
from uuid import UUID

from django.db.models import Model
from django.utils.crypto import salted_hmac
from django.utils.duration import duration_iso_string

from django_signal_kit.rows.secrets import is_secret

REDACTED = "[redacted]"


encode_sorted = json.JSONEncoder(sort_keys=True, default=repr).encode


class _Unknown:
    def __repr__(self) -> str:
        return "[unknown]"


#: Stands for a value that nobody has read.
UNKNOWN = _Unknown()


def is_known(row: Mapping[str, Any]) -> bool:
    """Has somebody read all values of ``row``?"""
    # No "in": it would ask the values for their "==".
    for value in row.values():  # noqa: SIM110
        if value is UNKNOWN:
            return False
    return True


_AS_IT_IS = (type(None), bool, int)
_TEXTS: dict[type, Callable[[Any], str]] = {
    Decimal: str,
    UUID: str,
    datetime.timedelta: duration_iso_string,
    datetime.datetime: datetime.datetime.isoformat,
    datetime.date: datetime.date.isoformat,
    datetime.time: datetime.time.isoformat,
    bytes: lambda value: base64.b64encode(value).decode(),
    memoryview: lambda value: base64.b64encode(value).decode(),
}
# How much of what is given to context() is told: items, levels, and characters of a text that
# nobody has given as one.
_MOST, _DEEPEST, _LONGEST = 10_000, 30, 2_000
_REDACTED = re.compile(r"\[redacted(?: [0-9a-f]{16})?\]")
# PostgreSQL's jsonb refuses NUL, and no encoding knows half of a surrogate pair.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def redact(value: Any) -> str:
    """What stands in the place of a secret."""
    return REDACTED


def redact_with_hash(value: Any) -> str:
    """What stands in the place of a secret and differs for another value.

    A keyed hash (HMAC-SHA-256 with ``SECRET_KEY``, 64 bits of it): without the key nobody can try
    values out. What is redacted already stays as it is.
    """
    if is_redacted(value):
        return str(value)
    text = encode_sorted(to_json(value, replace=repr))
    digest = salted_hmac("django_signal_kit.values", text, algorithm="sha256").hexdigest()
    return f"[redacted {digest[:16]}]"


def is_redacted(value: Any) -> bool:
    """Does ``value`` stand in the place of a secret?"""
    return isinstance(value, str) and _REDACTED.fullmatch(value) is not None


def to_json(
    value: Any,
    extra_secrets: tuple[str, ...] = (),
    replace: Callable[[Any], str] = redact,
) -> Any:
    """``value`` as what JSON knows: None, bool, int, float, str, list, dict.

    Decimals, dates, durations and UUIDs become their text; a key of a dict that looks like a
    secret has its whole value replaced.
    """
    cls = value.__class__
    if cls in _AS_IT_IS:
        return value
    if cls is str:
        return to_text(value)
    if cls in _TEXTS:
        return _TEXTS[cls](value)
    # Classes of abc are slow to ask.
    if cls is dict or (cls is not list and isinstance(value, Mapping)):
        return {
            name: (
                replace(item)
                if is_secret(name, extra_secrets)
                else item
                if item.__class__ in _AS_IT_IS
                else to_json(item, extra_secrets, replace)
            )
            for key, item in value.items()
            for name in (to_text(key) if key.__class__ is str else say(key),)
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [
            item if item.__class__ in _AS_IT_IS else to_json(item, extra_secrets, replace)
            for item in value
        ]
    return _odd_to_json(value, extra_secrets, replace)


def _odd_to_json(value: Any, extra_secrets: tuple[str, ...], replace: Callable[[Any], str]) -> Any:
    """What is of no class that JSON or the kit knows by itself, but may be derived from one."""
    if isinstance(value, Enum):
        return to_json(value.value, extra_secrets, replace)
    if isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return to_text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    for cls, convert in _TEXTS.items():
        if isinstance(value, cls):
            return convert(value)
    if isinstance(value, Model):
        return to_json(value.pk)
    return say(value)


def bounded(
    value: Any,
    extra_secrets: tuple[str, ...] = (),
    replace: Callable[[Any], str] = redact,
) -> Any:
    """:func:`to_json` for what anybody may have given: never raises, and ends. What holds itself,
    lies too deep or is too much is said in short."""
    return _Bounded(extra_secrets, replace).convert(value, ())


class _Bounded:
    def __init__(self, extra_secrets: tuple[str, ...], replace: Callable[[Any], str]) -> None:
        self.extra_secrets = extra_secrets
        self.replace = replace
        self.left = _MOST

    def convert(self, value: Any, holders: tuple[int, ...]) -> Any:
        self.left -= 1
        if self.left < 0 or len(holders) > _DEEPEST or id(value) in holders:
            return f"<{type(value).__qualname__}…>"
        try:
            if isinstance(value, Mapping):
                return self._convert_mapping(value, (*holders, id(value)))
            if isinstance(value, list | tuple | set | frozenset):
                held = (*holders, id(value))
                return [self.convert(item, held) for item in islice(value, max(0, self.left))]
            found = to_json(value, self.extra_secrets, self.replace)
            # Python refuses to write a number that is too long.
            json.dumps(found)
        except Exception:
            return f"<{type(value).__qualname__}>"
        is_odd = found.__class__ is str and not isinstance(value, str)
        return f"{found[:_LONGEST]}…" if is_odd and len(found) > _LONGEST else found

    def _convert_mapping(self, value: Mapping[Any, Any], holders: tuple[int, ...]) -> Any:
        return {
            name: (
                self.replace(item)
                if is_secret(name, self.extra_secrets)
                else self.convert(item, holders)
            )
            for key, item in islice(value.items(), max(0, self.left))
            for name in (to_text(key) if key.__class__ is str else say(key),)
        }


def say(value: Any) -> str:
    """``str(value)`` as text that can be stored, whatever it raises."""
    try:
        return to_text(str(value))
    except Exception:
        # What cannot say its name must not stop what is told of something else.
        return f"<{type(value).__qualname__}>"


def to_text(value: str) -> str:
    """``value`` without what a database cannot store."""
    if value.isprintable():
        return value
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", value)
