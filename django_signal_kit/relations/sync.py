"""Fields of related rows that follow fields of the row to which they belong."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from typing import Any

from django.db import connections
from django.db.models import F, Field, Model

from django_signal_kit.exceptions import Misconfigured, did_you_mean
from django_signal_kit.relations.related import Link
from django_signal_kit.rows.database import lock_rows


class Sync:
    """``names``: field of the parent -> field of the related row that follows it."""

    def __init__(self, link: Link, names: Mapping[str, str]) -> None:
        self.link = link
        self.names = names

    def check(self, receiver: str) -> None:
        """Raise Misconfigured for a name of no column, or of one that cannot follow."""
        link = self.link
        for source, target in self.names.items():
            for model, name in ((link.parent, source), (link.model, target)):
                fields = {field.name: field for field in model._meta.concrete_fields}
                if name not in fields or (model is link.model and fields[name].primary_key):
                    raise Misconfigured(
                        "E012",
                        f"The option 'sync' of {receiver} has {name!r}, which is no column of "
                        f"{model._meta.label} to be kept in step.",
                        did_you_mean(name, fields),
                    )

    def is_written(self, update_fields: Any) -> bool:
        """Does a save of a parent write a field that others follow?"""
        if not self.names or update_fields is None:
            return bool(self.names)
        return not self._sources.keys().isdisjoint(update_fields)

    def read(self, parent: Model) -> dict[str, Any]:
        """The values of a parent that others follow, by its fields."""
        sources = self._sources
        return {name: getattr(parent, sources[name]) for name in self.names}

    def get_values(self, synced: Mapping[str, Any]) -> dict[str, Any]:
        """What a new related row begins with, of the values that :meth:`read` gives."""
        return {
            target.attname: target.to_python(synced[source])
            for source, target in self._fields.items()
        }

    def get_targets(self) -> set[str]:
        """The attnames of the fields that follow."""
        return {target.attname for target in self._fields.values()}

    def apply(self, parents: Iterable[Model], using: str) -> None:
        """Bring the related rows in step with their parents, which have been written."""
        instances = {self.link.get_key(parent): parent for parent in parents}
        instances.pop(None, None)
        if not instances:
            return
        stale, names = self._read_stale(list(instances), using)
        if stale:
            self.link.get_all_rows(using).bulk_update(stale, sorted(names))
        for row in stale:
            self._refresh(instances.get(self.link.get_owner(row)), row)

    @cached_property
    def _fields(self) -> dict[str, Any]:
        get_field = self.link.model._meta.get_field
        return {source: get_field(target) for source, target in self.names.items()}

    @cached_property
    def _sources(self) -> dict[str, str]:
        """Name and attname of each field that others follow -> attname."""
        fields: list[Any] = [self.link.parent._meta.get_field(name) for name in self.names]
        names = {field.attname: field.attname for field in fields}
        return names | {field.name: field.attname for field in fields}

    def _read_stale(self, keys: Collection[Any], using: str) -> tuple[list[Model], set[str]]:
        """The related rows, already given the values that they should have, of which a field
        differs from the parent's; and the names of those fields. One query, which locks them."""
        link = self.link
        targets = [(f"signal_kit_new_{name}", field) for name, field in self._fields.items()]
        new = {
            f"signal_kit_new_{name}": F(f"{link.field.name}__{name}") for name in self.names
        }  # As the database holds it: an instance may hold an F(), or be older than its row.
        rows = lock_rows(link.get_rows(keys, using).annotate(**new), connections[using])
        stale: list[Model] = []
        names: set[str] = set()
        for row in rows:
            differing = {
                field.name for alias, field in targets if _give(row, field, getattr(row, alias))
            }
            if differing:
                stale.append(row)
                names |= differing
        return stale, names

    def _refresh(self, parent: Model | None, row: Model) -> None:
        """The one that ``parent`` has loaded may be saved later: not with old values."""
        relation = self.link.field.remote_field
        if parent is None or not self.link.field.one_to_one or not relation.is_cached(parent):
            return
        loaded = relation.get_cached_value(parent)
        for field in self._fields.values():
            if loaded is not None and field.attname in loaded.__dict__:
                setattr(loaded, field.attname, getattr(row, field.attname))


def _give(row: Model, field: Field[Any, Any], value: Any) -> bool:
    """Set a field, and tell whether that changed it."""
    value = field.to_python(value)
    if getattr(row, field.attname) == value:
        return False
    setattr(row, field.attname, value)
    return True
