"""The statements that a database connection begins with, by vendor."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from functools import cache
from typing import Any, TypeAlias

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import Error, OperationalError

#: SQL and its parameters; None: the SQL is sent as it is, percent signs too.
Statement: TypeAlias = tuple[str, tuple[Any, ...] | None]

NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
#: What a pragma may be set to. It cannot be bound, so it is written into the SQL.
PRAGMA_VALUE = re.compile(r"-?\w+", re.ASCII)
JOURNAL_MODES = ("delete", "truncate", "persist", "memory", "wal", "off")


def get_sqlite_statements(settings: Mapping[str, Any]) -> list[Statement]:
    return [
        (f"PRAGMA {name} = {_as_word(value, 'ON', 'OFF')}", None)
        for name, value in settings.items()
    ]


def get_postgresql_statements(settings: Mapping[str, Any]) -> list[Statement]:
    """One statement for all: each is a round trip."""
    if not settings:
        return []
    calls = ", ".join("set_config(%s, %s, false)" for _ in settings)
    pairs = [(name, _as_word(value, "on", "off")) for name, value in settings.items()]
    return [(f"SELECT {calls}", tuple(part for pair in pairs for part in pair))]


def get_mysql_statements(settings: Mapping[str, Any]) -> list[Statement]:
    if not settings:
        return []
    names = ", ".join(f"SESSION {name} = %s" for name in settings)
    values = (int(value) if isinstance(value, bool) else value for value in settings.values())
    return [(f"SET {names}", tuple(values))]


GETTERS: dict[str, Callable[[Mapping[str, Any]], list[Statement]]] = {
    "sqlite": get_sqlite_statements,
    "postgresql": get_postgresql_statements,
    "mysql": get_mysql_statements,
}


def _as_word(value: Any, true: str, false: str) -> str:
    if isinstance(value, bool):
        return true if value else false
    return str(value)


@cache
def get_pragmas() -> frozenset[str]:
    """The pragmas that this SQLite knows; those of another name it ignores without a word."""
    with closing(sqlite3.connect(":memory:")) as connection:
        return frozenset(name for (name,) in connection.execute("PRAGMA pragma_list"))


def run(connection: BaseDatabaseWrapper, statements: Iterable[Statement]) -> None:
    """Run them all. Raises the database's own kind of error, with the alias and the statement."""
    for sql, params in statements:
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, params)
                if connection.vendor == "sqlite" and sql.startswith("PRAGMA journal_mode ="):
                    _check_journal_mode(sql, cursor.fetchone()[0])
        except Error as error:
            values = f" with {list(params)!r}" if params else ""
            raise type(error)(
                f"The connection {connection.alias!r} cannot be set up: {sql!r}{values} failed: "
                f"{error}"
            ) from error
    if not connection.get_autocommit():
        # A rollback of what comes next would take the settings back.
        connection.connection.commit()


def _check_journal_mode(sql: str, mode: str) -> None:
    # What is in memory knows one mode only; elsewhere a refusal is silent.
    if mode != "memory" and mode != sql.rpartition(" ")[2].lower():
        raise OperationalError(f"the journal mode is still {mode!r}")
