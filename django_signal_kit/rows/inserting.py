"""INSERT of plain rows, many in a statement, with the SQL made once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model
from django.db.models.constants import OnConflict

from django_signal_kit.rows.statements import execute
from django_signal_kit.units.journal import get_journal

#: The most rows in a statement: beyond it nothing is gained, and the SQL is worth keeping.
CHUNK = 500

# What goes to the driver as it is.
_PLAIN = (str, int, bool, type(None))

_kept: dict[tuple[str, type[Model], tuple[str, ...], int, bool], str] = {}


def insert(
    model: type[Model],
    names: tuple[str, ...],
    rows: Sequence[Sequence[Any]],
    connection: BaseDatabaseWrapper,
    *,
    is_last: bool = False,
    ignore_conflicts: bool = False,
) -> None:
    """Insert ``rows``, whose values are prepared for the database, into the columns of the fields
    ``names``: 500 rows in a statement, or as many as its limit of parameters allows.

    On PostgreSQL many of them are one statement with one parameter. There the values have to be
    text, whole numbers, None, or something whose ``str()`` PostgreSQL understands.

    ``is_last``: a COMMIT is the next thing that happens. Where the database takes it together with
    the last statement it goes along, which saves a round trip; Django's own is then without
    effect, and the journal is told here.

    ``ignore_conflicts``: leave out, as ``bulk_create()`` does, the rows that are there.
    """
    statements = list(_get_statements(connection, model, names, rows, ignore_conflicts))
    commit = "; COMMIT" if is_last and _takes_two_statements(connection) else ""
    for number, (sql, values) in enumerate(statements, start=1):
        execute(connection, sql + commit if number == len(statements) else sql, values)
    if commit:
        get_journal(connection).settle()


def _get_statements(
    connection: BaseDatabaseWrapper,
    model: type[Model],
    names: tuple[str, ...],
    rows: Sequence[Sequence[Any]],
    ignores: bool,
) -> Iterator[tuple[str, Sequence[Any]]]:
    if len(rows) == 1:
        values = rows[0]
        if connection.vendor == "postgresql":
            # The driver takes ten times as long for a datetime as for its text.
            values = [value if value.__class__ in _PLAIN else str(value) for value in values]
        yield _get_sql(connection, model, names, 1, ignores), values
    elif connection.vendor == "postgresql":
        # Thousands of parameters cost the driver more than the INSERT costs the server.
        yield _get_sql(connection, model, names, 0, ignores), [json.dumps(rows, default=str)]
    else:
        limit = connection.features.max_query_params
        size = CHUNK if limit is None else max(1, min(CHUNK, limit // len(names)))
        for start in range(0, len(rows), size):
            some = rows[start : start + size]
            values = [value for row in some for value in row]
            yield _get_sql(connection, model, names, len(some), ignores), values


def _get_sql(
    connection: BaseDatabaseWrapper,
    model: type[Model],
    names: tuple[str, ...],
    count: int,
    ignores: bool,
) -> str:
    """For ``count`` rows; 0 means any number, in one array of JSON."""
    key = (connection.alias, model, names, count, ignores)
    sql = _kept.get(key)
    if sql is None:
        quote = connection.ops.quote_name
        fields: list[Any] = [model._meta.get_field(name) for name in names]
        columns = ", ".join(quote(field.column) for field in fields)
        on_conflict = OnConflict.IGNORE if ignores else None
        start = connection.ops.insert_statement(on_conflict=on_conflict)
        sql = f"{start} {quote(model._meta.db_table)} ({columns}) "
        if count:
            row = f"({', '.join(['%s'] * len(names))})"
            sql += f"VALUES {', '.join([row] * count)}"
        else:
            types = enumerate(field.db_type(connection) for field in fields)
            values = ", ".join(_unpack(position, db_type) for position, db_type in types)
            sql += f"SELECT {values} FROM jsonb_array_elements(%s::jsonb) AS item"
        if ignores:
            sql += f" {connection.ops.on_conflict_suffix_sql(fields, on_conflict, (), ())}"
        if count in (0, 1, CHUNK):
            _kept[key] = sql
    return sql


def _unpack(position: int, db_type: str) -> str:
    # Text is not cast: a cast to varchar(n) would cut off in silence what is too long.
    is_text = db_type.startswith(("varchar", "text"))
    return f"item->>{position}" if is_text else f"(item->>{position})::{db_type}"


def _takes_two_statements(connection: BaseDatabaseWrapper) -> bool:
    """PostgreSQL by psycopg 3, which asks the server whether there is still something to commit,
    unless parameters are bound on the server, which prepares one statement at a time."""
    features: Any = connection.features
    return (
        connection.vendor == "postgresql"
        and connection.Database.__name__ == "psycopg"  # type: ignore[attr-defined]
        and not features.uses_server_side_binding
    )
