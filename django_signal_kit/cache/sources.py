"""Which tags fall when rows of a table change, by the templates of those who touch them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import product
from math import prod
from typing import Any, NamedTuple

from django.apps import apps
from django.db import models
from django.db.models import Field, ForeignKey, ManyToManyField, Model

from django_signal_kit.cache.cache_invalidation import CacheInvalidation
from django_signal_kit.cache.templates import get_names, render
from django_signal_kit.wiring.registry import registry

#: Attname of a column of a table -> the values that it may have in the rows that are read.
Fixed = Mapping[str, Sequence[Any]]

#: One query tells so many tags at most by the values that it names.
_MOST = 200

# What reads the same in a query and in a row, and is equal only if it reads the same: to a text,
# another may be equal in the database, by its collation.
_PLAIN = (
    models.AutoField,
    models.BigAutoField,
    models.BigIntegerField,
    models.IntegerField,
    models.PositiveBigIntegerField,
    models.PositiveIntegerField,
    models.PositiveSmallIntegerField,
    models.SmallAutoField,
    models.SmallIntegerField,
    models.UUIDField,
)


def is_plain(field: Field[Any, Any]) -> bool:
    """Is the column one of whole numbers or UUIDs, or points to one?"""
    while isinstance(field, ForeignKey):
        field = field.target_field
    return type(field) in _PLAIN


class Source(NamedTuple):
    """One that touches tags when a row of ``model`` changes."""

    receiver: CacheInvalidation
    model: type[Model]
    #: Templates, and the attnames of the table itself that they name; those with most names first.
    templates: list[tuple[str, frozenset[str]]]

    def get_tags(self, fixed: Fixed) -> list[str] | None:
        """Tags that fall when a row comes to those that have the values ``fixed``, leaves them or
        changes; None if there are none, or too many. One template is enough."""
        for template, names in self.templates:
            if names <= fixed.keys() and prod(len(fixed[name]) for name in names) <= _MOST:
                columns = sorted(names)
                rows = product(*(fixed[name] for name in columns))
                return [
                    self._render(template, dict(zip(columns, row, strict=True))) for row in rows
                ]
        return None

    def get_tags_of_row(self, instance: Model) -> list[str]:
        """Tags that fall when the row changes, as few as will do."""
        for template, names in self.templates:
            if self._key in names:
                return list(render([template], {}, instance))
        return list(self.receiver.get_tags(instance))

    @property
    def _key(self) -> str:
        return str(getattr(self.model._meta.pk, "attname", "pk"))

    def _render(self, template: str, values: dict[str, Any]) -> str:
        return template.format_map({**values, "pk": values.get(self._key)})


class Sources:
    """Those of the receivers that are connected now."""

    def __init__(self) -> None:
        self._receivers: list[Any] | None = None

    def get(self, table: str) -> list[Source]:
        """Those of the rows of ``table``."""
        if self._receivers is not registry.receivers:
            # Others have been connected.
            self._receivers = registry.receivers
            self._by_table: dict[str, list[Source]] = {}
            vars(self).pop("_ends", None)
        if table not in self._by_table:
            self._by_table[table] = [
                source
                for model in _get_models()
                if model._meta.db_table == table and not model._meta.proxy
                for source in _list_sources(model)
            ]
        return self._by_table[table]

    def get_ends(self, table: str) -> list[tuple[str, str]]:
        """Of a table of links: its columns, by attname, and the tables to which they point."""
        return self._ends.get(table, [])

    @cached_property
    def _ends(self) -> dict[str, list[tuple[str, str]]]:
        found: dict[str, list[tuple[str, str]]] = {}
        for model in _get_models():
            for field in model._meta.local_many_to_many:
                if isinstance(field, ManyToManyField):
                    through: Any = field.remote_field.through
                    names = (field.m2m_field_name(), field.m2m_reverse_field_name())
                    ends = [through._meta.get_field(name) for name in names]
                    found[through._meta.db_table] = [
                        (end.attname, end.related_model._meta.db_table) for end in ends
                    ]
        return found


def _get_models() -> Iterator[type[Model]]:
    return iter(apps.get_models(include_auto_created=True))


def _list_sources(model: type[Model]) -> Iterator[Source]:
    for receiver in registry.get_covering(model):
        if isinstance(receiver, CacheInvalidation) and (
            receiver.tags or type(receiver).get_tags is not CacheInvalidation.get_tags
        ):
            yield Source(receiver, model, _list_templates(receiver, model))


def _list_templates(
    receiver: CacheInvalidation, model: type[Model]
) -> list[tuple[str, frozenset[str]]]:
    """The templates that name columns of the table alone, of which the values can be told."""
    columns = {f.attname: f for f in model._meta.local_concrete_fields if is_plain(f)}
    key = getattr(model._meta.pk, "attname", None)
    found = []
    for template in receiver.tags:
        names = {key if name == "pk" else name for name in get_names([template], {})}
        if names <= columns.keys():
            found.append((template, frozenset(filter(None, names))))
    return sorted(found, key=lambda each: (key not in each[1], -len(each[1])))


sources = Sources()
