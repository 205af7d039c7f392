"""What a rolled back savepoint has to put back: once for each thing and savepoint."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import is_dataclass
from typing import Any, NamedTuple

from django.db.models import Model

#: What a receiver that is given it back cannot change, or must not have changed back.
PLAIN = (str, int, float, bool, type(None), bytes, frozenset, Model, type)


class _Change(NamedTuple):
    thing: Hashable
    #: Where the change of the same thing before this one is, or -1.
    earlier: int
    restore: Callable[[Any], None]
    #: In which pile the thing waits, and where; -1 if it was there before the transaction.
    pile: int
    position: int


class Undo:
    """Changes of things that are older than the innermost savepoint, with what makes each again
    what it was. Of several changes of a thing in one savepoint the first alone is kept."""

    __slots__ = ("_changes", "_latest", "end")

    def __init__(self) -> None:
        self.end = 0
        # A dict, so that what has gone leaves no hole: position -> change, in order.
        self._changes: dict[int, _Change] = {}
        self._latest: dict[Hashable, int] = {}

    def __len__(self) -> int:
        return len(self._changes)

    def knows(self, thing: Hashable, since: int) -> bool:
        return self._latest.get(thing, -1) >= since

    def add(
        self, thing: Hashable, restore: Callable[[Any], None], pile: int = 0, position: int = -1
    ) -> None:
        """``restore`` is given the mark to which is rolled back."""
        earlier = self._latest.get(thing, -1)
        self._changes[self.end] = _Change(thing, earlier, restore, pile, position)
        self._latest[thing] = self.end
        self.end += 1

    def forget(self, thing: Hashable) -> None:
        """The thing itself is gone."""
        place = self._latest.pop(thing, -1)
        while (change := self._changes.pop(place, None)) is not None:
            place = change.earlier

    def roll_back(self, since: int, mark: Any) -> None:
        """Put back what has been changed since."""
        for _, change in self._pop(since):
            self._step_back(change)
            change.restore(mark)

    def release(self, since: int, mark: tuple[int, ...], outer: int) -> None:
        """The savepoint made at ``since`` is there no more. Forget what is not for the one round
        it to put back, which was made at ``outer``, with the piles as ``mark`` says."""
        kept = []
        for place, change in self._pop(since):
            if change.earlier >= outer or change.position >= mark[change.pile]:
                self._step_back(change)
            else:
                kept.append((place, change))
        self._changes.update(reversed(kept))

    def clear(self) -> None:
        self._changes.clear()
        self._latest.clear()

    def _pop(self, since: int) -> list[tuple[int, _Change]]:
        """Those made since, the last first."""
        found = []
        while self._changes:
            place, change = self._changes.popitem()
            if place < since:
                self._changes[place] = change
                break
            found.append((place, change))
        return found

    def _step_back(self, change: _Change) -> None:
        if change.earlier < 0:
            self._latest.pop(change.thing, None)
        else:
            self._latest[change.thing] = change.earlier


def copy_item(item: Any) -> Any:
    """A copy that no change of ``item`` reaches: of containers and dataclasses as deep as they go,
    of any other object its own attributes. Model instances, and what cannot be copied, stay."""
    return _copy(item, {}, is_item=True)


def _copy(value: Any, known: dict[int, Any], *, is_item: bool = False) -> Any:
    if isinstance(value, PLAIN):
        return value
    if id(value) in known:
        return known[id(value)]
    is_container = isinstance(value, dict | list | set | tuple | deque | bytearray)
    if not (is_container or is_item or is_dataclass(value)):
        return value
    if isinstance(value, tuple):
        make = getattr(value, "_make", tuple)
        made = make(_copy(part, known) for part in value)
        # A class below a named tuple may have attributes of its own.
        if type(made) is type(value):
            for name, part in getattr(value, "__dict__", {}).items():
                object.__setattr__(made, name, _copy(part, known))
        return made
    try:
        found = copy.copy(value)
    except Exception:
        return value
    known[id(value)] = found
    if isinstance(found, dict):
        for key, part in value.items():
            found[key] = _copy(part, known)
    elif isinstance(found, list | deque):
        for place, part in enumerate(value):
            found[place] = _copy(part, known)
    for name, part in _get_attributes(value):
        object.__setattr__(found, name, _copy(part, known))
    return found


def _get_attributes(value: Any) -> list[tuple[str, Any]]:
    found = dict(getattr(value, "__dict__", {}))
    for cls in type(value).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for name in [slots] if isinstance(slots, str) else slots:
            with suppress(AttributeError):
                found[name] = getattr(value, name)
    return [pair for pair in found.items() if pair[0] not in ("__dict__", "__weakref__")]
