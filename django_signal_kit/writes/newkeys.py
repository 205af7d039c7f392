"""The keys that an update gives to its rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import FieldError
from django.db.models import Expression, ExpressionWrapper, Field, Model, QuerySet

from django_signal_kit.rows import snapshots
from django_signal_kit.rows.columns import canonical_key
from django_signal_kit.rows.fields import assign
from django_signal_kit.rows.values import UNKNOWN
from django_signal_kit.units.journal import CHUNK
from django_signal_kit.units.unit import UnitOfWork

_NEW = "signal_kit_new_"


class NewKeys:
    """What an update makes of the keys of its rows."""

    def __init__(self, model: type[Model], values: Mapping[str, Any]) -> None:
        self.fields: list[Field[Any, Any]] = [
            field for field in model._meta.pk_fields if field.name in values
        ]
        self._given = {field.attname: _plain(field, values[field.name]) for field in self.fields}
        self._asked: list[Field[Any, Any]] = []

    def ask(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """``rows``, with what the expressions among the new values come to."""
        self._asked = [
            field
            for field in self.fields
            if hasattr(self._given[field.attname], "resolve_expression")
        ]
        expressions: dict[str, Expression] = {
            _NEW + field.attname: ExpressionWrapper(self._given[field.attname], field)
            for field in self._asked
        }
        try:
            return rows.annotate(**expressions) if expressions else rows
        except FieldError:
            # One that only the statement itself can refuse.
            self._asked = []
            return rows

    @property
    def are_guessed(self) -> bool:
        """Are there expressions? They may come to something else in the statement."""
        return bool(self._asked)

    def take(self, row: Model) -> dict[str, Any]:
        """Attname -> new value, of the key of ``row``, which has been asked for it."""
        found = {
            attname: value
            for attname, value in self._given.items()
            if not hasattr(value, "resolve_expression")
        }
        for field in self._asked:
            found[field.attname] = row.__dict__.pop(_NEW + field.attname)
        return found

    def read(self, rows: QuerySet[Any]) -> dict[Any, Any]:
        """Key -> new key."""
        if not self.fields:
            return {key: key for key in rows.values_list("pk", flat=True)}
        names = [field.attname for field in rows.model._meta.pk_fields]
        keys: dict[Any, Any] = {}
        for row in rows.only(*names).iterator(chunk_size=CHUNK):
            key = row.pk
            changed = self.take(row)
            new = tuple(changed.get(name, getattr(row, name)) for name in names)
            new_key = new if isinstance(key, tuple) else new[0]
            keys[key] = canonical_key(rows.model, new_key)
        return keys


def note_lost(unit: UnitOfWork, row: Model, values: Mapping[str, Any]) -> None:
    """The key that the update has given to ``row`` is another one than was asked for beforehand,
    and nobody finds the row again."""
    keys = row._meta.pk_fields
    unknown: dict[str, Any] = {}
    for name, value in values.items():
        field: Any = row._meta.get_field(name)
        if field in keys or hasattr(value, "resolve_expression"):
            unknown[field.attname] = UNKNOWN
        else:
            assign(row, field.name if isinstance(value, Model) else field.attname, value)
    snapshots.note_new(unit, row, unknown)


def _plain(field: Field[Any, Any], value: Any) -> Any:
    return value.prepare_database_save(field) if isinstance(value, Model) else value
