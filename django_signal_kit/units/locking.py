"""SQLite: a transaction that is going to write says so at once.

One that reads before it writes fails at once with "database is locked" if another connection wrote
in between, however long its time-out is; one that asks for the lock first waits its turn.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import debug_transaction
from django.db.models import Model
from django.db.transaction import Atomic

from django_signal_kit.units.journal import get_journal


def begin(atomic: Atomic, connection: BaseDatabaseWrapper) -> None:
    """Enter ``atomic``; on SQLite with BEGIN IMMEDIATE, unless ``transaction_mode`` is set."""
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        atomic.__enter__()
        return
    if not connection.get_autocommit():
        # The savepoint would be the transaction, and be committed when it is released.
        if not connection.connection.in_transaction:
            _begin_immediate(connection)
        atomic.__enter__()
        return
    if getattr(connection, "transaction_mode", None) is not None:
        atomic.__enter__()
        return
    connection._start_transaction_under_autocommit = partial(_begin_immediate, connection)  # type: ignore[attr-defined]
    try:
        atomic.__enter__()
    finally:
        del connection._start_transaction_under_autocommit  # type: ignore[attr-defined]
    get_journal(connection).is_locked = True


def _begin_immediate(connection: BaseDatabaseWrapper) -> None:
    # As Django commits: not through a cursor, which costs three times as much.
    sql = f"BEGIN {getattr(connection, 'transaction_mode', None) or 'IMMEDIATE'}"
    logged = debug_transaction(connection, sql) if connection.queries_logged else nullcontext()
    with logged, connection.wrap_database_errors:
        connection.connection.execute(sql)


def lock_before_reading(connection: BaseDatabaseWrapper, model: type[Model]) -> None:
    """In a user's own transaction, take the lock by a write that changes nothing, once."""
    if connection.vendor != "sqlite" or not connection.in_atomic_block:
        return
    journal = get_journal(connection)
    if journal.is_locked:
        return
    quote = connection.ops.quote_name
    meta = model._meta.concrete_model._meta  # type: ignore[union-attr]
    column = quote(meta.local_concrete_fields[0].column)  # type: ignore[arg-type]
    table = quote(meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET {column} = {column} WHERE 0")
    journal.is_locked = True
