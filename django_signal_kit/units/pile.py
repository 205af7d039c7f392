"""Collected items in the order in which they came."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any, NamedTuple, Protocol

MISSING = object()
_get_order = attrgetter("order")


class Flusher(Protocol):
    """What a pile knows of a receiver. What flushes in the name of another has that one as its
    ``stands_for``, and what it wraps the other's items in has these."""

    @property
    def name(self) -> str: ...

    @property
    def on_error(self) -> str: ...

    def flush(self, items: list[Any]) -> Any: ...


class Collected(NamedTuple):
    receiver: Flusher
    key: Hashable
    item: Any
    #: That of the unit of work in which it was collected.
    depth: int
    #: Its first position: what waits again has another by now.
    origin: int
    #: The place of its statement among those of the connection.
    order: int


class Pile:
    """Collected items in the order in which they came.

    Positions count from the first item ever, so that a mark made before a flush still means the
    same place after it. What is taken is in the order of the statements.
    """

    __slots__ = ("_is_mixed", "_latest", "_positions", "first", "items")

    def __init__(self) -> None:
        self.first = 0
        # Has anything come after what a later statement brought?
        self._is_mixed = False
        self._latest = 0
        #: None stands where something was dropped.
        self.items: list[Collected | None] = []
        self._positions: dict[tuple[Flusher, Hashable], int] = {}

    @property
    def end(self) -> int:
        return self.first + len(self.items)

    def add(self, receiver: Flusher, key: Hashable, item: Any, depth: int, order: int = 0) -> None:
        self.append(Collected(receiver, key, item, depth, self.end, order))

    def append(self, found: Collected) -> None:
        if found.order < self._latest:
            self._is_mixed = True
        else:
            self._latest = found.order
        if found.key is not None:
            self._positions[found.receiver, found.key] = self.end
        self.items.append(found)

    def find(self, receiver: Flusher, key: Hashable) -> int | None:
        """The position of what waits under ``key``."""
        return self._positions.get((receiver, key))

    def get(self, position: int) -> Any:
        found = self.items[position - self.first]
        assert found is not None
        return found.item

    def put_back(
        self, position: int, receiver: Flusher, key: Hashable, item: Any, mark: Any
    ) -> None:
        """What waits under ``key`` at ``position``, if it still does, is ``item`` again."""
        if self._positions.get((receiver, key)) == position:
            place = position - self.first
            found = self.items[place]
            assert found is not None
            self.items[place] = found._replace(item=item)

    def hide(self) -> None:
        """What waits is not to be found under its key any more."""
        self._positions.clear()

    def cut(self, mark: int) -> None:
        """Forget what came after ``mark``."""
        start = max(0, mark - self.first)
        if start < len(self.items):
            self._forget_keys(start)
            older = [found for found in self.items[start:] if found and found.origin < mark]
            del self.items[start:]
            for found in older:
                self.append(found)

    def drop(self, mark: int, depth: int, receiver: Flusher | None = None) -> None:
        """Forget what was collected after ``mark`` in the unit of this depth itself, not in a
        write inside it; by ``receiver`` alone, if it is given."""
        for place in range(max(0, mark - self.first), len(self.items)):
            found = self.items[place]
            if found is None or found.depth != depth:
                continue
            if receiver is None or receiver is _get_owner(found.receiver):
                self._forget_key(place, found)
                self.items[place] = None

    def take(self, mark: int = 0) -> dict[Flusher, list[Any]]:
        """Remove what came after ``mark`` and return it, receiver by receiver, each in the order
        of the statements."""
        start = max(0, mark - self.first)
        taken: Sequence[Collected | None] = self.items[start:]
        if self._is_mixed:
            taken = sorted(filter(None, taken), key=_get_order)
        if start:
            self._forget_keys(start)
            del self.items[start:]
        else:
            self.first += len(self.items)
            self.items = []
            self._is_mixed = False
            self._positions.clear()
        return _group(taken)

    def pick(self, is_wanted: Callable[[Flusher], bool]) -> dict[Flusher, list[Any]]:
        """Remove what waits for the flushers that are wanted and return it, as :meth:`take`."""
        picked = []
        for place, found in enumerate(self.items):
            if found is not None and is_wanted(found.receiver):
                self._forget_key(place, found)
                self.items[place] = None
                picked.append(found)
        if self._is_mixed:
            picked.sort(key=_get_order)
        return _group(picked)

    def _forget_keys(self, start: int) -> None:
        for place in range(start, len(self.items)):
            found = self.items[place]
            if found is not None:
                self._forget_key(place, found)

    def _forget_key(self, place: int, found: Collected) -> None:
        key = (found.receiver, found.key)
        if found.key is not None and self._positions.get(key) == self.first + place:
            del self._positions[key]

    def __iter__(self) -> Iterator[Any]:
        return (found.item for found in self.items if found is not None)


def _group(taken: Iterable[Collected | None]) -> dict[Flusher, list[Any]]:
    grouped: dict[Flusher, list[Any]] = {}
    for found in taken:
        if found is not None:
            grouped.setdefault(found.receiver, []).append(found.item)
    return grouped


def is_for_commit(flusher: Flusher) -> bool:
    """Does it flush what is to be done after the commit into the transaction itself, as its last
    statements? It has ``for_commit = True`` then."""
    return getattr(flusher, "for_commit", False)


def _get_owner(flusher: Flusher) -> object:
    return getattr(flusher, "stands_for", flusher)
