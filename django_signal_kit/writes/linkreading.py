"""Rows of through models, read and locked before a write changes them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import connections
from django.db.models import Model, Q, QuerySet
from django.db.models.deletion import Collector
from django.db.models.sql import InsertQuery

from django_signal_kit.rows.columns import get_columns
from django_signal_kit.rows.database import CHUNK, Row, lock_rows, read_rows
from django_signal_kit.units.locking import lock_before_reading
from django_signal_kit.writes.links import SOURCE, TARGET, Heard, Relation

#: As many rows are looked for by their unique values in one query.
_PART = 100


def get_gone(collector: Collector, relation: Relation) -> tuple[set[Any], set[Any]]:
    """What links name of the rows, at each end, that a deletion deletes."""
    gone: tuple[set[Any], set[Any]] = (set(), set())
    for end in (SOURCE, TARGET):
        model, attname = relation.get_model(end), relation.get_attname(end)
        for deleted, instances in collector.data.items():
            if issubclass(deleted, model._meta.concrete_model):  # type: ignore[arg-type]
                gone[end].update(getattr(instance, attname) for instance in instances)
    return gone


def read_deleted(collector: Collector, known: Heard) -> list[Row]:
    """The links that a deletion takes away, locked."""
    using = collector.using
    connection = connections[using]
    lock_before_reading(connection, known.through)
    if connection.in_atomic_block and connection.features.has_select_for_update:
        # Nobody may link one of them between the reading and the deletion.
        for relation in known.relations:
            for end, keys in enumerate(get_gone(collector, relation)):
                ends: QuerySet[Any] = QuerySet(relation.get_model(end), using=using)
                for some in _in_parts(keys):
                    named = ends.filter(**{f"{relation.get_attname(end)}__in": some})
                    list(
                        lock_rows(named.order_by("pk"), connection, no_key=False).values_list("pk")
                    )
    columns = [get_columns(known.through)[field.attname] for field in known.fields]
    found: list[Row] = []
    for model, instances in collector.data.items():
        if model in known.models and model._meta.concrete_model is known.through:
            pks = [instance.pk for instance in instances]
            found += read_rows(known.through, pks, columns, using).values()
    for rows in collector.fast_deletes:
        if rows.model in known.models:
            found += _read_rows(known, rows, using)
    return found


def read_matching(known: Heard, conditions: Iterable[Q], using: str) -> list[Row]:
    """The rows that match, locked."""
    found: list[Row] = []
    for condition in conditions:
        lock_before_reading(connections[using], known.through)
        rows: QuerySet[Any] = QuerySet(known.through, using=using)
        found += _read_rows(known, rows.filter(condition), using)
    return found


def _read_rows(known: Heard, rows: QuerySet[Any], using: str) -> list[Row]:
    if rows.query.distinct or rows.query.group_by is not None:
        # What is grouped cannot be locked.
        plain: QuerySet[Any] = QuerySet(rows.model, using=using)
        rows = plain.filter(pk__in=rows.order_by().values("pk"))
    locked = lock_rows(rows.order_by(), connections[using], no_key=False)
    names = known.attnames
    return [dict(zip(names, row, strict=True)) for row in locked.values_list(*names)]


def find_same(
    known: Heard, objs: Sequence[Model], unique_fields: Collection[str] | None
) -> list[Q]:
    """Conditions for the rows that are where ``objs`` would be: those with the same values of
    ``unique_fields``, or of any that are unique."""
    meta = known.through._meta
    if unique_fields:
        groups = [[meta.pk.name if name == "pk" else name for name in unique_fields]]
    else:
        groups = [[field.name] for field in meta.concrete_fields if field.unique]
        groups += [list(names) for names in meta.unique_together]
        groups += [list(constraint.fields) for constraint in meta.total_unique_constraints]
    conditions: list[Q] = []
    for start in range(0, len(objs), _PART):
        same = Q()
        for names in groups:
            for obj in objs[start : start + _PART]:
                fields: list[Any] = [meta.get_field(name) for name in names]
                values = {field.attname: getattr(obj, field.attname) for field in fields}
                if None not in values.values():
                    same |= Q(**values)
        if same:
            conditions.append(same)
    return conditions


def _in_parts(keys: Collection[Any]) -> Iterator[list[Any]]:
    found = sorted(keys, key=str)
    return (found[start : start + CHUNK] for start in range(0, len(found), CHUNK))


def can_return(using: str) -> bool:
    """Can the database say which rows it has really inserted?"""
    return connections[using].features.can_return_rows_from_bulk_insert


@contextmanager
def returning(queryset: QuerySet[Any], known: Heard, made: list[Row]) -> Iterator[None]:
    """What ``bulk_create(ignore_conflicts=True)`` inserts goes into ``made``. Django does not ask
    for it."""

    def insert(
        objs: Sequence[Model],
        fields: Sequence[Any],
        returning_fields: Any = None,
        raw: bool = False,
        using: str | None = None,
        **conflicts: Any,
    ) -> list[Any]:
        conflicts = {name: value for name, value in conflicts.items() if value is not None}
        query = InsertQuery(queryset.model, **conflicts)
        query.insert_values(fields, list(objs), raw=raw)
        compiler = query.get_compiler(using=using)
        compiler.returning_fields = known.fields
        with compiler.connection.cursor() as cursor:
            rows: Any = []
            for sql, parameters in compiler.as_sql():
                cursor.execute(sql, parameters)
                rows += cursor.fetchall()
        columns = [field.get_col(known.through._meta.db_table) for field in known.fields]
        if converters := compiler.get_converters(columns):
            rows = compiler.apply_converters(rows, converters)
        made.extend(dict(zip(known.attnames, row, strict=True)) for row in rows)
        return []

    queryset._insert = insert  # type: ignore[attr-defined]
    try:
        yield
    finally:
        del queryset._insert  # type: ignore[attr-defined]
