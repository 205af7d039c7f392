"""The unit of work: what receivers collect, and when it is flushed.

Each database connection has a :class:`Journal` of what has been collected and not flushed yet. A
:class:`UnitOfWork` is one covered write or one ``with batch():`` block. When the outermost one ends,
what is to be done before the commit is done; what is to be done after it waits in the journal for
the commit of the whole transaction, whoever opened it.
"""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import Callable, Hashable
from contextlib import ContextDecorator
from contextvars import ContextVar, Token
from functools import partial
from inspect import iscoroutinefunction
from types import TracebackType
from typing import Any, Literal, Protocol, TypeAlias

from asgiref.sync import async_to_sync
from django.core.exceptions import SynchronousOnlyOperation
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_signal_kit.failures import report_failure

FlushOn: TypeAlias = Literal["after_commit", "before_commit", "task"]
Mark: TypeAlias = tuple[int, int]

_MISSING = object()
_MAX_ROUNDS = 100


class Flusher(Protocol):
    """What the journal knows of a receiver."""

    @property
    def name(self) -> str: ...

    @property
    def on_error(self) -> str: ...

    def flush(self, items: list[Any]) -> Any: ...


class Pile:
    """Collected items in the order in which they came.

    Positions count from the first item ever, so that a mark made before a flush still means the
    same place after it.
    """

    __slots__ = ("first", "items", "seen")

    def __init__(self) -> None:
        self.first = 0
        self.items: list[tuple[Flusher, Hashable, Any]] = []
        self.seen: dict[tuple[Flusher, Hashable], Any] = {}

    @property
    def end(self) -> int:
        return self.first + len(self.items)

    def add(self, receiver: Flusher, key: Hashable, item: Any) -> None:
        self.items.append((receiver, key, item))
        if key is not None:
            self.seen[receiver, key] = item

    def find(self, receiver: Flusher, key: Hashable) -> Any:
        return self.seen.get((receiver, key), _MISSING)

    def cut(self, mark: int) -> None:
        """Forget what came after ``mark``."""
        if mark < self.end:
            del self.items[max(0, mark - self.first) :]
            self._index()

    def take(self, mark: int = 0) -> dict[Flusher, list[Any]]:
        """Remove what came after ``mark`` and return it, receiver by receiver."""
        start = max(0, mark - self.first)
        taken, self.items = self.items[start:], self.items[:start]
        if not self.items:
            self.first += start + len(taken)
        self._index()
        grouped: dict[Flusher, list[Any]] = {}
        for receiver, _, item in taken:
            grouped.setdefault(receiver, []).append(item)
        return grouped

    def _index(self) -> None:
        self.seen = {
            (receiver, key): item for receiver, key, item in self.items if key is not None
        }


class Journal:
    """What the receivers have collected on one connection and not flushed yet."""

    __slots__ = ("after", "before", "connection", "hooks", "marks", "unit")

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self.before = Pile()
        self.after = Pile()
        self.unit: UnitOfWork | None = None
        self.marks: dict[str, Mark] = {}
        self.hooks: list[Any] | None = None

    def mark(self) -> Mark:
        return self.before.end, self.after.end

    def cut(self, mark: Mark) -> None:
        self.before.cut(mark[0])
        self.after.cut(mark[1])

    def collect(self, receiver: Flusher, item: Any, key: Hashable, flush_on: FlushOn) -> Any:
        if self.unit is None:
            # A signal that no covered write sent, such as user_logged_in: a unit of its own.
            with UnitOfWork(self.connection.alias, atomic=False):
                return self.collect(receiver, item, key, flush_on)
        pile = self.before if flush_on == "before_commit" else self.after
        if key is not None and (found := pile.find(receiver, key)) is not _MISSING:
            return found
        pile.add(receiver, key, item)
        if pile is self.after and self.connection.in_atomic_block:
            self._await_commit(self.unit.root)
        return item

    def _await_commit(self, root: UnitOfWork) -> None:
        connection = self.connection
        if is_in_testcase(connection):
            # captureOnCommitCallbacks() sees only callbacks registered inside it.
            if not root.awaits_commit:
                root.awaits_commit = True
                hook = partial(flush_after_commit, self, self.after.end - 1)
                connection.on_commit(hook, robust=True)
        elif not self._is_hooked():
            connection.on_commit(partial(flush_after_commit, self), robust=True)
        self.hooks = connection.run_on_commit

    def _is_hooked(self) -> bool:
        # Django replaces its list of hooks at each commit and rollback, of savepoints too.
        hooks = self.connection.run_on_commit
        return self.hooks is hooks or any(
            isinstance(func, partial) and func.func is flush_after_commit for _, func, _ in hooks
        )

    def start_unit(self) -> None:
        """Forget what an earlier transaction collected and rolled back: nobody told us then."""
        if not self.after.items:
            return
        if not self._is_hooked():
            self.after.cut(0)
        elif is_in_testcase(self.connection):
            # What earlier units left there is never committed; nothing may hide behind it.
            self.after.seen.clear()

    def flush_before_commit(self) -> None:
        for _ in range(_MAX_ROUNDS):
            grouped = self.before.take()
            if not grouped:
                return
            for receiver, items in grouped.items():
                if receiver.on_error == "log":
                    with Isolation(receiver, "flush", self.connection):
                        call_flush(receiver, items)
                else:
                    call_flush(receiver, items)
        names = ", ".join(sorted(receiver.name for receiver in grouped))
        raise RuntimeError(
            f"flush() of {names} has collected new items {_MAX_ROUNDS} times in a row. A flush may "
            f"write what other receivers hear, but not what its own receiver collects each time."
        )


def flush_after_commit(journal: Journal, mark: int = 0) -> None:
    """Flush what was collected since ``mark``. No failure gets out of here."""
    for receiver, items in journal.after.take(mark).items():
        try:
            call_flush(receiver, items)
        except Exception as error:
            report_failure(receiver, "flush", error)


def call_flush(receiver: Flusher, items: list[Any]) -> None:
    if iscoroutinefunction(receiver.flush):
        async_to_sync(receiver.flush)(items)
    else:
        receiver.flush(items)


class Isolation:
    """A savepoint, where there is a transaction, round what may fail without harming anyone."""

    def __init__(
        self, receiver: Flusher, signal_name: str, connection: BaseDatabaseWrapper
    ) -> None:
        self.receiver = receiver
        self.signal_name = signal_name
        self.connection = connection

    def __enter__(self) -> None:
        self.atomic = None
        self.journal = get_journal(self.connection)
        self.mark = self.journal.mark()
        if self.connection.in_atomic_block and not self.connection.needs_rollback:
            self.atomic = transaction.atomic(self.connection.alias)
            self.atomic.__enter__()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if exc is not None:
            self.journal.cut(self.mark)
        if self.atomic is not None:
            self.atomic.__exit__(exc_type, exc, traceback)
        if not isinstance(exc, Exception):
            return False
        report_failure(self.receiver, self.signal_name, exc)
        return True


_open: ContextVar[Journal | None] = ContextVar("signal_kit_journal", default=None)


def get_journal(connection: BaseDatabaseWrapper) -> Journal:
    """The journal of a connection, made when first needed. It lives as long as the connection."""
    try:
        return connection.__dict__["_signal_kit_journal"]  # type: ignore[no-any-return]
    except KeyError:
        journal = connection.__dict__["_signal_kit_journal"] = Journal(connection)
        return journal


def get_unit() -> UnitOfWork | None:
    """The innermost unit of work that is open here."""
    journal = _open.get()
    return None if journal is None else journal.unit


def collect(
    receiver: Flusher, item: Any, key: Hashable, flush_on: FlushOn, using: str | None
) -> Any:
    # Through the context variable an async receiver, which runs in another thread, finds the
    # unit that called it.
    journal = _open.get()
    if (
        journal is None
        or journal.unit is None
        or (using is not None and using != journal.connection.alias)
    ):
        journal = get_journal(connections[using or DEFAULT_DB_ALIAS])
    return journal.collect(receiver, item, key, flush_on)


def is_in_testcase(connection: BaseDatabaseWrapper) -> bool:
    blocks = connection.atomic_blocks
    return bool(blocks) and blocks[0]._from_testcase


class UnitOfWork:
    """One covered write, or one ``batch()``.

    With ``atomic`` a transaction is opened if the user has none (the one of a ``TestCase`` is not
    the user's). ``started`` and ``done`` tell whether the write's own SQL has begun and ended.
    """

    __slots__ = (
        "_id",
        "_own",
        "_token",
        "atomic",
        "awaits_commit",
        "done",
        "journal",
        "mark",
        "notes",
        "parent",
        "root",
        "started",
        "using",
        "undo",
    )

    def __init__(
        self, using: str, *, atomic: bool, undo: Callable[[], None] | None = None
    ) -> None:
        self.using = using
        self.atomic = atomic
        self.undo = undo
        self.started = False
        self.done = False
        self.awaits_commit = False
        self.notes: dict[Hashable, Any] = {}
        self._id: uuid.UUID | None = None

    @property
    def id(self) -> uuid.UUID:
        """The id of the outermost unit; grows with time, so that an index of it stays small."""
        root = self.root
        if root._id is None:
            root._id = make_id()
        return root._id

    def __enter__(self) -> UnitOfWork:
        connection = connections[self.using]
        self.journal = journal = get_journal(connection)
        self._own: transaction.Atomic | None = None
        if self.atomic:
            blocks = connection.atomic_blocks
            if not connection.in_atomic_block or (blocks and blocks[-1]._from_testcase):
                self._own = transaction.atomic(self.using)
                begin(self._own, connection)
        self.parent = parent = journal.unit
        if parent is None:
            self.root: UnitOfWork = self
            journal.start_unit()
        else:
            self.root = parent.root
        self.mark = journal.mark()
        journal.unit = self
        self._token: Token[Journal | None] = _open.set(journal)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc is None:
            try:
                if self.parent is None or self._own is not None:
                    if self.journal.before.items:
                        self.journal.flush_before_commit()
            except BaseException as error:
                self._fail(error)
                raise
            self._leave()
            if self._own is not None:
                try:
                    self._own.__exit__(None, None, None)
                except BaseException:
                    # The commit failed, and with it everything that was to follow it.
                    self.journal.cut(self.mark)
                    if self.undo is not None:
                        self.undo()
                    raise
            self._act_if_committed()
        else:
            self._fail(exc)

    def _leave(self) -> None:
        self.journal.unit = self.parent
        _open.reset(self._token)
        if self.parent is not None and self.started:
            self.parent.started = True

    def _fail(self, exc: BaseException) -> None:
        journal, connection = self.journal, self.journal.connection
        if self._own is not None:
            self._leave()
            journal.cut(self.mark)
            self._own.__exit__(type(exc), exc, exc.__traceback__)
            if self.undo is not None:
                self.undo()
            return
        # In autocommit what is done is committed already, and so is what follows from it. In a
        # user's transaction a row may not stay without its entry, even if he swallows the error;
        # before the write's SQL started his transaction is left usable.
        is_torn = connection.in_atomic_block and self.atomic and self.started
        if is_torn:
            connection.needs_rollback = True
        if is_torn or not self.done:
            journal.cut(self.mark)
        if not self.done and self.undo is not None:
            self.undo()
        self._leave()
        if self.parent is None and journal.before.items:
            try:
                with UnitOfWork(self.using, atomic=False):
                    pass
            except Exception as error:
                exc.add_note(f"A flush before the commit failed as well: {error!r}")
        self._act_if_committed()

    def _act_if_committed(self) -> None:
        journal = self.journal
        if self.parent is None and journal.after.items and not journal.connection.in_atomic_block:
            flush_after_commit(journal)


def begin(atomic: transaction.Atomic, connection: BaseDatabaseWrapper) -> None:
    """Enter ``atomic``; on SQLite with BEGIN IMMEDIATE.

    A transaction there that reads before it writes fails at once with "database is locked" if
    another connection wrote in between; one that says at once that it will write waits its turn.
    """
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        atomic.__enter__()
        return
    connection.ensure_connection()
    if getattr(connection, "transaction_mode", None) is not None:
        atomic.__enter__()
        return
    connection._start_transaction_under_autocommit = lambda: connection.cursor().execute(  # type: ignore[attr-defined]
        "BEGIN IMMEDIATE"
    )
    try:
        atomic.__enter__()
    finally:
        del connection._start_transaction_under_autocommit  # type: ignore[attr-defined]


def make_id() -> uuid.UUID:
    """A UUID of version 7 (RFC 9562): milliseconds since 1970, then random bits."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 7 << 76
    return uuid.UUID(int=value & ~(0b11 << 62) | 0b10 << 62)


class batch(ContextDecorator):  # noqa: N801
    """Make many writes one unit of work: ``with batch():``, or as a decorator.

    Opens a transaction on the database ``using`` (default: ``"default"``) unless one is open, and
    flushes once when the outermost block ends: what goes before the commit in the same
    transaction, the rest after the commit. An exception rolls all of it back; inside a user's own
    ``atomic()`` it marks that transaction for rollback if something has been written.

    Synchronous, as ``atomic()`` is: under a running event loop it raises
    ``SynchronousOnlyOperation``. Call the whole function through ``sync_to_async``.
    """

    def __init__(self, using: str | Callable[..., Any] | None = None) -> None:
        if callable(using):
            raise TypeError("batch needs its brackets as a decorator: write @batch().")
        self.using = using or DEFAULT_DB_ALIAS
        self._units: list[UnitOfWork] = []

    def _recreate_cm(self) -> batch:
        return batch(self.using)

    def __enter__(self) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise SynchronousOnlyOperation(
                "batch() is synchronous, as atomic() is: tasks of one event loop share their "
                "connection. Move the block into a function and call it through sync_to_async()."
            )
        unit = UnitOfWork(self.using, atomic=True)
        unit.__enter__()
        self._units.append(unit)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._units.pop().__exit__(exc_type, exc, traceback)


def note_savepoint(connection: BaseDatabaseWrapper, sid: str | None) -> None:
    """Remember what had been collected when the savepoint ``sid`` was made."""
    journal = connection.__dict__.get("_signal_kit_journal")
    if journal is None or sid is None:
        return
    if journal.before.items or journal.after.items:
        journal.marks[sid] = journal.mark()
    else:
        # Whatever is collected from now on came after each savepoint that is still open.
        journal.marks.clear()


def forget_since(connection: BaseDatabaseWrapper, sid: str | None) -> None:
    """The savepoint ``sid`` was rolled back, and with it what has been collected since."""
    journal = connection.__dict__.get("_signal_kit_journal")
    if journal is not None and sid is not None:
        journal.cut(journal.marks.get(sid, (0, 0)))

