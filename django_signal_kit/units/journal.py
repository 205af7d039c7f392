"""What the receivers of one database connection have collected and not flushed yet.

What is to be flushed before the commit waits for the end of the unit of work; what is to be
flushed after it, for the commit of the whole transaction, whoever opened it. A savepoint that is
rolled back, by ``atomic()`` or by hand, takes back what was collected since it was made. The
journal is told of commits and rollbacks where they happen, by :mod:`.transactions`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Iterator
from functools import lru_cache, partial
from inspect import iscoroutinefunction
from typing import Any, TypeAlias

from asgiref.sync import async_to_sync
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from django_signal_kit.units.failures import report_failure
from django_signal_kit.units.ids import make_id
from django_signal_kit.units.pile import Collected, Flusher, Pile, is_for_commit
from django_signal_kit.units.statements import Statements
from django_signal_kit.units.undo import PLAIN, Undo, copy_item

#: Ends of the two piles, how many writes have been done, and the end of what can be undone.
Mark: TypeAlias = tuple[int, int, int, int]

_START: Mark = (0, 0, 0, 0)

_is_async = lru_cache(maxsize=256)(iscoroutinefunction)

#: The most items that wait for a flush or go into one, where it can be helped.
CHUNK = 2000


class Journal:
    """What the receivers have collected on one connection and not flushed yet."""

    __slots__ = (
        "after",
        "base",
        "before",
        "commits",
        "connection",
        "due",
        "has_for_commit",
        "is_last",
        "is_locked",
        "is_manual",
        "is_open",
        "marks",
        "shared",
        "statements",
        "undo",
        "unit",
        "writes",
    )

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self.before = Pile()
        self.after = Pile()
        #: What is committed, and is flushed as soon as the connection is in autocommit again.
        self.due: dict[Flusher, list[Any]] = {}
        #: The innermost unit of work that is open, or None.
        self.unit: Any = None
        #: Does the COMMIT of the unit's own transaction follow the flush that is going on?
        self.is_last = False
        self.writes = 0
        self.statements = Statements()
        #: How many transactions have been committed.
        self.commits = 0
        self.undo = Undo()
        self.is_locked = False
        #: May something wait that is to be flushed as the last of the transaction?
        self.has_for_commit = False
        self.marks: dict[str, Mark] = {}
        #: What tells the user's open transaction from others, and the id of its first unit.
        self.shared: tuple[Any, Any] | None = None
        self._note_state(is_in_transaction(connection))

    def _note_state(self, is_open: bool) -> None:
        connection = self.connection
        self.is_open = is_open
        #: Does the user himself say commit() and rollback()?
        self.is_manual = is_open and not (connection.in_atomic_block and connection.commit_on_exit)
        #: Where what was collected in the open transaction begins.
        self.base: Mark = _START

    # What happens to the transaction

    def begin(self, *, is_manual: bool) -> None:
        self.is_open, self.is_manual = True, is_manual
        self.base = self.mark()
        self.marks.clear()
        self.shared = None

    def settle(self) -> None:
        """What the transaction did is committed, or what was done without one."""
        self.commits += 1
        for receiver, items in self.after.take(self.base[1]).items():
            self.due.setdefault(receiver, []).extend(items)
        self._end()

    def lose(self) -> None:
        """What the transaction did is undone."""
        self.cut(self.base)
        # What is to be done because of that.
        for receiver, items in self.after.take(self.base[1]).items():
            self.due.setdefault(receiver, []).extend(items)
        self._end()

    def _end(self) -> None:
        self.marks.clear()
        self.shared = None
        self.undo.clear()
        self.is_locked = self.has_for_commit = False
        self.is_open = self.is_manual
        self.base = self.mark() if self.is_manual else _START

    def note_savepoint(self, sid: str) -> None:
        """Remember what had been collected when the savepoint ``sid`` was made."""
        if self.unit is not None or self.before.items or self.after.items or self.undo:
            self.marks.pop(sid, None)
            self.marks[sid] = self.mark()
        else:
            # Whatever is collected from now on came after each savepoint that is still open.
            self.marks.clear()

    def release(self, sid: str) -> None:
        """The savepoint ``sid`` is there no more, nor are those that were made since."""
        if sid in self.marks:
            mark = self._forget_savepoints(sid)
            outer = self.get_innermost()
            self.undo.release(mark[3], outer, outer[3])

    def roll_back(self, sid: str) -> None:
        """The savepoint ``sid`` was rolled back, and with it what has been collected since."""
        if sid in self.marks:
            self.marks[sid] = mark = self._forget_savepoints(sid)
        else:
            self.marks.clear()
            mark = self.base
        self.cut(mark)
        self.is_locked = False

    def _forget_savepoints(self, sid: str) -> Mark:
        while True:
            found, mark = self.marks.popitem()
            if found == sid:
                return mark

    def get_id(self, unit: Any) -> Any:
        """That of the first unit in the transaction of the user's in which ``unit`` is: his
        outermost ``atomic()``, in a ``TestCase`` too, or until he commits. Else its own."""
        mark = self._find_transaction()
        if mark is None:
            return unit.id
        return self._get_shared_id(mark, lambda: unit.id)

    def get_transaction_id(self) -> Any:
        """:meth:`get_id` where no unit is open: of a transaction of the user's, else a new one."""
        mark = self._find_transaction()
        return make_id() if mark is None else self._get_shared_id(mark, make_id)

    def _get_shared_id(self, mark: Any, make: Callable[[], Any]) -> Any:
        if self.shared is None or self.shared[0] != mark:
            self.shared = mark, make()
        return self.shared[1]

    def _find_transaction(self) -> Any:
        """What tells it from others of this connection; None if the user has opened none."""
        connection = self.connection
        if not is_in_transaction(connection):
            return None
        if self.is_manual:
            return "manual"
        for number, block in enumerate(connection.atomic_blocks):
            if not block._from_testcase:  # type: ignore[attr-defined]
                # One block may be entered again and again, as a decorator. The first has no
                # savepoint; but then what it is called is forgotten at its end.
                return block, connection.savepoint_ids[number - 1] if number else None
        return None

    # Marks

    def mark(self) -> Mark:
        return self.before.end, self.after.end, self.writes, self.undo.end

    def get_innermost(self) -> Mark:
        """The mark of the innermost open savepoint, or of the transaction."""
        return next(reversed(self.marks.values())) if self.marks else self.base

    def cut(self, mark: Mark) -> None:
        """What was written and collected since ``mark`` is undone."""
        self.before.cut(mark[0])
        self.after.cut(mark[1])
        self.writes = min(self.writes, mark[2])
        self.undo.roll_back(mark[3], mark)

    def drop(self, mark: Mark, depth: int, receiver: Flusher | None = None) -> None:
        """What the unit of this depth itself has collected since ``mark`` is for nothing; what
        others wrote in the meantime is not undone, nor is what they collected."""
        self.before.drop(mark[0], depth, receiver)
        self.after.drop(mark[1], depth, receiver)

    # Items

    def collect(self, receiver: Flusher, key: Hashable, item: Any, *, before: bool) -> Any:
        """Add ``item``, or return the one that waits under the same ``key``."""
        pile = self.before if before else self.after
        self.has_for_commit = self.has_for_commit or is_for_commit(receiver)
        if key is not None and (position := pile.find(receiver, key)) is not None:
            found = pile.get(position)
            if self.is_open and not isinstance(found, PLAIN):
                self._remember_item(int(not before), pile, position, receiver, key, found)
            return found
        if not is_lost(self.connection):
            unit = self.unit
            order = self.statements.note() if unit.order is None else unit.order
            pile.add(receiver, key, item, unit.depth, order)
        return item

    def take_before(self, start: int) -> dict[Flusher, list[Any]]:
        """What is to be flushed in the transaction. If a savepoint is open that is younger, its
        rollback undoes the flush, and not what it was about: that waits again then."""
        if not self.before.items:
            return {}
        if self.marks:
            innermost = self.get_innermost()[0]
            items = self.before.items[max(0, start - self.before.first) :]
            older = [found for found in items if found and found.origin < innermost]
            if older:
                thing, first = ("flushed", self.undo.end), min(found.origin for found in older)
                self.undo.add(thing, partial(self._wait_again, older), 0, first)
        return self.before.take(start)

    def take_for_commit(self) -> dict[Flusher, list[Any]]:
        """What is to be flushed as the last of the transaction, which is about to be committed."""
        return self.after.pick(is_for_commit) if self.has_for_commit else {}

    def _wait_again(self, items: list[Collected], mark: Mark) -> None:
        for found in items:
            if found.origin < mark[0]:
                self.before.append(found)

    def _remember_item(
        self, number: int, pile: Pile, position: int, receiver: Flusher, key: Hashable, item: Any
    ) -> None:
        """The receiver may change it: a savepoint that is rolled back gives it back as it is."""
        innermost, thing = self.get_innermost(), (number, receiver, key)
        if position >= innermost[number] or self.undo.knows(thing, innermost[3]):
            return
        restore = partial(pile.put_back, position, receiver, key, copy_item(item))
        self.undo.add(thing, restore, number, position)

    def remember_instance(self, instance: Model, name: str, value: Any) -> None:
        """If the transaction or savepoint is rolled back, ``instance._state`` has ``value`` again,
        if the instance is still there."""
        thing = (name, id(instance))
        if not self.is_open or self.undo.knows(thing, self.get_innermost()[3]):
            return
        forget = self.undo.forget
        found = weakref.ref(instance, lambda _: forget(thing))
        self.undo.add(thing, partial(_restore, found, name, value))

    def collect_if_undone(self, receiver: Flusher, item: Any) -> None:
        """If the open transaction or savepoint is rolled back, ``item`` is collected, to be
        flushed when the transaction is over, be it committed or not."""
        is_test = is_in_testcase(self.connection)
        self.undo.add(object(), partial(self._collect_undone, receiver, item, is_test))

    def _collect_undone(self, receiver: Flusher, item: Any, is_test: bool, mark: Mark) -> None:
        connection = self.connection
        if is_test:
            if not is_in_testcase(connection):
                # It is over, and rolled back whatever has been done.
                return
            hook = partial(_flush_in_testcase, self, self.after.end)
            connection.on_commit(hook, robust=True)
        # Of no unit: none can drop it.
        self.after.add(receiver, None, item, 0)
        # So does the rollback of what is round it, once again.
        self.collect_if_undone(receiver, item)

    def start_unit(self) -> None:
        """An outermost unit begins. See to what nobody told us of, and to what a test left."""
        connection = self.connection
        is_open = is_in_transaction(connection)
        if is_open is not self.is_open:
            self._note_state(is_open)
        if not is_open:
            if self.before.items or self.after.items:
                self.cut(_START)
        elif self.after.items and is_in_testcase(connection):
            # What earlier units left there is never committed; nothing may hide behind it.
            self.after.hide()

    def end_unit(self, mark: Mark) -> None:
        """The outermost unit, which began at ``mark``, has ended: is what it did committed?"""
        connection = self.connection
        if is_in_testcase(connection):
            if self.after.end > mark[1]:
                # captureOnCommitCallbacks() sees only callbacks registered inside it.
                hook = partial(_flush_in_testcase, self, mark[1])
                connection.on_commit(hook, robust=True)
        elif not is_in_transaction(connection):
            if self.after.items:
                self.settle()
            if self.due:
                flush_due(self)


def _restore(get_instance: Callable[[], Model | None], name: str, value: Any, mark: Mark) -> None:
    instance = get_instance()
    if instance is not None:
        setattr(instance._state, name, value)


def _flush_in_testcase(journal: Journal, mark: int) -> None:
    for receiver, items in journal.after.take(mark).items():
        journal.due.setdefault(receiver, []).extend(items)
    flush_due(journal)


def flush_due(journal: Journal) -> None:
    """Flush what is committed. No failure gets out; an interrupt does, when all is done."""
    due, journal.due = journal.due, {}
    interrupt: BaseException | None = None
    for receiver, items in due.items():
        for some in split(items):
            try:
                call_flush(receiver, some)
            except Exception as error:
                report_failure(receiver, "flush", error, some)
            except BaseException as error:
                interrupt = interrupt or error
    if interrupt is not None:
        raise interrupt


def split(items: list[Any]) -> Iterator[list[Any]]:
    """Parts of at most 2,000 items, so that no flush needs memory without end."""
    return (items[start : start + CHUNK] for start in range(0, len(items), CHUNK))


def call_flush(receiver: Flusher, items: list[Any]) -> None:
    # A list of its own: one that is emptied while it is flushed would leave nothing to try again.
    flush_now(receiver, [*items])


def flush_now(receiver: Flusher, items: list[Any]) -> None:
    """Looked up at each flush: a trace stands in its place."""
    flush = receiver.flush
    # Of a function this is always the same, and asking costs as much as a small flush.
    if _is_async(getattr(flush, "__func__", flush)):
        async_to_sync(flush)(items)
    else:
        flush(items)


def get_journal(connection: BaseDatabaseWrapper) -> Journal:
    """The journal of a connection, made when first needed. It lives as long as the connection."""
    try:
        return connection.__dict__["_signal_kit_journal"]  # type: ignore[no-any-return]
    except KeyError:
        journal = connection.__dict__["_signal_kit_journal"] = Journal(connection)
        return journal


def is_in_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Is a transaction open, by ``atomic()`` or because autocommit is off? Never connects, and one
    whose connection has been closed is open no more."""
    is_open = connection.connection is not None and not connection.autocommit
    return is_open and not connection.closed_in_transaction


def is_doomed(connection: BaseDatabaseWrapper) -> bool:
    """Will the open transaction be rolled back, to a savepoint at least?"""
    is_open = connection.connection is not None and not connection.autocommit
    return is_open and connection.needs_rollback


def is_lost(connection: BaseDatabaseWrapper) -> bool:
    """Are we in ``atomic()``, and its connection has been closed? Nothing done there is kept."""
    return connection.closed_in_transaction and connection.connection is not None


def is_in_testcase(connection: BaseDatabaseWrapper) -> bool:
    blocks = connection.atomic_blocks
    return bool(blocks) and blocks[0]._from_testcase  # type: ignore[attr-defined]
