"""The kit's own statements, run by a cursor that each connection keeps open for them.

To make one, and to have SQLite's look for the placeholders, costs as much as the statement of one
row itself, and a covered save has two.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

_KEY = "_signal_kit_cursor"
# Where Django's cursor for it is from; it cannot be imported everywhere.
_SQLITE = "django.db.backends.sqlite3.base"


def execute(connection: BaseDatabaseWrapper, sql: str, parameters: Sequence[Any]) -> None:
    """Run a statement, in the open transaction, that gives no rows."""
    cursor = _take(connection)
    cursor.execute(sql, parameters)
    _give_back(connection, cursor)


def fetch(connection: BaseDatabaseWrapper, sql: str, parameters: Sequence[Any]) -> list[Any]:
    """All rows of a query."""
    cursor = _take(connection)
    cursor.execute(sql, parameters)
    # All of them: SQLite has not ended a statement of which one may come still.
    rows: list[Any] = cursor.fetchall()
    _give_back(connection, cursor)
    return rows


def _take(connection: BaseDatabaseWrapper) -> Any:
    """Nobody else has it meanwhile: what is run in an execute wrapper, or by a thread that shares
    the connection, makes one of its own. One that has failed is not given back."""
    raw, cursor = vars(connection).pop(_KEY, (None, None))
    is_kept = raw is not None and raw is connection.connection
    if not is_kept or connection.queries_logged or not connection.in_atomic_block:
        return connection.cursor()
    return cursor


def _give_back(connection: BaseDatabaseWrapper, cursor: Any) -> None:
    if connection.queries_logged:
        cursor.close()
        return
    driver: Any = cursor.cursor
    if type(driver).__module__ == _SQLITE:
        driver.convert_query = partial(_convert, type(driver))  # type: ignore[arg-type]
    vars(connection)[_KEY] = connection.connection, cursor


@lru_cache(maxsize=64)
def _convert(cursor: Any, query: str, *, param_names: Any = None) -> str:
    """``query`` with the placeholders of SQLite: Django looks at each of its characters."""
    converted: str = cursor.convert_query(None, query, param_names=param_names)
    return converted
