"""A many-to-many relation, seen from one of its two sides."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from django.db import connections
from django.db.models import Count, ManyToManyField, Model, Q, QuerySet
from django.db.models.fields.reverse_related import ManyToManyRel

from django_signal_kit.relations.pointers import in_parts
from django_signal_kit.rows.database import lock_rows
from django_signal_kit.rows.many_to_many import get_many_to_many, get_reverse_many_to_many
from django_signal_kit.units.locking import lock_before_reading
from django_signal_kit.writes.links import SOURCE, TARGET, get_relation


class Side:
    """The rows of ``model``, each with the links that it has in one many-to-many relation.

    ``near`` is the foreign key of a link to the row itself, ``far`` the one to what it is linked
    with.
    """

    def __init__(
        self, model: type[Model], relation: ManyToManyField[Any, Any] | ManyToManyRel
    ) -> None:
        self.model = model
        self.relation = relation
        self.forward = isinstance(relation, ManyToManyField)
        field: Any = relation if self.forward else relation.field  # type: ignore[union-attr]
        self.links = get_relation(field)
        self.through = self.links.through
        #: The end of a link at which these rows are.
        self.end = SOURCE if self.forward else TARGET
        self.near: Any = self.links.ends[self.end]
        self.far: Any = self.links.ends[1 - self.end]
        #: The model of what the rows are linked with.
        self.other = self.links.get_model(1 - self.end)

    @property
    def key(self) -> str:
        """The field of ``model`` that a link names: its key, but for a ``to_field``."""
        field = self.near.target_field
        return "pk" if field.primary_key else field.attname

    def get_value(self, row: Model) -> Any:
        """What the links of ``row`` name."""
        return getattr(row, self.key)

    def lock(self, keys: Iterable[Any], using: str) -> Iterator[Any]:
        """Load these rows in the order of their keys, and lock them where that can be done."""
        connection = connections[using]
        lock_before_reading(connection, self.model)
        for some in in_parts(keys):
            rows: QuerySet[Any] = QuerySet(self.model, using=using)
            rows = rows.filter(**{f"{self.key}__in": some}).order_by("pk")
            yield from lock_rows(rows, connection)

    def count(
        self, keys: Collection[Any], others: set[Any] | None, using: str
    ) -> dict[Any, tuple[int, int]]:
        """Key -> how many links the row has, and how many of these are with ``others``; None is
        all."""
        links: QuerySet[Any] = QuerySet(self.through, using=using)
        # One that leads nowhere is none.
        there = {f"{self.far.name}__isnull": False} if self.far.null else {}
        links = links.filter(**{f"{self.near.name}__in": keys}, **there).order_by()
        among = Q() if others is None else Q(**{f"{self.far.name}__in": others})
        counts = links.values(self.near.attname).annotate(
            signal_kit_total=Count("*"), signal_kit_known=Count("pk", filter=among)
        )
        names = (self.near.attname, "signal_kit_total", "signal_kit_known")
        return {key: (total, known) for key, total, known in counts.values_list(*names)}

    def read_linked(self, key: Any, using: str) -> set[Any]:
        """What the row of this key is linked with."""
        links: QuerySet[Any] = QuerySet(self.through, using=using)
        found = links.filter(**{self.near.attname: key})
        return set(found.values_list(self.far.attname, flat=True)) - {None}

    def find_refused(self, keys: Iterable[Any], allowed: Q, using: str) -> list[Any]:
        """The rows of the other side that have these keys and are not ``allowed``."""
        others: QuerySet[Any] = QuerySet(self.other, using=using)
        field = self.far.target_field.attname
        refused: list[Any] = []
        for some in in_parts(keys):
            rows = others.filter(**{f"{field}__in": some})
            refused += rows.exclude(pk__in=others.filter(allowed).values("pk")).order_by("pk")
        return refused


def get_side(model: type[Model], name: str) -> Side:
    """The relation that the rows of a covered model have under ``name``."""
    relation = find_relation(model, name)
    assert relation is not None
    return Side(model, relation)


def lacks_relation(model: type[Model], name: str) -> str | None:
    """For ``lacks()`` of a receiver that cannot do without it."""
    return None if find_relation(model, name) else f"no many-to-many relation {name!r}"


def find_relation(
    model: type[Model], name: str
) -> ManyToManyField[Any, Any] | ManyToManyRel | None:
    """The many-to-many relation of ``model`` under which its rows have ``name``, from whichever
    side it is declared."""
    return next((found for other, found in list_relations(model) if other == name), None)


def list_relations(
    model: type[Model],
) -> Iterator[tuple[str, ManyToManyField[Any, Any] | ManyToManyRel]]:
    """The attributes of ``model`` that are many-to-many managers."""
    for field in get_many_to_many(model):
        yield field.name, field
    for rel in get_reverse_many_to_many(model):
        if name := rel.get_accessor_name():
            yield name, rel
