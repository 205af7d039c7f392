"""The changes of an entry as rows to read: labels, old and new values. Costs no query."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from django.db.models import Field, ForeignKey, ManyToManyField, Model
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from django_signal_kit.rows.many_to_many import get_many_to_many
from django_signal_kit.rows.values import REDACTED, to_json

# What nobody sees, but what makes two texts different or one text look like another.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u2028-\u202e\u2060\u2066-\u2069\ufeff]|\r(?!\n)"
)
_MEMBERS = frozenset(("added", "removed"))
_LONG = 600


@dataclass(frozen=True)
class Value:
    """A stored value as text. ``kind`` tells the text "None" from None, and "" from both."""

    text: str
    kind: Literal["text", "plain", "json", "none", "empty", "redacted"]
    #: What a person calls it: the label of a choice, yes or no.
    label: str = ""
    #: The text in pieces, each with whether the other value lacks it; empty if nobody compared.
    parts: tuple[tuple[str, bool], ...] = ()
    #: As it is stored.
    data: Any = field(default=None, compare=False, repr=False)

    @property
    def is_long(self) -> bool:
        return len(self.text) > _LONG or self.text.count("\n") > 15


@dataclass(frozen=True)
class Row:
    """What happened to one field: ``old`` and ``new``, or which members a relation gained and
    lost, or ``raw`` for a shape that the kit does not write.

    A row for a part of a JSON value has its ``path``; there ``old`` or ``new`` is None if the key
    was not there. Of kind "same" it holds in ``raw`` the ``count`` parts that are as they were.
    """

    name: str
    label: str
    kind: Literal["value", "members", "raw", "same"]
    old: Value | None = None
    new: Value | None = None
    added: tuple[Value, ...] = ()
    removed: tuple[Value, ...] = ()
    raw: Value | None = None
    #: Is it the key of the row, which the entry tells anyway?
    is_key: bool = False
    path: str = ""
    count: int = 0
    #: The field, if its values name rows of another model.
    relation: Field[Any, Any] | None = field(default=None, compare=False, repr=False)

    def get_values(self) -> list[Value]:
        return [
            value
            for value in (self.old, self.new, *self.added, *self.removed)
            if value is not None
        ]


def get_rows(changes: Any, model: type[Model] | None) -> list[Row]:
    """``changes`` of an entry in the order of the model's fields; what it no longer has comes
    last, under its raw name. ``model`` is None if it is gone."""
    fields = _get_fields(model)
    if not isinstance(changes, Mapping):
        return [Row("", "", "raw", raw=get_value(changes))] if changes else []
    # PostgreSQL keeps the keys of a JSON object in an order of its own.
    places = {name: place for place, name in enumerate(fields)}
    names = sorted(changes, key=lambda name: (places.get(name, len(places)), name))
    return [_get_row(name, changes[name], fields.get(name)) for name in names]


def get_value(value: Any, of: Field[Any, Any] | None = None) -> Value:
    """One value as it is stored in an entry, with the label of its choice if the field ``of``
    has one for it."""
    if value is None:
        return Value("None", "none")
    if value == "":
        return Value("", "empty", data=value)
    if value == REDACTED:
        return Value(REDACTED, "redacted")
    label = _get_choice(value, of)
    if isinstance(value, bool):
        label = label or (_("Yes") if value else _("No"))
        return Value("true" if value else "false", "plain", label, data=value)
    if isinstance(value, str):
        return Value(reveal(value), "text", label, data=value)
    if isinstance(value, list | dict):
        text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
        return Value(reveal(text), "json", label, data=value)
    return Value(str(value), "plain", label, data=value)


def reveal(text: str) -> str:
    """``text`` with its control characters, direction overrides and the like spelled out."""
    return _INVISIBLE.sub(lambda match: f"[U+{ord(match[0]):04X}]", text)


def _get_fields(model: type[Model] | None) -> dict[str, Field[Any, Any]]:
    if model is None:
        return {}
    return {
        field.name: field for field in (*model._meta.concrete_fields, *get_many_to_many(model))
    }


def _get_row(name: str, change: Any, of: Field[Any, Any] | None) -> Row:
    label = reveal(str(name if of is None else capfirst(of.verbose_name)))
    relation = of if isinstance(of, ForeignKey | ManyToManyField) else None
    if isinstance(change, list) and len(change) == 2:
        old, new = get_value(change[0], of), get_value(change[1], of)
        is_key = getattr(of, "primary_key", False)
        return Row(name, label, "value", old=old, new=new, is_key=is_key, relation=relation)
    if isinstance(change, dict) and change and _MEMBERS.issuperset(change):
        added, removed = change.get("added", ()), change.get("removed", ())
        if isinstance(added, list | tuple) and isinstance(removed, list | tuple):
            gained, lost = _get_values(added), _get_values(removed)
            return Row(name, label, "members", added=gained, removed=lost, relation=relation)
    return Row(name, label, "raw", raw=get_value(change))


def _get_values(values: Iterable[Any]) -> tuple[Value, ...]:
    return tuple(get_value(value) for value in values)


def _get_choice(value: Any, of: Field[Any, Any] | None) -> str:
    for key, label in getattr(of, "flatchoices", None) or ():
        stored = to_json(key)
        # True is 1, but no choice of a number is called by it.
        if stored == value and type(stored) is type(value):
            return str(label)
    return ""
