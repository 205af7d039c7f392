"""How one value is looked up: from the cache, or made by one while others wait for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from django_signal_kit.cache import gathering, own_writes
from django_signal_kit.cache.access import add, delete, get_many, set_many
from django_signal_kit.cache.ahead import Ahead
from django_signal_kit.cache.entry import MISSING, Entry, drop_late, note_versions
from django_signal_kit.cache.steps import MAKE, NotForOthersError, Steps

_FIRST_PAUSE = 0.005
_LONGEST_PAUSE = 0.1

#: Under another name than any value: somebody's own key may end with "lock".
_LOCK = "signal_kit:lock:"
#: The seconds for which one makes anew what others are served, where nobody waits.
_MAKING = 10
#: In place of a lock: what is made under this key cannot be stored, so that nobody waits for it.
_NOBODY_WAITS = 2


class LookUp:
    """One look-up of ``entry`` in the cache ``alias``, in steps.

    ``patience``: the seconds for which others wait for who makes a value. ``finish`` is given what
    was made, and returns the value; it may block. ``ahead``: what has been read already.
    """

    def __init__(
        self,
        alias: str,
        patience: float,
        entry: Entry,
        finish: Callable[[Any], Any] | None = None,
        ahead: Sequence[Ahead] = (),
    ) -> None:
        self.alias = alias
        self.patience = patience
        self.entry = entry
        self.finish = finish
        self.ahead = ahead
        gathering.note_tags(*entry.tags)

    @property
    def lock(self) -> str:
        return f"{_LOCK}{self.entry.key}"

    @property
    def lock_time(self) -> float:
        return self.patience or _MAKING

    def take(self) -> Steps:
        """The steps; they return the value."""
        found, may_store = yield self._look
        value = self.entry.read(found or {})
        if value is not MISSING:
            if self.entry.is_due and may_store and (yield self._add_lock):
                return (yield from self._make_alone())
            self.entry.counters.count_hit()
            return value
        if found is None or not may_store:
            return (yield from self._call())
        return (yield from self._make_or_wait())

    def _look(self) -> tuple[dict[str, Any] | None, bool]:
        """What is in the cache, if it may be asked, and whether what is made may be stored. To be
        called in the thread that has the connections to the databases."""
        if own_writes.has_touched(self.entry.tags):
            return None, False
        found = self._get() if self.ahead else get_many(self.alias, self.entry.keys)
        return found, own_writes.may_store(self.alias)

    def _get(self) -> dict[str, Any] | None:
        for ahead in self.ahead:
            if ahead.knows(self.entry):
                return ahead.found
        return get_many(self.alias, self.entry.keys)

    def _add_lock(self) -> bool:
        return add(self.alias, self.lock, self.lock_time)

    def _make_or_wait(self) -> Steps:
        start, pause = time.monotonic(), _FIRST_PAUSE
        keys = [*self.entry.keys, self.lock]
        while self.patience:
            if (yield self._add_lock):
                return (yield from self._make_alone())
            found = (yield partial(get_many, self.alias, keys)) or {}
            value = self.entry.read(found)
            if value is not MISSING:
                self.entry.counters.count_hit()
                return value
            if found.get(self.lock) == _NOBODY_WAITS or time.monotonic() > start + self.patience:
                break
            yield pause
            pause = min(2 * pause, _LONGEST_PAUSE)
        value, _ = yield from self._make()
        return value

    def _make_alone(self) -> Steps:
        for ahead in self.ahead:
            ahead.forget(self.entry)
        start, is_stored = time.monotonic(), True
        try:
            value, is_stored = yield from self._make()
            return value
        except NotForOthersError:
            is_stored = False
            raise
        finally:
            if not is_stored:
                # Who waited for it would wait in vain, and the next for him.
                yield partial(set_many, self.alias, {self.lock: _NOBODY_WAITS}, self.lock_time)
            elif time.monotonic() < start + self.lock_time:
                # Later it is the lock of another.
                yield partial(delete, self.alias, self.lock)

    def _make(self) -> Steps:
        """The value, and whether others may have it from the cache."""
        entry, alias = self.entry, self.alias
        found = yield partial(get_many, alias, entry.keys)
        value = entry.read(found or {})
        if value is not MISSING and not entry.is_due:
            entry.counters.count_hit()
            return value, True
        is_noted = found is not None and (yield partial(note_versions, alias, [entry], found))
        start = time.monotonic()
        value = yield from self._call()
        cost = time.monotonic() - start
        if not is_noted or not (yield partial(drop_late, alias, [entry])):
            # Whoever waits makes it anew.
            return value, True
        stored = {entry.key: entry.wrap(value, cost)}
        return value, (yield partial(set_many, alias, stored, entry.kept))

    def _call(self) -> Steps:
        """The value, made now."""
        self.entry.counters.count_miss()
        value = yield MAKE
        return value if self.finish is None else (yield partial(self.finish, value))
