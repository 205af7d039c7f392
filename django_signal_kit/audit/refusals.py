"""What is done as a whole, or refused with a sentence, whoever refuses it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from django.core.exceptions import ValidationError
from django.db import DatabaseError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_signal_kit.rows.values import say
from django_signal_kit.units.batch import batch


class RevertError(ValueError):
    """What an entry tells cannot be taken back: ``reason`` is a sentence that says why."""

    def __init__(self, reason: str, by_force: str = "") -> None:
        """``by_force``: what ``force=True`` would do all the same, if anything."""
        super().__init__(f"{reason} force=True {by_force}." if by_force else reason)
        self.reason = reason
        self.by_force = by_force


@contextmanager
def refusing(entry: Any) -> Iterator[None]:
    """Whatever goes wrong is a RevertError."""
    try:
        yield
    except RevertError:
        raise
    except Exception as error:
        raise _make_refusal(entry, error) from error


@contextmanager
def as_a_whole(entry: Any, tables: Collection[str]) -> Iterator[None]:
    """One unit of work in the database of ``entry``. What goes wrong is a RevertError, and leaves
    nothing behind; a transaction of the user stays usable, and can still be committed.

    ``tables`` may point to what is deleted, and Django leaves them alone.
    """
    connection = connections[entry.using]
    if connection.in_atomic_block:
        with refusing(entry), transaction.atomic(entry.using):
            was_broken = _find_broken(connection, tables)
            with batch(entry.using):
                yield
            # The user's commit would say so, and take along what else he has done.
            broken = None if was_broken else _find_broken(connection, tables)
            if broken is not None:
                raise broken
        return
    committed = []
    try:
        with batch(entry.using):
            # The first of those that are called after the commit, any of which may fail.
            transaction.on_commit(lambda: committed.append(True), entry.using)
            yield
    except RevertError:
        raise
    except Exception as error:
        if committed:
            raise
        raise _make_refusal(entry, error) from error


def _make_refusal(entry: Any, error: Exception) -> RevertError:
    if isinstance(error, ValidationError):
        why = " ".join(map(say, error.messages))
    else:
        why = say(error) or type(error).__name__
    if isinstance(error, DatabaseError):
        why = f"the database refused it: {why}"
    return RevertError(f"Entry {entry.pk} cannot be reverted: {why}")


def _find_broken(connection: BaseDatabaseWrapper, tables: Collection[str]) -> DatabaseError | None:
    """What a commit would fail with, of the constraints that are looked at then only."""
    if not connection.features.can_defer_constraint_checks:
        return None
    try:
        with transaction.atomic(connection.alias):
            # PostgreSQL looks at all that is deferred, and at no table twice.
            connection.check_constraints(table_names=tables)
            # From now on they would be looked at at once.
            transaction.set_rollback(True, connection.alias)
    except DatabaseError as error:
        return error
    return None
