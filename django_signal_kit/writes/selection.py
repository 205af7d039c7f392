"""The rows that a queryset finds, to be locked as they are."""

from __future__ import annotations

from typing import Any

from django.db import connections
from django.db.models import CompositePrimaryKey, Model, QuerySet
from django.db.models.query import ModelIterable
from django.db.models.sql import Query

from django_signal_kit.rows.database import lock_rows
from django_signal_kit.units.locking import lock_before_reading


def get_rows(model: type[Model], keys: list[Any], using: str) -> QuerySet[Any]:
    return QuerySet(model, using=using).filter(pk__in=keys)


def lock(queryset: QuerySet[Any], using: str) -> QuerySet[Any]:
    """The rows as they are, to be read and locked where the database can, so that what is read is
    what is updated."""
    rows = queryset._chain()  # type: ignore[attr-defined]
    query = rows.query
    if not query.distinct_fields or is_alone(query):
        # It changes nothing: keys are distinct. What Django 6.1 refuses, it ignored before.
        query.distinct, query.distinct_fields = False, ()
    is_composite = isinstance(queryset.model._meta.pk, CompositePrimaryKey)
    if is_of_sets(query) or query.distinct or query.values_select or is_composite:
        # What is grouped cannot be locked, nor can Django name the table of a composite key; the
        # keys are found by a subquery.
        rows = QuerySet(queryset.model, using=using).filter(pk__in=rows.order_by().values("pk"))
        query = rows.query
    rows._iterable_class = ModelIterable
    rows._prefetch_related_lookups = ()
    query.select_related = False
    query.clear_ordering(force=True)
    query.clear_deferred_loading()
    rows = rows.using(using)
    lock_before_reading(connections[using], queryset.model)
    return lock_rows(rows, connections[using])


def is_of_sets(query: Query) -> bool:
    """Does the condition look at groups or windows of rows?"""
    return query.group_by is not None or query.where.contains_over_clause


def is_alone(query: Query) -> bool:
    """Is it a query of one table? The condition then goes into the UPDATE as it is."""
    query = query.clone()
    query.get_initial_alias()
    return query.count_active_tables() == 1 and not query.get_meta().parents
