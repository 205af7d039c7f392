"""An update writes the rows that have been read and locked, and no others that match by now."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import connections
from django.db.models import Lookup, QuerySet

from django_signal_kit.units.journal import CHUNK
from django_signal_kit.writes.selection import is_alone, is_of_sets

_IN_ARRAYS = {int, str, UUID}


def confine(queryset: QuerySet[Any], keys: list[Any], using: str) -> QuerySet[Any]:
    """``queryset``, or what updates the rows with these keys.

    The condition has been looked at when the rows were read and locked; now the keys stand for it,
    as Django itself lets them where an update is of several tables. On SQLite nobody else writes
    in between, and the statement is the user's own.
    """
    if connections[using].vendor == "sqlite":
        return queryset
    query = queryset.query
    if is_of_sets(query) and is_alone(query):
        # No database takes it; it is refused in its own words.
        return queryset
    if query.annotations:
        # The new values may speak of them.
        confined = queryset._chain()  # type: ignore[attr-defined]
        confined.query.clear_where()
    else:
        confined = QuerySet(queryset.model, using=using)
        confined.query.order_by = query.order_by
        confined.query.standard_ordering = query.standard_ordering
    _filter(confined.query, keys, using)
    return confined  # type: ignore[no-any-return]


def _filter(query: Any, keys: list[Any], using: str) -> None:
    is_long = len(keys) > CHUNK and connections[using].vendor == "postgresql"
    if is_long and {key.__class__ for key in keys} <= _IN_ARRAYS:
        column = query.get_meta().pk.get_col(query.get_initial_alias())
        query.where.add(_Among(column, keys), "AND")
    else:
        query.add_filter("pk__in", keys)


class _Among(Lookup):
    """One array, where the number of parameters may be limited."""

    lookup_name = "signal_kit_among"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        column, params = self.process_lhs(compiler, connection)
        field: Any = self.lhs.output_field
        keys = [field.get_db_prep_value(key, connection) for key in self.rhs]
        return f"{column} = ANY(%s)", (*params, keys)
