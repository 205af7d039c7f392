"""What may fail without harm to the transaction, and mostly asks no database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper


class DatabaseNeeded(Exception):  # noqa: N818
    """What is tried asks the database, which may not be there yet."""


def spare(
    connection: BaseDatabaseWrapper, function: Callable[[Any], Any], argument: Any
) -> tuple[Any, Exception | None]:
    """What ``function(argument)`` returns and None, or None and what it raises.

    In a transaction its first query makes a savepoint, to which the database goes back if a query
    fails, whoever catches the error. What runs no query costs none.
    """
    if connection.autocommit or connection.needs_rollback:
        try:
            return function(argument), None
        except Exception as error:
            return None, error
    guard = Guard(connection)
    wrappers = connection.execute_wrappers
    wrappers.append(guard)
    try:
        return function(argument), None
    except Exception as error:
        return None, error
    finally:
        wrappers.remove(guard)
        if guard.sid is not None:
            guard.leave()


class Guard:
    """A wrapper of queries."""

    sid: str | None = None
    failed = False

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection

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
        assert sid is not None
        if self.failed or connection.needs_rollback:
            # Set by a block of Django's that was left with the error.
            connection.needs_rollback = False
            connection.savepoint_rollback(sid)
        connection.savepoint_commit(sid)


@contextmanager
def without_database() -> Iterator[None]:
    """Whoever asks a database in this thread gets DatabaseNeeded; nothing is connected."""

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise DatabaseNeeded

    with ExitStack() as stack:
        for connection in connections.all():
            for name in ("cursor", "chunked_cursor", "ensure_connection"):
                stack.enter_context(_replaced(connection, name, refuse))
        yield


@contextmanager
def _replaced(thing: Any, name: str, value: Any) -> Iterator[None]:
    known, before = name in vars(thing), vars(thing).get(name)
    setattr(thing, name, value)
    try:
        yield
    finally:
        if known:
            setattr(thing, name, before)
        else:
            delattr(thing, name)
