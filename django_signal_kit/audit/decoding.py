"""Values of entries as the fields of models have them: the way back from JSON."""

from __future__ import annotations

from typing import Any

from django.db.models import Field

from django_signal_kit.rows.fields import get_output
from django_signal_kit.rows.telling import is_same, restore
from django_signal_kit.rows.values import UNKNOWN, is_redacted


class NotDecodable(ValueError):  # noqa: N818
    """What an entry holds in the place of a value does not tell what the value was."""


class NotKept(NotDecodable):
    """The log does not have the value: it was redacted, or nobody has read it."""


def decode(field: Field[Any, Any], value: Any) -> Any:
    """What ``field`` held when an entry recorded ``value``; for a foreign key the value of its
    column.

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
        return restore(get_output(field), value)
    except ValueError as error:
        raise NotDecodable(str(error)) from error


def is_same_column(field: Field[Any, Any], one: Any, other: Any) -> bool:
    """Would the database hold the same for both values of ``field``? What they are in Python is
    the field's own affair."""
    if one is None or other is None:
        return one is other
    return is_same(get_output(field), one, other)


def _holds_redacted(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_redacted, value.values()))
    if isinstance(value, list):
        return any(map(_holds_redacted, value))
    return is_redacted(value)
