"""INSERT of plain rows, many in a statement, with the SQL made once."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Sequence
from itertools import repeat
from operator import is_
from typing import Any, TypeAlias
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model
from django.db.models.constants import OnConflict

from django_signal_kit.rows.cursor import execute
from django_signal_kit.units.journal import get_journal

#: The most rows in a statement: beyond it nothing is gained, and the SQL is worth keeping.
CHUNK = 500

#: A statement and its parameters.
Statement: TypeAlias = tuple[str, Sequence[Any]]

# What stands between texts that are given as one, and is hardly ever in a text.
_BETWEEN = "\x1f"
_HAVE_TEXT = {int, UUID, datetime.datetime}
# What psycopg takes as it is.
_PLAIN = {str, int, bool, type(None)}
# Numbers of rows; any number of them, given column by column, or as JSON.
_COLUMNS, _JSON = 0, -1

_kept: dict[tuple[Any, ...], str] = {}


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
    ``names``: 500 rows in a statement, or as many as its limit of parameters allows. An object
    that is the very same in all rows is given once, but on MariaDB.

    On PostgreSQL all of them are one statement with a parameter for each column, or for all; the
    values have to be text, whole numbers, None, or something whose ``str()`` PostgreSQL
    understands.

    ``is_last``: a COMMIT is the next thing that happens. Where the database takes it together with
    the last statement it goes along, which saves a round trip; Django's own is then without
    effect, and the journal is told here.

    ``ignore_conflicts``: leave out, as ``bulk_create()`` does, the rows that are there.
    """
    into = _Into(model, names, connection, ignore_conflicts)
    statements = list(into.get_statements(rows))
    commit = "; COMMIT" if is_last and _takes_two_statements(connection) else ""
    for number, (sql, values) in enumerate(statements, start=1):
        execute(connection, sql + commit if number == len(statements) else sql, values)
    if commit:
        get_journal(connection).settle()


class _Into:
    """Columns of a table."""

    def __init__(
        self,
        model: type[Model],
        names: tuple[str, ...],
        connection: BaseDatabaseWrapper,
        ignores: bool,
    ) -> None:
        self.model = model
        self.names = names
        self.connection = connection
        self.ignores = ignores

    def get_statements(self, rows: Sequence[Sequence[Any]]) -> Iterator[Statement]:
        is_postgresql = self.connection.vendor == "postgresql"
        if len(rows) == 1:
            yield self._get_sql(1), _to_texts(rows[0]) if is_postgresql else rows[0]
        elif is_postgresql:
            yield self._gather(rows)
        else:
            yield from self._cut(rows)

    def _gather(self, rows: Sequence[Sequence[Any]]) -> Statement:
        # Thousands of parameters cost the driver more than the INSERT costs the server.
        columns = [*zip(*rows, strict=True)]
        fixed = _find_fixed(columns)
        texts = _join(columns, fixed)
        if texts is None:
            return self._get_sql(_JSON), [json.dumps(rows, default=str)]
        return self._get_sql(_COLUMNS, fixed), [*(rows[0][place] for place in fixed), *texts]

    def _cut(self, rows: Sequence[Sequence[Any]]) -> Iterator[Statement]:
        # A list of rows has columns to be named on SQLite alone.
        is_sqlite = self.connection.vendor == "sqlite"
        fixed = _find_fixed([*zip(*rows, strict=True)]) if is_sqlite else ()
        once = [rows[0][place] for place in fixed]
        others = [place for place in range(len(self.names)) if place not in fixed]
        limit, size = self.connection.features.max_query_params, CHUNK
        if limit is not None:
            size = max(1, min(size, (limit - len(once)) // len(others)))
        for start in range(0, len(rows), size):
            some = rows[start : start + size]
            sql = self._get_sql(len(some), fixed)
            yield sql, [*once, *(row[place] for row in some for place in others)]

    def _get_sql(self, count: int, fixed: tuple[int, ...] = ()) -> str:
        """For ``count`` rows; ``fixed``: the places of what is given once for all of them."""
        key = (self.connection.alias, self.model, self.names, count, self.ignores, *fixed)
        sql = _kept.get(key)
        if sql is None:
            sql = self._make_sql(count, fixed)
            if count in (_JSON, _COLUMNS, 1, CHUNK):
                _kept[key] = sql
        return sql

    def _make_sql(self, count: int, fixed: tuple[int, ...]) -> str:
        connection, quote = self.connection, self.connection.ops.quote_name
        fields: list[Any] = [self.model._meta.get_field(name) for name in self.names]
        types: list[str] = [field.db_type(connection) for field in fields]
        columns = ", ".join(quote(field.column) for field in fields)
        on_conflict = OnConflict.IGNORE if self.ignores else None
        start = connection.ops.insert_statement(on_conflict=on_conflict)
        if count == _JSON:
            source = _select_from_json(types)
        elif count == _COLUMNS:
            source = _select_from_texts(types, fixed)
        else:
            source = _select_values(len(types), fixed, count)
        sql = f"{start} {quote(self.model._meta.db_table)} ({columns}) {source}"
        if self.ignores:
            sql += f" {connection.ops.on_conflict_suffix_sql(fields, on_conflict, (), ())}"
        return sql


def _to_texts(values: Sequence[Any]) -> list[Any]:
    # psycopg takes ten times as long for a datetime as for its text.
    return [value if value.__class__ in _PLAIN else str(value) for value in values]


def _find_fixed(columns: Sequence[Sequence[Any]]) -> tuple[int, ...]:
    """The places of those that have the very same object in all rows; one at least is left out."""
    fixed = [
        place for place, column in enumerate(columns) if all(map(is_, column, repeat(column[0])))
    ]
    return tuple(fixed if len(fixed) < len(columns) else fixed[1:])


def _join(columns: Sequence[Sequence[Any]], fixed: tuple[int, ...]) -> list[str] | None:
    """The other columns, each as one text; None if they cannot be parted again."""
    texts = []
    for place, column in enumerate(columns):
        if place in fixed:
            continue
        classes = {*map(type, column)}
        if classes != {str}:
            if not classes <= _HAVE_TEXT:
                return None
            column = [*map(str, column)]
        text = _BETWEEN.join(column)
        if text.count(_BETWEEN) != len(column) - 1:
            return None
        texts.append(text)
    return texts


def _select_values(width: int, fixed: tuple[int, ...], count: int) -> str:
    values = f"({', '.join(['%s'] * (width - len(fixed)))})"
    rows = f"VALUES {', '.join([values] * count)}"
    if not fixed:
        return rows
    # As SQLite calls the columns of such a list.
    names = (f"column{number}" for number in range(1, width + 1))
    selected = ["%s" if place in fixed else next(names) for place in range(width)]
    return f"SELECT {', '.join(selected)} FROM ({rows})"


def _select_from_texts(types: Sequence[str], fixed: tuple[int, ...]) -> str:
    values = [
        _cast("%s" if place in fixed else f"item.c{place}", db_type)
        for place, db_type in enumerate(types)
    ]
    others = [f"c{place}" for place in range(len(types)) if place not in fixed]
    arrays = ", ".join([f"string_to_array(%s, chr({ord(_BETWEEN)}))"] * len(others))
    return f"SELECT {', '.join(values)} FROM unnest({arrays}) AS item ({', '.join(others)})"


def _select_from_json(types: Sequence[str]) -> str:
    values = [_cast(f"item->>{place}", db_type) for place, db_type in enumerate(types)]
    return f"SELECT {', '.join(values)} FROM jsonb_array_elements(%s::jsonb) AS item"


def _cast(value: str, db_type: str) -> str:
    # Text is not cast: a cast to varchar(n) would cut off in silence what is too long.
    # The least of all numbers is one with its sign alone.
    return value if db_type.startswith(("varchar", "text")) else f"({value})::{db_type}"


def _takes_two_statements(connection: BaseDatabaseWrapper) -> bool:
    """PostgreSQL by psycopg 3, which asks the server whether there is still something to commit,
    unless parameters are bound on the server, which prepares one statement at a time."""
    features: Any = connection.features
    return (
        connection.vendor == "postgresql"
        and connection.Database.__name__ == "psycopg"  # type: ignore[attr-defined]
        and not features.uses_server_side_binding
    )
