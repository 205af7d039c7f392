"""Who acts, known in a worker by key and text alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from django.db import DEFAULT_DB_ALIAS
from django.db.models import Field, Model, QuerySet
from django.utils.functional import SimpleLazyObject

from django_signal_kit.rows.values import say, to_json

#: How long the text of an actor is at most: that of an entry of the log is no longer.
_LONGEST = 255


def describe(actor: Any) -> dict[str, Any] | str:
    """A row as ``{"model": "auth.User", "pk": 7, "text": "ann", "using": "default"}``; anything
    else as its text."""
    if type(actor) is TravelledActor:
        return actor.describe()
    text = say(actor)[:_LONGEST]
    if not isinstance(actor, Model) or actor.pk is None:
        return text
    return _describe(actor, actor.pk, text, actor._state.db)


def _describe(row: Any, pk: Any, text: str, using: str | None) -> dict[str, Any]:
    return {"model": row._meta.label, "pk": to_json(pk), "text": text, "using": using}


class TravelledActor(SimpleLazyObject):  # type: ignore[type-arg]
    """A row, mostly a user, as it was when a task was sent: of its model, with its key and text.

    It is fetched when anything else is asked, and raises the model's ``DoesNotExist`` then if it
    has been deleted meanwhile.
    """

    def __init__(self, model: type[Model], pk: Any, text: str, using: str | None) -> None:
        self.__dict__["_signal_kit_row"] = row = _Row(model, pk, text, using)
        super().__init__(row.fetch)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return self.__dict__["_signal_kit_row"].model

    @property
    def _meta(self) -> Any:
        return self.__dict__["_signal_kit_row"].model._meta

    @property
    def pk(self) -> Any:
        return self.__dict__["_signal_kit_row"].pk

    def __getattr__(self, name: str) -> Any:
        known = self.__dict__["_signal_kit_row"].known
        return known[name] if name in known else super().__getattr__(name)

    def __str__(self) -> str:
        return str(self.__dict__["_signal_kit_row"].text)

    def describe(self) -> dict[str, Any]:
        """As it was given, without a query: a task may send another one."""
        row = self.__dict__["_signal_kit_row"]
        return _describe(row.model, row.pk, row.text, row.using)

    def __repr__(self) -> str:
        return f"<{self._meta.object_name}: {self}>"

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Model)
            and other._meta.concrete_model is self._meta.concrete_model
            and other.pk == self.pk
        )

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self.pk)


class _Row:
    def __init__(self, model: type[Model], pk: Any, text: str, using: str | None) -> None:
        self.model = model
        self.text = text
        self.using = using
        self.values = _read_key(model, pk)
        keys = tuple(self.values.values())
        self.pk = keys[0] if len(keys) == 1 else keys

    @cached_property
    def known(self) -> dict[str, Any]:
        """What can be told without a query."""
        known = dict(self.values)
        for name in ("is_anonymous", "is_authenticated"):
            # Those of another class have neither.
            if hasattr(self.model, name):
                known[name] = name == "is_authenticated"
        return known

    def fetch(self) -> Model:
        rows: QuerySet[Model] = QuerySet(self.model, using=self.using or DEFAULT_DB_ALIAS)
        return rows.get(pk=self.pk)


def _read_key(model: type[Model], pk: Any) -> dict[str, Any]:
    """Attname -> value of the fields of the key, from JSON."""
    fields: Sequence[Field[Any, Any]] = model._meta.pk_fields
    values = pk if len(fields) > 1 else [pk]
    return {
        field.attname: field.to_python(value) for field, value in zip(fields, values, strict=True)
    }
