"""Reads what the database holds of a row, with the SQL of one row compiled once.

Compiling costs several times what running it does, and a covered save reads its old row each time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BinaryField, CompositePrimaryKey, Model, QuerySet

from django_signal_kit.rows.columns import Column, get_columns
from django_signal_kit.rows.cursor import fetch
from django_signal_kit.rows.values import UNKNOWN
from django_signal_kit.units.locking import lock_before_reading

Row = Mapping[str, Any]

#: The most keys in one query.
CHUNK = 500

_LEAST = -(2**63)


class Statement(NamedTuple):
    """The SELECT of one row by its key."""

    sql: str
    names: tuple[str, ...]
    #: Position -> the functions that make a value of what the driver gives, and what for.
    converters: tuple[tuple[int, list[Callable[..., Any]], Any], ...]


# (Alias, model, names of columns, with a lock?) -> statement, or None if it cannot be kept.
_statements: dict[tuple[str, type[Model], tuple[str, ...], bool], Statement | None] = {}


def forget_statements() -> None:
    """Compile anew: settings or models have changed."""
    _statements.clear()


def read_row(model: type[Model], pk: Any, columns: Sequence[Column], using: str) -> Row | None:
    """The row with this key by attname, or None. One query, which locks the row if it can."""
    if not _is_storable(pk):
        return None
    connection = connections[using]
    lock_before_reading(connection, model)
    names = tuple([column.attname for column in columns])
    key = (using, model, names, connection.in_atomic_block)
    try:
        statement = _statements[key]
    except KeyError:
        try:
            statement = _statements[key] = _compile(model, pk, names, connection)
        except EmptyResultSet:
            # A number that the column cannot hold: the write says so itself.
            return None
    if statement is None:
        return _read_by_queryset(model, [pk], columns, using).get(pk)
    found = fetch(connection, statement.sql, (_prepare(model, pk, connection),))
    if not found:
        return None
    values = list(found[0])
    for position, converters, expression in statement.converters:
        try:
            for convert in converters:
                values[position] = convert(values[position], expression, connection)
        except Exception:
            # What its field cannot read may be written all the same.
            values[position] = UNKNOWN
    return dict(zip(names, values, strict=True))


def read_rows(
    model: type[Model], keys: Sequence[Any], columns: Sequence[Column], using: str
) -> dict[Any, Row]:
    """Key -> row by attname, of those that are there; a query for each 500, locked if it can."""
    keys = [key for key in keys if _is_storable(key)]
    if len(keys) == 1:
        row = read_row(model, keys[0], columns, using)
        return {} if row is None else {keys[0]: row}
    lock_before_reading(connections[using], model)
    rows: dict[Any, Row] = {}
    for start in range(0, len(keys), CHUNK):
        rows.update(_read_by_queryset(model, keys[start : start + CHUNK], columns, using))
    return rows


def lock_rows(
    queryset: QuerySet[Any],
    connection: BaseDatabaseWrapper,
    *,
    no_key: bool = True,
    skip_locked: bool = False,
) -> QuerySet[Any]:
    """``queryset`` with its rows locked, in a transaction of a database that can.

    Without ``no_key`` nobody can point to them anew; ``skip_locked`` leaves out, if the database
    can, what others hold.
    """
    features, meta = connection.features, queryset.model._meta
    if not (connection.in_atomic_block and features.has_select_for_update):
        return queryset
    of: tuple[str, ...] = ()
    # Django cannot name the table of a composite key.
    if features.has_select_for_update_of and not isinstance(meta.pk, CompositePrimaryKey):
        # The parents of a multi-table child as well.
        links = meta.concrete_model._meta.parents.values()
        of = ("self", *(link.name for link in links if link is not None))
        if _has_schema(queryset.model, connection):
            # OF takes no name of a schema. Without it all tables of the query are locked.
            of = ()
            queryset = _part_from_joins(queryset, connection.alias)
    # A plain lock would block the insertion of rows that point here.
    return queryset.select_for_update(
        of=of,
        no_key=no_key and features.has_select_for_no_key_update,
        skip_locked=skip_locked and features.has_select_for_update_skip_locked,
    )


def _has_schema(model: type[Model], connection: BaseDatabaseWrapper) -> bool:
    """Does the table of the model, or of a multi-table parent, lie in a schema that is named?"""
    models = (model, *model._meta.get_parent_list())
    return any('"."' in connection.ops.quote_name(one._meta.db_table) for one in models)


def _part_from_joins(queryset: QuerySet[Any], using: str) -> QuerySet[Any]:
    """The same rows with the joins in a subquery, where they are not locked."""
    query = queryset.query
    if len(query.alias_map) <= 1 or query.annotations:
        return queryset
    rows: QuerySet[Any] = QuerySet(queryset.model, using=using)
    return rows.filter(pk__in=queryset.order_by().values("pk")).order_by(*query.order_by)


def _read_by_queryset(
    model: type[Model], keys: Sequence[Any], columns: Iterable[Column], using: str
) -> dict[Any, Row]:
    rows: QuerySet[Any] = QuerySet(model, using=using)
    rows = rows.filter(pk=keys[0]) if len(keys) == 1 else rows.filter(pk__in=keys)
    names = [column.attname for column in columns]
    binary = [column.attname for column in columns if isinstance(column.field, BinaryField)]
    found: dict[Any, Row] = {}
    for pk, *values in lock_rows(rows, connections[using]).values_list("pk", *names):
        row = dict(zip(names, values, strict=True))
        for name in binary:
            row[name] = None if row[name] is None else bytes(row[name])
        found[pk] = row
    return found


def _is_storable(pk: Any) -> bool:
    """False for a number that no column holds: SQLite does not even look for it."""
    if pk.__class__ is int:
        return _LEAST <= pk < -_LEAST
    return not isinstance(pk, tuple) or all(map(_is_storable, pk))


def _prepare(model: type[Model], pk: Any, connection: BaseDatabaseWrapper) -> Any:
    field: Any = model._meta.pk
    return field.get_db_prep_value(field.get_prep_value(pk), connection, prepared=True)


def _compile(
    model: type[Model], pk: Any, names: tuple[str, ...], connection: BaseDatabaseWrapper
) -> Statement | None:
    """None if more than the prepared key goes into the query, as for composite keys."""
    rows: QuerySet[Any] = QuerySet(model, using=connection.alias)
    rows = lock_rows(rows.filter(pk=pk), connection).values_list(*names)
    compiler = rows.query.get_compiler(connection=connection)
    sql, parameters = compiler.as_sql()
    if not names or tuple(parameters) != (_prepare(model, pk, connection),):
        return None
    expressions = [selected[0] for selected in compiler.select]
    converters = compiler.get_converters(expressions)
    found = [(position, list(how), what) for position, (how, what) in converters.items()]
    for position, name in enumerate(names):
        if isinstance(get_columns(model)[name].field, BinaryField):
            found.append((position, [_to_bytes], None))
    return Statement(sql, names, tuple(found))


def _to_bytes(value: Any, expression: Any, connection: Any) -> bytes | None:
    return None if value is None else bytes(value)
