"""What the receivers of one database connection have collected and not flushed yet.

What is to be flushed before the commit waits for the end of the unit of work; what is to be
flushed after it, for the commit of the whole transaction, whoever opened it. A savepoint that is
rolled back, by ``atomic()`` or by hand, takes back what was collected since it was made.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, Protocol, TypeAlias

from asgiref.sync import async_to_sync
from django.db.backends.base.base import BaseDatabaseWrapper

from django_signal_kit.units.failures import report_failure

#: Ends of the two piles, how many writes have been done, and how many instances have moved on.
Mark: TypeAlias = tuple[int, int, int, int]

MISSING = object()

#: The most items that wait for a flush or go into one, where it can be helped.
CHUNK = 2000


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
        "is_last",
        "is_unit_hooked",
        "locked",
        "marks",
        "moved",
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
        #: Does the COMMIT of the unit's own transaction follow the flush that is going on?
        self.is_last = False
        self.writes = 0
        self.marks: dict[str, Mark] = {}
        self.hooks: list[Any] | None = None
        #: The commit hooks of the transaction that holds SQLite's write lock.
        self.locked: list[Any] | None = None
        #: Instances saved in the open transaction, and what had been loaded into them.
        self.moved: list[tuple[Callable[[], Any], Any]] = []

    def mark(self) -> Mark:
        return self.before.end, self.after.end, self.writes, len(self.moved)

    def cut(self, mark: Mark) -> None:
        """What was written and collected since ``mark`` is undone."""
        self.before.cut(mark[0])
        self.after.cut(mark[1])
        self.writes = min(self.writes, mark[2])
        self.move_back(mark[3])

    def get_open_end(self) -> int:
        """Where what was collected since the innermost open savepoint begins."""
        return max((mark[0] for mark in self.marks.values()), default=0)

    def move_back(self, mark: int = 0) -> None:
        """Instances saved since ``mark`` hold again what had been loaded into them."""
        while len(self.moved) > mark:
            get_instance, loaded = self.moved.pop()
            instance = get_instance()
            if instance is not None:
                instance._state.signal_kit_loaded = loaded

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
        for some in split(items):
            try:
                call_flush(receiver, some)
            except Exception as error:
                report_failure(receiver, "flush", error)


def split(items: list[Any]) -> Iterator[list[Any]]:
    """Parts of at most 2,000 items, so that no flush needs memory without end."""
    return (items[start : start + CHUNK] for start in range(0, len(items), CHUNK))


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
    piles = (journal.before.items, journal.after.items, journal.moved)
    if journal.unit is not None or any(piles):
        journal.marks[sid] = journal.mark()
    else:
        # Whatever is collected from now on came after each savepoint that is still open.
        journal.marks.clear()


def forget_since(connection: BaseDatabaseWrapper, sid: str | None) -> None:
    """The savepoint ``sid`` was rolled back, and with it what has been collected since."""
    journal = connection.__dict__.get("_signal_kit_journal")
    if journal is not None and sid is not None:
        journal.cut(journal.marks.get(sid, (0, 0, 0, 0)))


def release(connection: BaseDatabaseWrapper, sid: str | None) -> None:
    """The savepoint ``sid`` is there no more."""
    journal = connection.__dict__.get("_signal_kit_journal")
    if journal is not None and sid is not None:
        journal.marks.pop(sid, None)


def end_transaction(connection: BaseDatabaseWrapper, *, is_committed: bool) -> None:
    """The transaction has been committed or rolled back as a whole."""
    journal = connection.__dict__.get("_signal_kit_journal")
    if journal is None:
        return
    journal.marks.clear()
    if journal.moved:
        if not is_committed:
            journal.move_back()
        journal.moved.clear()


def is_in_testcase(connection: BaseDatabaseWrapper) -> bool:
    blocks = connection.atomic_blocks
    return bool(blocks) and blocks[0]._from_testcase  # type: ignore[attr-defined]
