"""Where a connection begins, commits and rolls back: there the journal is told of it.

Whether something is committed is known here and nowhere else. An exception out of ``atomic()`` may
be one of a commit hook, and a commit may have been said by the user, with autocommit off.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_signal_kit.units.flushing import flush_for_commit, relieve
from django_signal_kit.units.journal import Journal, flush_due, get_journal, is_doomed
from django_signal_kit.units.unit import UnitOfWork

#: Where a connection keeps a cursor for the kit's own statements, for as long as it is open.
CURSOR = "_signal_kit_cursor"


def forget_journals() -> None:
    """Of this thread: nobody has told them what happened since Django's methods were its own."""
    for connection in connections.all(initialized_only=True):
        journal = _find_journal(connection)
        if journal is not None and journal.unit is None:
            del connection.__dict__["_signal_kit_journal"]


def _find_journal(connection: BaseDatabaseWrapper) -> Journal | None:
    return connection.__dict__.get("_signal_kit_journal")


def wrap_set_autocommit(original: Callable[..., None]) -> Callable[..., None]:
    @wraps(original)
    def set_autocommit(
        self: BaseDatabaseWrapper,
        autocommit: bool,
        force_begin_transaction_with_broken_autocommit: bool = False,
    ) -> None:
        journal = _find_journal(self)
        if journal is None:
            return original(self, autocommit, force_begin_transaction_with_broken_autocommit)
        is_open = journal.is_open and not self.autocommit
        if autocommit and is_open and journal.has_for_commit:
            flush_for_commit(journal)
        try:
            original(self, autocommit, force_begin_transaction_with_broken_autocommit)
        finally:
            if self.autocommit and journal.is_open:
                # Whatever was open has been committed by that.
                journal.is_manual = False
                journal.settle()
            if self.autocommit and journal.due:
                # Of a transaction that was rolled back, too.
                flush_due(journal)
        if not autocommit and not is_open:
            # Only atomic() forces a transaction to begin.
            journal.begin(is_manual=not force_begin_transaction_with_broken_autocommit)

    return set_autocommit


def wrap_commit(original: Callable[..., None]) -> Callable[..., None]:
    @wraps(original)
    def commit(self: BaseDatabaseWrapper) -> None:
        journal = _find_journal(self)
        if journal is None or not journal.is_open:
            return original(self)
        if journal.has_for_commit and not self.in_atomic_block:
            _flush_or_roll_back(self, journal)
        try:
            original(self)
        except Error:
            if not self.in_atomic_block and not _is_still_open(self):
                journal.lose()
            raise
        journal.settle()
        if journal.is_manual and journal.due:
            _flush_in_autocommit(self, journal)

    return commit


def _flush_or_roll_back(connection: BaseDatabaseWrapper, journal: Journal) -> None:
    try:
        flush_for_commit(journal)
    except BaseException:
        # Django rolls back by itself only if it is an error of the database.
        connection.rollback()
        raise


def _is_still_open(connection: BaseDatabaseWrapper) -> bool:
    """SQLite leaves a transaction open that it could not commit; servers roll it back."""
    return connection.vendor == "sqlite" and connection.connection.in_transaction


def _flush_in_autocommit(connection: BaseDatabaseWrapper, journal: Journal) -> None:
    """What is flushed after the commit finds the connection as it does elsewhere. The user's own
    commit hooks wait, as Django has it, until he turns autocommit on."""
    hooks, connection.run_on_commit = connection.run_on_commit, []
    try:
        connection.set_autocommit(True)
    finally:
        if connection.connection is not None:
            connection.set_autocommit(False)
        connection.run_on_commit = hooks
        connection.run_commit_hooks_on_set_autocommit_on = True


def wrap_run_and_clear_commit_hooks(original: Callable[..., None]) -> Callable[..., None]:
    @wraps(original)
    def run_and_clear_commit_hooks(self: BaseDatabaseWrapper) -> None:
        journal = _find_journal(self)
        if journal is None or not journal.due:
            return original(self)
        # A hook that raises keeps Django from those after it: what is due comes first. If that
        # writes, its commit must not run the hooks, nor its rollback forget them.
        hooks, self.run_on_commit = self.run_on_commit, []
        try:
            flush_due(journal)
        finally:
            self.run_on_commit = hooks
            original(self)

    return run_and_clear_commit_hooks


def wrap_rollback(original: Callable[..., None]) -> Callable[..., None]:
    @wraps(original)
    def rollback(self: BaseDatabaseWrapper) -> None:
        journal = _find_journal(self)
        if journal is None or not journal.is_open or self.in_atomic_block:
            return original(self)
        try:
            original(self)
        finally:
            journal.lose()
        if journal.is_manual and journal.due:
            _flush_in_autocommit(self, journal)

    return rollback


def wrap_close(original: Callable[..., None]) -> Callable[..., None]:
    @wraps(original)
    def close(self: BaseDatabaseWrapper) -> None:
        try:
            original(self)
        finally:
            vars(self).pop(CURSOR, None)
            journal = _find_journal(self)
            is_closed = self.connection is None or self.closed_in_transaction
            if journal is not None and journal.is_open and is_closed:
                # The database rolls back by itself.
                journal.is_manual = False
                journal.lose()

    return close


def wrap_savepoint(original: Callable[..., str | None]) -> Callable[..., str | None]:
    @wraps(original)
    def savepoint(self: BaseDatabaseWrapper) -> str | None:
        journal = get_journal(self)
        relieve(journal)
        sid = original(self)
        if sid is not None:
            journal.note_savepoint(sid)
        return sid

    return savepoint


def wrap_savepoint_commit(original: Callable[..., None]) -> Callable[..., None]:
    @wraps(original)
    def savepoint_commit(self: BaseDatabaseWrapper, sid: str) -> None:
        journal = _find_journal(self)
        if journal is None or not self._savepoint_allowed():  # type: ignore[attr-defined]
            return original(self, sid)
        original(self, sid)
        if self.vendor == "sqlite" and not self.connection.in_transaction:
            # With autocommit off, the outermost savepoint of a user's own is the transaction.
            journal.settle()
        else:
            journal.release(sid)

    return savepoint_commit


def wrap_savepoint_rollback(original: Callable[..., None]) -> Callable[..., None]:
    @wraps(original)
    def savepoint_rollback(self: BaseDatabaseWrapper, sid: str) -> None:
        journal = _find_journal(self)
        if journal is None or not self._savepoint_allowed():  # type: ignore[attr-defined]
            return original(self, sid)
        original(self, sid)
        journal.roll_back(sid)
        flush_left_over(journal)

    return savepoint_rollback


def wrap_set_rollback(original: Callable[..., None]) -> Callable[..., None]:
    @wraps(original)
    def set_rollback(self: BaseDatabaseWrapper, rollback: bool) -> None:
        original(self, rollback)
        journal = _find_journal(self)
        if journal is not None and not rollback:
            flush_left_over(journal)

    return set_rollback


#: What is wrapped of a connection's class.
WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "savepoint": wrap_savepoint,
    "savepoint_commit": wrap_savepoint_commit,
    "savepoint_rollback": wrap_savepoint_rollback,
    "commit": wrap_commit,
    "rollback": wrap_rollback,
    "close": wrap_close,
    "set_autocommit": wrap_set_autocommit,
    "set_rollback": wrap_set_rollback,
    "run_and_clear_commit_hooks": wrap_run_and_clear_commit_hooks,
}


def flush_left_over(journal: Journal) -> None:
    """Flush what a unit left because its transaction was to be rolled back, and is not, or what a
    rolled back savepoint has given back."""
    if journal.unit is None and journal.before.items and not is_doomed(journal.connection):
        with UnitOfWork(journal.connection.alias, atomic=False):
            pass
