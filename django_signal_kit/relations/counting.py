"""A column that says how many links a row has in a many-to-many relation."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from django.db import connections, transaction
from django.db.models import Count, Model, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from django_signal_kit.relations.pointers import in_parts, lock
from django_signal_kit.relations.sides import Side


class LinkCount:
    """The column ``field`` of the rows on one side of a relation."""

    def __init__(self, side: Side, field: str) -> None:
        self.side = side
        self.field: Any = side.model._meta.get_field(field)
        #: The model whose table has the column; a parent, if it is inherited.
        self.model: type[Model] = self.field.model

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LinkCount) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def _identity(self) -> tuple[Any, Any]:
        return self.side.near, self.field

    def get_expression(self, links: QuerySet[Any]) -> Coalesce:
        """How many of ``links`` a row has, as the database counts them."""
        near = self.side.near.attname
        counts = links.filter(**{near: OuterRef(self.side.key)}).order_by()
        counts = counts.values(near).annotate(signal_kit_count=Count("*"))
        return Coalesce(Subquery(counts.values("signal_kit_count")), 0)

    def recount(self, keys: Collection[Any], links: QuerySet[Any], *, is_locked: bool) -> int:
        """Make the column of these rows true, in a transaction: a lock and an UPDATE each 500.
        Returns how many were written.

        ``is_locked``: the transaction has written the rows itself, so that nobody else can; then
        the column is written only where it is wrong.
        """
        written = 0
        using, count = links.db, self.get_expression(links)
        with transaction.atomic(using, savepoint=False):
            for some in in_parts(keys):
                rows: QuerySet[Any] = QuerySet(self.model, using=using)
                rows = rows.filter(**{f"{self.side.key}__in": some})
                if is_locked:
                    rows = rows.filter(self._is_wrong(count))
                else:
                    # A statement of its own: what the UPDATE counts is then what is committed
                    # once the lock is there.
                    lock(self.model, {f"{self.side.key}__in": some}, using)
                written += rows.update(**{self.field.name: count})
        return written

    def lock_early(self, keys: Iterable[Any], using: str) -> None:
        """On MySQL a new link takes a shared lock on the row that is counted: two that have it,
        and then want to write the row, would wait for each other."""
        if connections[using].vendor == "mysql":
            for some in in_parts(key for key in keys if key is not None):
                near = self.side.near.target_field
                lock(near.model, {f"{near.attname}__in": some}, using)

    def find_wrong(
        self, keys: Collection[Any], links: QuerySet[Any]
    ) -> Iterator[tuple[Any, int | None, int]]:
        """Key, column and true count of those of these rows whose column is wrong."""
        count = self.get_expression(links)
        for some in in_parts(keys):
            rows: QuerySet[Any] = QuerySet(self.model, using=links.db)
            rows = rows.filter(self._is_wrong(count), **{f"{self.side.key}__in": some})
            rows = rows.annotate(signal_kit_count=count).order_by("pk")
            yield from rows.values_list(self.side.key, self.field.name, "signal_kit_count")

    def list_keys(self, using: str, chunk: int) -> Iterator[list[Any]]:
        """The keys of all rows, in their order, a chunk at a time."""
        rows: QuerySet[Any] = QuerySet(self.model, using=using).order_by(self.side.key)
        found: list[Any] = list(rows.values_list(self.side.key, flat=True)[:chunk])
        while found:
            yield found
            later = rows.filter(**{f"{self.side.key}__gt": found[-1]})
            found = list(later.values_list(self.side.key, flat=True)[:chunk])

    def _is_wrong(self, count: Coalesce) -> Q:
        return Q(**{f"{self.field.name}__isnull": True}) | ~Q(**{self.field.name: count})
