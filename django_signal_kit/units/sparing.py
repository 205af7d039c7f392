"""What may fail without harm to the transaction, and mostly asks no database."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper


class Sparing:
    """Round what may raise anything. An exception goes no further and is kept as ``error``.

    Its first query makes a savepoint, in a transaction: to that the database goes back if a query
    fails, whoever catches the error. What runs no query costs none.
    """

    __slots__ = ("error", "guards")

    def __init__(self, using: str) -> None:
        aliases = (using,) if len(connections.settings) == 1 else connections.settings
        self.guards = [
            Guard(connection)
            for connection in map(connections.__getitem__, aliases)
            if _is_in_transaction(connection) and not connection.needs_rollback
        ]
        self.error: Exception | None = None

    def __enter__(self) -> Sparing:
        for guard in self.guards:
            guard.connection.execute_wrappers.append(guard)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        for guard in self.guards:
            guard.connection.execute_wrappers.remove(guard)
            if guard.sid is not None:
                guard.leave()
        if not isinstance(exc, Exception):
            return False
        self.error = exc
        return True


def _is_in_transaction(connection: BaseDatabaseWrapper) -> bool:
    # Under set_autocommit(False) there is one without an atomic block.
    return connection.connection is not None and not connection.autocommit


class Guard:
    """A wrapper of the queries of one connection."""

    __slots__ = ("connection", "failed", "sid")

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self.sid: str | None = None
        self.failed = False

    def __call__(
        self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any
    ) -> Any:
        if self.sid is None:
            wrappers = self.connection.execute_wrappers
            # The savepoint is a query itself.
            place = wrappers.index(self)
            del wrappers[place]
            try:
                self.sid = self.connection.savepoint()
            finally:
                wrappers.insert(place, self)
        try:
            return execute(sql, params, many, context)
        except Exception:
            self.failed = True
            raise

    def leave(self) -> None:
        """Go back to the savepoint if a query failed, and drop it."""
        connection, sid = self.connection, self.sid
        if not (self.failed or connection.needs_rollback):
            connection.savepoint_commit(sid)  # type: ignore[arg-type]
            return
        # Set by a block of Django's that was left with the error.
        connection.needs_rollback = False
        connection.savepoint_rollback(sid)  # type: ignore[arg-type]
        connection.savepoint_commit(sid)  # type: ignore[arg-type]
