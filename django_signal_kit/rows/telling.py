"""Values of fields that nobody foresaw: how they are told, compared and restored.

An object is known by what its column holds of it, as far as the field says what that is; else by
what the field would write into a fixture; else by its text. Nothing here raises for a value, but
:func:`restore`.
"""

from __future__ import annotations

import copy
import datetime
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from decimal import Decimal
from enum import Enum
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Field, FloatField, JSONField, Model

from django_signal_kit.rows.fields import converts, get_target, is_djangos, overrides, to_column
from django_signal_kit.rows.values import UNKNOWN, encode_sorted, say, to_json

#: Whose ``==`` is right, and which :func:`~django_signal_kit.rows.values.to_json` knows.
_TRUSTED = frozenset(
    {
        type(None),
        bool,
        int,
        float,
        str,
        bytes,
        Decimal,
        UUID,
        datetime.date,
        datetime.datetime,
        datetime.time,
        datetime.timedelta,
    }
)
#: Classes whose subclasses may compare as they like -> what makes one of the class itself.
_EXACT: dict[type, Callable[[Any], Any]] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    bytes: bytes,
    bytearray: bytes,
    memoryview: bytes,
}
_KNOWN = (Decimal, UUID, datetime.date, datetime.time, datetime.timedelta)
_CONTAINERS = frozenset({list, tuple, set, frozenset, dict})

#: How much of a text is kept that stands for a value of which nothing else can be told.
_MAX_TEXT = 1000


class _Text(str):
    """Stands for a value: two values may have the same, or one value two."""

    __slots__ = ()


def tell(field: Field[Any, Any], value: Any) -> Any:
    """``value`` of ``field`` in plain types, which ``to_json()`` knows. Never raises."""
    if type(value) in _TRUSTED:
        return value
    if value is UNKNOWN:
        return str(value)
    for way in _get_ways(field, value):
        try:
            return simplify(way(value))
        except Exception:
            continue
    return _Text(say(value)[:_MAX_TEXT])


def is_same(field: Field[Any, Any], before: Any, after: Any) -> bool:
    """Does the column hold the same for these two values? Never raises."""
    if type(before) is type(after) and type(before) in _TRUSTED and _are_equal(before, after):
        return True
    one, other = tell(field, before), tell(field, after)
    if isinstance(one, _Text) or isinstance(other, _Text):
        return _are_equal(before, after)
    if _are_equal(one, other):
        return True
    if type(before) in _TRUSTED and type(after) in _TRUSTED:
        return converts(field) and _hold_the_same(field, before, after)
    # What is not written twice alike, such as what is encrypted, cannot be compared.
    return not _are_equal(one, tell(field, before)) and _are_equal(before, after)


def restore(field: Field[Any, Any], told: Any) -> Any:
    """The value of ``field`` of which ``told`` was told, as JSON. Raises ValueError if there is
    none."""
    why: Exception | None = None
    if isinstance(field, FloatField) and type(told) is int:
        # jsonb writes 1e23 as an integer, of which no float is made that equals it.
        with suppress(OverflowError):
            told = float(told)
    for way in _get_ways_back(field, told):
        try:
            found = way()
            if to_json(tell(field, found)) == told:
                return found
        except Exception as error:
            why = error
    raise ValueError(f"{field} does not understand the value {told!r}.") from why


def simplify(value: Any) -> Any:
    """``value`` in plain types. Raises TypeError for what is none of them."""
    cls = type(value)
    if cls in _TRUSTED:
        return value
    if issubclass(cls, Enum):
        return simplify(value.value)
    for base, make in _EXACT.items():
        if issubclass(cls, base):
            return make(value)
    if issubclass(cls, _KNOWN):
        return value
    if issubclass(cls, Mapping):
        return {simplify(key): simplify(item) for key, item in value.items()}
    if issubclass(cls, list | tuple):
        return [simplify(item) for item in value]
    if issubclass(cls, set | frozenset):
        return sorted(map(simplify, value), key=encode_sorted)
    raise TypeError(f"{cls} is not plain")


def detach(value: Any) -> Any:
    """``value`` apart from whoever may change it in place; itself if it cannot be copied."""
    try:
        return copy.deepcopy(value)
    except Exception:
        return value


def _get_ways(field: Field[Any, Any], value: Any) -> Iterator[Callable[[Any], Any]]:
    """What may make plain types of a value, the truest first."""
    if isinstance(value, Model):
        yield lambda value: value.pk
    if isinstance(field, JSONField) and field.encoder is not None:
        yield lambda value: json.loads(json.dumps(value, cls=field.encoder))
    if type(value) in _CONTAINERS:
        yield simplify
    yield field.get_prep_value
    if isinstance(field, JSONField):
        yield lambda value: json.loads(json.dumps(field.get_prep_value(value), cls=field.encoder))
    yield lambda value: field.get_db_prep_value(value, connection)
    yield lambda value: _read_text(field.value_to_string(_hold(field, value)))
    yield simplify


def _get_ways_back(field: Any, told: Any) -> Iterator[Callable[[], Any]]:
    if converts(field):
        yield lambda: _read(field, told)
    if isinstance(field, JSONField):
        yield lambda: json.loads(json.dumps(told), cls=field.decoder)
        if is_djangos(field):
            return
    base = getattr(field, "base_field", None)
    if base is not None and isinstance(told, list):
        # An array: its own to_python() leaves the items of a list alone.
        yield lambda: [None if item is None else restore(get_target(base), item) for item in told]
    if not is_djangos(field):
        if isinstance(told, list | dict):
            # As a fixture has it; many take a list or an object for their own as it is.
            yield lambda: field.to_python(json.dumps(told))
        yield lambda: field.to_python(told)
    if not converts(field) or not overrides(field, "to_python"):
        # As reading the column gives it.
        yield lambda: to_column(field, told)


def _read(field: Any, told: Any) -> Any:
    """As reading the column would make it, if that is an object."""
    held = json.dumps(told) if isinstance(field, JSONField) else to_column(field, told)
    found = field.from_db_value(held, field.cached_col, connection)
    if type(found) in _TRUSTED or type(found) in _CONTAINERS:
        raise TypeError("told as it is, and not as the column holds it")
    return found


def _hold(field: Field[Any, Any], value: Any) -> Any:
    return SimpleNamespace(**{field.attname: value, field.name: value})


def _read_text(text: Any) -> Any:
    """A text of a fixture; what is a list or an object in it is easier to read as such."""
    if not isinstance(text, str):
        return text
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return found if isinstance(found, list | dict) else text


def _hold_the_same(field: Field[Any, Any], before: Any, after: Any) -> bool:
    try:
        one, other = field.get_prep_value(before), field.get_prep_value(after)
        return _are_equal(simplify(one), simplify(other))
    except Exception:
        return False


def _are_equal(one: Any, other: Any) -> bool:
    try:
        if type(one) in _CONTAINERS or type(other) in _CONTAINERS:
            # 1 equals True, and is another JSON.
            return bool(one == other) and encode_sorted(one) == encode_sorted(other)
        return bool(one == other) or bool(one != one and other != other)
    except Exception:
        return False
