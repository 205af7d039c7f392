"""Values of entries as the fields of models have them: the way back from JSON."""

from __future__ import annotations

import json
from typing import Any

from django.db.models import BinaryField, Field, JSONField

from django_signal_kit.rows.values import UNKNOWN, encode_sorted, is_redacted, to_json


class NotDecodable(ValueError):  # noqa: N818
    """What an entry holds in the place of a value does not tell what the value was."""


class NotKept(NotDecodable):
    """The log does not have the value: it was redacted, or nobody has read it."""


def decode(field: Field[Any, Any], value: Any) -> Any:
    """What ``field`` held when an entry recorded ``value``; for a foreign key the value of its
    column. The inverse of :func:`django_signal_kit.rows.values.to_json`.

    Raises NotDecodable, which names the field, for a text that the field does not understand, and
    NotKept for what was redacted, in whole or in part, and for what nobody has read.
    """
    if value == str(UNKNOWN):
        raise NotKept(f"{field} is not known: the log has {value!r} in its place.")
    if _holds_redacted(value):
        raise NotKept(f"{field} was redacted: the log does not have its value.")
    if value is None:
        return None
    try:
        found = _convert(field, value)
    except Exception as error:
        raise NotDecodable(f"{field} does not understand the value {value!r}.") from error
    if to_json(found) != value:
        raise NotDecodable(f"{field} takes the value {value!r} for another, {found!r}.")
    return found


def is_same_column(field: Field[Any, Any], one: Any, other: Any) -> bool:
    """Would the database hold the same for both values of ``field``? What they are in Python is
    the field's own affair."""
    one, other = field.get_prep_value(one), field.get_prep_value(other)
    if one is None or other is None:
        return one is other
    if isinstance(field, JSONField):
        # True equals 1, and is another JSON.
        return encode_sorted(one) == encode_sorted(other)
    if isinstance(field, BinaryField):
        return bytes(one) == bytes(other)
    return bool(one == other)


def _convert(field: Field[Any, Any], value: Any) -> Any:
    while field.remote_field is not None:
        field = field.target_field  # type: ignore[attr-defined]
    if isinstance(field, JSONField):
        return json.loads(json.dumps(value), cls=field.decoder)
    if isinstance(field, BinaryField):
        return bytes(field.to_python(value))
    base = getattr(field, "base_field", None)
    if base is not None and isinstance(value, list):
        # An array: its own to_python() leaves the items of a list alone.
        return [None if item is None else _convert(base, item) for item in value]
    return field.to_python(value)


def _holds_redacted(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_redacted, value.values()))
    if isinstance(value, list):
        return any(map(_holds_redacted, value))
    return is_redacted(value)
