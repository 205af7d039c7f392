"""The unit of work: one covered write, or one ``with batch():`` block.

When the outermost one ends, what is to be done before the commit is done. What is to be done after
it waits in the connection's journal for the commit of the transaction.
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable, Hashable, Iterable
from contextvars import Token
from types import TracebackType
from typing import Any, Literal, TypeAlias

from django.db import DEFAULT_DB_ALIAS, InterfaceError, connections, transaction
from django.db.models import Model
from django.utils import timezone

from django_signal_kit.units.flushing import flush_before_commit, relieve
from django_signal_kit.units.ids import make_id
from django_signal_kit.units.journal import (
    CHUNK,
    Journal,
    get_journal,
    is_doomed,
    is_in_testcase,
    is_in_transaction,
    is_lost,
)
from django_signal_kit.units.locking import begin
from django_signal_kit.units.opened import open_journal
from django_signal_kit.units.pile import Flusher

FlushOn: TypeAlias = Literal["after_commit", "before_commit", "task"]

_IF_UNDONE = "if undone"


def get_unit() -> UnitOfWork | None:
    """The innermost unit of work that is open here."""
    journal = open_journal.get()
    return None if journal is None else journal.unit


def collect(
    receiver: Flusher, item: Any, key: Hashable, flush_on: FlushOn, using: str | None
) -> Any:
    journal = find_journal(using)
    before = flush_on == "before_commit"
    if journal.unit is None:
        # A signal that no covered write sent, such as user_logged_in: a unit of its own.
        with UnitOfWork(journal.connection.alias, atomic=False):
            return journal.collect(receiver, key, item, before=before)
    found = journal.collect(receiver, key, item, before=before)
    if len(journal.before.items) >= CHUNK:
        relieve(journal)
    return found


def collect_all(
    receiver: Flusher, items: Iterable[Any], flush_on: FlushOn, using: str | None
) -> None:
    """:func:`collect` for each of ``items``, of the write in progress and not for a task."""
    journal = find_journal(using)
    before = flush_on == "before_commit"
    for item in items:
        journal.collect(receiver, None, item, before=before)
        if len(journal.before.items) >= CHUNK:
            relieve(journal)


def find_journal(using: str | None) -> Journal:
    """That of ``using``, or by default of the write in progress, else of the default database."""
    # Through the context variable an async receiver, which runs in another thread, finds the
    # unit that called it.
    journal = open_journal.get()
    if (
        journal is None
        or journal.unit is None
        or (using is not None and using != journal.connection.alias)
    ):
        journal = get_journal(connections[using or DEFAULT_DB_ALIAS])
    return journal


def collect_if_undone(receiver: Flusher, item: Any, using: str) -> bool:
    """Collect ``item``, for a flush after it all, if what is going on is undone: its transaction
    or savepoint rolled back, or a write in autocommit that fails. Returns whether anything is
    going on."""
    connection = connections[using]
    journal = get_journal(connection)
    if journal.unit is None:
        journal.start_unit()
    if is_in_transaction(connection):
        # The one round a TestCase is rolled back whatever has been done.
        if not is_in_testcase(connection) or len(connection.atomic_blocks) > 1:
            journal.collect_if_undone(receiver, item)
        return True
    if journal.unit is None:
        return False
    journal.unit.notes.setdefault(_IF_UNDONE, []).append((receiver, item))
    return True


class UnitOfWork:
    """One covered write, or one ``batch()``.

    With ``atomic`` a transaction is opened if the user has none (the one of a ``TestCase`` is not
    the user's). ``done`` tells whether the write's own SQL has ended.
    """

    __slots__ = (
        "_id",
        "_own",
        "_root",
        "_token",
        "at",
        "atomic",
        "began",
        "commits",
        "depth",
        "done",
        "instance",
        "is_block",
        "journal",
        "mark",
        "notes",
        "order",
        "parent",
        "reads_late",
        "undo",
        "using",
    )

    _own: transaction.Atomic | None

    def __init__(
        self,
        using: str,
        *,
        atomic: bool,
        undo: Callable[[], None] | None = None,
        is_block: bool = False,
    ) -> None:
        self.using = using
        self.atomic = atomic
        self.undo = undo
        #: A ``batch()``, between whose writes nothing is half done.
        self.is_block = is_block
        #: What is saved, if the write is a save.
        self.instance: Any = None
        self.done = False
        #: When the write's latest statement was run, and its place among those of the connection.
        self.at: datetime.datetime | None = None
        self.order: int | None = None
        #: Is what a row was before the write read when its statement comes?
        self.reads_late = False
        self.notes: dict[Hashable, Any] = {}
        self._id: uuid.UUID | None = None

    @property
    def root(self) -> UnitOfWork:
        """The outermost unit."""
        # Not an attribute of the outermost itself: the cycle would keep what it saved.
        return self if self._root is None else self._root

    @property
    def id(self) -> uuid.UUID:
        """The id of the outermost unit; grows with time, so that an index of it stays small."""
        root = self.root
        if root._id is None:
            root._id = make_id()
        return root._id

    @property
    def shared_id(self) -> uuid.UUID:
        """The id of all units in one transaction of the user's, which are kept or undone as one;
        else that of the outermost unit."""
        root = self.root
        is_whole = root._own is not None and not root.journal.is_manual
        return root.id if is_whole else root.journal.get_id(root)

    def note_statement(self, tables: Iterable[type[Model]]) -> None:
        """A statement of the write has been run, and wrote these tables. What is collected of it
        from now on has its place in the order of the statements."""
        self.order = self.journal.statements.note(tables)
        self.at = timezone.now()

    def open_transaction(self) -> bool:
        """Open one for the write in progress, whose SQL has not begun, if there is none: what is
        read and locked from now on stays so until it is written. Returns whether it did."""
        if self.done or self._own is not None or is_in_transaction(self.journal.connection):
            return False
        own = self._own = transaction.atomic(self.using)
        begin(own, self.journal.connection)
        self.commits = self.journal.commits
        return True

    def note_write(self) -> None:
        """The SQL of a write has been run without an error."""
        self.done = True
        self.journal.writes += 1

    @property
    def has_written(self) -> bool:
        """Has a write been done in this unit, and not been rolled back with a savepoint?"""
        return self.journal.writes > self.mark[2]

    def __enter__(self) -> UnitOfWork:
        connection = connections[self.using]
        self.journal = journal = get_journal(connection)
        self.parent = parent = journal.unit
        if parent is None:
            self._root: UnitOfWork | None = None
            self.depth = 1
            journal.start_unit()
        else:
            self._root = parent.root
            self.depth = parent.depth + 1
        self._own = None
        if self.atomic:
            blocks = connection.atomic_blocks
            if not connection.in_atomic_block or (
                blocks and blocks[-1]._from_testcase  # type: ignore[attr-defined]
            ):
                self._own = transaction.atomic(self.using)
                begin(self._own, connection)
        self.commits = journal.commits
        #: Its beginning, as a place in the order of the statements.
        self.began = journal.statements.count
        self.mark = journal.mark()
        journal.unit = self
        self._token: Token[Journal | None] = open_journal.set(journal)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if exc is None:
                self._succeed()
            else:
                self._fail(exc)
        finally:
            if self.parent is None:
                self.journal.end_unit(self.mark)

    def _succeed(self) -> None:
        try:
            self._flush()
        except BaseException as error:
            self._fail(error)
            raise
        self._leave()
        self._end_own(None)
        if self._own is None and len(self.journal.before.items) >= CHUNK:
            relieve(self.journal)

    def _flush(self) -> None:
        """Flush what goes into the transaction, at the end of the outermost unit or of our own
        transaction; of one that is to be rolled back nothing goes anywhere."""
        journal, connection = self.journal, self.journal.connection
        own = self._own
        if own is not None and is_lost(connection):
            raise InterfaceError(
                "The connection was closed within the transaction that a covered write or batch() "
                "had opened, so that nothing of it is kept."
            )
        if is_doomed(connection):
            if not self.is_block and (own is not None or journal.before.items):
                # Nobody has asked for it, as one does who says set_rollback() in a block.
                connection.validate_no_broken_transaction()
        elif journal.before.items and (self.parent is None or own is not None):
            start = 0 if self.parent is None else self.mark[0]
            flush_before_commit(journal, start, is_last=self._commits())

    def _commits(self) -> bool:
        """Does leaving this unit commit?"""
        connection = self.journal.connection
        return (
            self._own is not None
            and len(connection.atomic_blocks) == 1
            and connection.commit_on_exit
        )

    def _leave(self) -> None:
        self.journal.unit = self.parent
        open_journal.reset(self._token)

    def _end_own(self, exc: BaseException | None) -> None:
        """End our own transaction or savepoint; if it is rolled back, so is the instance."""
        if self._own is None:
            return
        journal, connection = self.journal, self.journal.connection
        is_savepoint = bool(connection.savepoint_ids)
        is_kept = is_savepoint and exc is None and not connection.needs_rollback
        try:
            if exc is None:
                self._own.__exit__(None, None, None)
            else:
                self._own.__exit__(type(exc), exc, exc.__traceback__)
        except BaseException:
            is_kept = False
            raise
        finally:
            # If it has been committed, the exception is one of a commit hook.
            if not is_kept and journal.commits == self.commits and self.undo is not None:
                self.undo()

    def _fail(self, exc: BaseException) -> None:
        journal, connection = self.journal, self.journal.connection
        if self._own is not None:
            self._leave()
            self._end_own(exc)
            return
        # In autocommit what is done is committed already, and so is what follows from it. In a
        # user's transaction a row may not stay without its entry, even if he swallows the error;
        # before the write's SQL started his transaction is left usable.
        if self.atomic and self.has_written and is_in_transaction(connection):
            connection.needs_rollback = True
        if not self.done:
            journal.drop(self.mark, self.depth)
            if self.undo is not None:
                self.undo()
            for receiver, item in self.notes.get(_IF_UNDONE, ()):
                journal.collect(receiver, None, item, before=False)
        try:
            if self.parent is None and not is_doomed(connection):
                flush_before_commit(journal, 0, is_last=False)
        except Exception as error:
            exc.add_note(f"A flush before the commit failed as well: {error!r}")
        finally:
            self._leave()
