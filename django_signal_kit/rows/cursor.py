"""The kit's own statements, run by a cursor that each connection keeps open for them.

To make one, and to have SQLite's look for the placeholders, costs as much as the statement of one
row itself, and a covered save has two.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from threading import get_ident
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from django_signal_kit.units.transactions import CURSOR

# Where Django's cursor for it is from; it cannot be imported everywhere.
_SQLITE = "django.db.backends.sqlite3.base"
# Characters in a parameter.
_LONG = 10_000


def execute(connection: BaseDatabaseWrapper, sql: str, parameters: Sequence[Any]) -> None:
    """Run a statement, in the open transaction, that gives no rows."""
    cursor = _take(connection)
    cursor.execute(sql, parameters)
    if connection.vendor != "sqlite" and _are_long(parameters):
        # Other drivers' cursors hold the whole text of the latest statement.
        cursor.close()
    else:
        _give_back(connection, cursor)


def fetch(connection: BaseDatabaseWrapper, sql: str, parameters: Sequence[Any]) -> list[Any]:
    """All rows of a query."""
    cursor = _take(connection)
    cursor.execute(sql, parameters)
    # All of them: SQLite has not ended a statement of which one may come still.
    rows = list(cursor.fetchall())
    _give_back(connection, cursor)
    return rows


def _take(connection: BaseDatabaseWrapper) -> Any:
    """Nobody else has it meanwhile: what is run in an execute wrapper, or by a thread that shares
    the connection, makes one of its own. One that has failed is not given back."""
    circumstances, cursor = vars(connection).pop(CURSOR, (None, None))
    is_kept = circumstances == _get_circumstances(connection)
    if not is_kept or connection.queries_logged or not connection.in_atomic_block:
        return _open(connection)
    return cursor


def _open(connection: BaseDatabaseWrapper) -> Any:
    cursor = connection.cursor()
    driver: Any = cursor.cursor
    if type(driver).__module__ == _SQLITE:
        driver.convert_query = partial(_convert, type(driver))  # type: ignore[arg-type]
    return cursor


def _give_back(connection: BaseDatabaseWrapper, cursor: Any) -> None:
    if connection.queries_logged:
        cursor.close()
    else:
        vars(connection)[CURSOR] = _get_circumstances(connection), cursor


@lru_cache(maxsize=64)
def _convert(cursor: Any, query: str, *, param_names: Any = None) -> str:
    """``query`` with the placeholders of SQLite: Django looks at each of its characters."""
    converted: str = cursor.convert_query(None, query, param_names=param_names)
    return converted


def _get_circumstances(connection: BaseDatabaseWrapper) -> tuple[Any, ...]:
    """A cursor that is made in others may be another, or be refused: of another connection, by
    what somebody has put in the place of ``cursor()``, in another thread or time zone."""
    return connection.connection, connection.cursor, get_ident(), connection.timezone


def _are_long(parameters: Sequence[Any]) -> bool:
    return len(parameters) > _LONG or any(
        value.__class__ is str and len(value) > _LONG for value in parameters
    )
