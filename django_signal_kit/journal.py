"""What the receivers of one database connection have collected and not flushed yet.

What is to be flushed before the commit waits for the end of the unit of work; what is to be
flushed after it, for the commit of the whole transaction, whoever opened it. A savepoint that is
rolled back, by ``atomic()`` or by hand, takes back what was collected since it was made.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, Protocol, TypeAlias

from asgiref.sync import async_to_sync
from django.db.backends.base.base import BaseDatabaseWrapper

from django_signal_kit.failures import report_failure

#: Ends of the two piles, and how many writes have been done.
Mark: TypeAlias = tuple[int, int, int]

MISSING = object()


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
        return self.seen.get((receiver, key), MISSING)

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

    __slots__ = (
        "after",
        "before",
        "connection",
        "hooks",
        "is_unit_hooked",
        "locked",
        "marks",
        "unit",
        "writes",
    )

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self.before = Pile()
        self.after = Pile()
        #: The innermost unit of work that is open, or None.
        self.unit: Any = None
        self.is_unit_hooked = False
        self.writes = 0
        self.marks: dict[str, Mark] = {}
        self.hooks: list[Any] | None = None
        #: The commit hooks of the transaction that holds SQLite's write lock.
        self.locked: list[Any] | None = None

    def mark(self) -> Mark:
        return self.before.end, self.after.end, self.writes

    def cut(self, mark: Mark) -> None:
        """What was written and collected since ``mark`` is undone."""
        self.before.cut(mark[0])
        self.after.cut(mark[1])
        self.writes = min(self.writes, mark[2])

    def collect(self, receiver: Flusher, key: Hashable, item: Any, *, before: bool) -> Any:
        """Add ``item``, or return the one that waits under the same ``key``."""
        pile = self.before if before else self.after
        if key is not None and (found := pile.find(receiver, key)) is not MISSING:
            return found
        pile.add(receiver, key, item)
        if not before and self.connection.in_atomic_block:
            self._await_commit()
        return item

    def _await_commit(self) -> None:
        connection = self.connection
        if is_in_testcase(connection):
            # captureOnCommitCallbacks() sees only callbacks registered inside it.
            if not self.is_unit_hooked:
                self.is_unit_hooked = True
                hook = partial(flush_after_commit, self, self.after.end - 1)
                connection.on_commit(hook, robust=True)
        elif not self._is_hooked():
            connection.on_commit(partial(flush_after_commit, self), robust=True)
        self.hooks = connection.run_on_commit

    def _is_hooked(self) -> bool:
        # Django replaces its list of hooks at each commit and rollback, of savepoints too.
        hooks: list[Any] = self.connection.run_on_commit
        return self.hooks is hooks or any(
            isinstance(func, partial) and func.func is flush_after_commit for _, func, _ in hooks
        )

    def start_unit(self) -> None:
        """Forget what an earlier transaction collected and rolled back: nobody told us then."""
        self.is_unit_hooked = False
        if not self.after.items:
            return
        if not self._is_hooked():
            self.after.cut(0)
        elif is_in_testcase(self.connection):
            # What earlier units left there is never committed; nothing may hide behind it.
            self.after.seen.clear()


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


def get_journal(connection: BaseDatabaseWrapper) -> Journal:
    """The journal of a connection, made when first needed. It lives as long as the connection."""
    try:
        return connection.__dict__["_signal_kit_journal"]  # type: ignore[no-any-return]
    except KeyError:
        journal = connection.__dict__["_signal_kit_journal"] = Journal(connection)
        return journal


def note_savepoint(connection: BaseDatabaseWrapper, sid: str | None) -> None:
    """Remember what had been collected when the savepoint ``sid`` was made."""
    journal = connection.__dict__.get("_signal_kit_journal")
    if journal is None or sid is None:
        return
    if journal.unit is not None or journal.before.items or journal.after.items:
        journal.marks[sid] = journal.mark()
    else:
        # Whatever is collected from now on came after each savepoint that is still open.
        journal.marks.clear()


def forget_since(connection: BaseDatabaseWrapper, sid: str | None) -> None:
    """The savepoint ``sid`` was rolled back, and with it what has been collected since."""
    journal = connection.__dict__.get("_signal_kit_journal")
    if journal is not None and sid is not None:
        journal.cut(journal.marks.get(sid, (0, 0, 0)))


def is_in_testcase(connection: BaseDatabaseWrapper) -> bool:
    blocks = connection.atomic_blocks
    return bool(blocks) and blocks[0]._from_testcase  # type: ignore[attr-defined]
