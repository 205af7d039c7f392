"""The kit's own statements, run by a cursor that each connection keeps open for them.

To make one costs as much as a statement of one row does on SQLite, and a covered save has two.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

_KEY = "_signal_kit_cursor"


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
    else:
        vars(connection)[_KEY] = connection.connection, cursor
