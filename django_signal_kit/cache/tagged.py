"""Values in a cache that are valid as long as nobody touches their tags."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import cache, partial
from typing import Any, TypeVar

from django.core.cache import caches
from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.db import DEFAULT_DB_ALIAS

from django_signal_kit.cache import own_writes, recovery
from django_signal_kit.cache.access import add, delete, get_many, set_many
from django_signal_kit.cache.entry import MISSING, Entry, note_versions
from django_signal_kit.cache.guard import is_undecided
from django_signal_kit.cache.steps import MAKE, NotForOthersError, Steps, arun, run
from django_signal_kit.cache.versions import EVERYTHING, get_version_key

T = TypeVar("T")

_FIRST_PAUSE = 0.005
_LONGEST_PAUSE = 0.1

#: Under another name than any value: somebody's own key may end with "lock".
_LOCK = "signal_kit:lock:"
#: In place of a lock: what is made under this key cannot be stored, so that nobody waits for it.
_NOBODY_WAITS = 2


class TaggedCache:
    """A cache of ``CACHES``, by its alias, whose values have tags.

    A value is stored with the versions that its tags had before it was made, and is served as long
    as they have these. A look-up is one ``get_many()`` of the cache. A value that is made takes up
    to five calls more: the lock, a second look, versions for tags that have none, the value, the
    lock again.

    A cache that raises is logged and as good as empty: values are made, and not stored.
    """

    def __init__(self, alias: str = "default", *, lock: float = 10) -> None:
        """``lock``: the seconds for which one process makes a value while others wait for it;
        after that they make it themselves. 0: nobody waits."""
        self.alias = alias
        self.lock = lock

    def __repr__(self) -> str:
        return f"tagged({self.alias!r})"

    @property
    def cache(self) -> BaseCache:
        """The cache itself, that of this thread."""
        return caches[self.alias]

    def get_or_set(
        self,
        key: str,
        make: Callable[[], T],
        *,
        tags: Iterable[str],
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> T:
        """What is cached under ``key``, or what ``make()`` returns, which is cached until one of
        ``tags`` is touched, or ``timeout`` seconds at most (None: for ever; by default those of
        the cache).

        In a transaction that has touched one of the tags, ``make`` is called, and nothing is
        stored. What it raises is raised.
        """
        entry = Entry(self.alias, key, tags, timeout)
        return run(self.look_up(entry), make)  # type: ignore[no-any-return]

    async def aget_or_set(
        self,
        key: str,
        make: Callable[[], T] | Callable[[], Awaitable[T]],
        *,
        tags: Iterable[str],
        timeout: float | None = DEFAULT_TIMEOUT,  # noqa: ASYNC109 it is none of this call
    ) -> T:
        """As :meth:`get_or_set`, for a ``make`` that may be asynchronous."""
        entry = Entry(self.alias, key, tags, timeout)
        return await arun(self.look_up(entry), make)  # type: ignore[no-any-return]

    def get_many(
        self,
        tags: Mapping[str, Iterable[str]],
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> Found:
        """What is cached under the keys of ``tags``, a mapping of keys to their tags, by one
        ``get_many()`` of the cache.

        Make values for those that are ``missing`` in what it returns and give both to
        :meth:`set_many`, which caches them for ``timeout`` seconds.
        """
        entries = {key: Entry(self.alias, key, some, timeout) for key, some in tags.items()}
        asked = {
            key: entry for key, entry in entries.items() if not own_writes.has_touched(entry.tags)
        }
        found = get_many(self.alias, {name for entry in asked.values() for name in entry.keys})
        hits: dict[str, Any] = {}
        for key, entry in asked.items():
            value = entry.read(found or {})
            if value is not MISSING:
                hits[key] = value
        missing = {key: asked.get(key) for key in entries if key not in hits}
        to_store = [entry for entry in missing.values() if entry is not None]
        if (
            found is None
            or self._may_not_store()
            or not note_versions(self.alias, to_store, found)
        ):
            missing = dict.fromkeys(missing)
        return Found(hits, missing)

    def set_many(self, values: Mapping[str, Any], found: Found) -> None:
        """Cache ``values`` with the versions that their tags had when :meth:`get_many` returned
        ``found``. Raises KeyError for a key that is not missing there."""
        wrapped: dict[str, Any] = {}
        timeout: float | None = None
        for key, value in values.items():
            if key not in found.missing:
                raise KeyError(
                    f"{key!r} is not missing in what get_many() has found. Give set_many() values "
                    f"for the keys in its 'missing'."
                )
            entry = found.missing[key]
            if entry is not None:
                wrapped[entry.key], timeout = entry.wrap(value), entry.timeout
        if wrapped:
            set_many(self.alias, wrapped, timeout)

    def touch(self, *tags: str, using: str = DEFAULT_DB_ALIAS) -> None:
        """Values with one of ``tags`` are served no more; if a transaction is open on the database
        ``using``, again after its commit. Without tags: all that is tagged in this cache.

        For what no receiver hears. A cache that raises is logged, and asked until it answers.
        """
        tags = tags or (EVERYTHING,)
        recovery.delete_many(self.alias, [get_version_key(tag) for tag in tags])
        own_writes.note_touched(self.alias, tags, using)

    def look_up(self, entry: Entry) -> Steps:
        found, may_store = yield partial(self._look, entry)
        value = entry.read(found or {})
        if value is not MISSING:
            return value
        if found is None or not may_store:
            return (yield MAKE)
        lock, start, pause = f"{_LOCK}{entry.key}", time.monotonic(), _FIRST_PAUSE
        is_ours = False
        while self.lock:
            is_ours = yield partial(add, self.alias, lock, self.lock)
            if is_ours:
                break
            found = (yield partial(get_many, self.alias, [*entry.keys, lock])) or {}
            value = entry.read(found)
            if value is not MISSING:
                return value
            if found.get(lock) == _NOBODY_WAITS or time.monotonic() > start + self.lock:
                break
            yield pause
            pause = min(2 * pause, _LONGEST_PAUSE)
        if is_ours:
            return (yield from self._make_alone(entry, lock))
        value, _ = yield from self._make(entry)
        return value

    def _look(self, entry: Entry) -> tuple[dict[str, Any] | None, bool]:
        """What is in the cache, if it may be asked, and whether what is made may be stored. To be
        called in the thread that has the connections to the databases."""
        if own_writes.has_touched(entry.tags):
            return None, False
        return get_many(self.alias, entry.keys), not self._may_not_store()

    def _may_not_store(self) -> bool:
        return own_writes.may_be_old() or is_undecided(self.cache)

    def _make_alone(self, entry: Entry, lock: str) -> Steps:
        start, is_stored = time.monotonic(), True
        try:
            value, is_stored = yield from self._make(entry)
            return value
        except NotForOthersError:
            is_stored = False
            raise
        finally:
            if not is_stored:
                # Who waited for it would wait in vain, and the next for him.
                yield partial(set_many, self.alias, {lock: _NOBODY_WAITS}, self.lock)
            elif time.monotonic() < start + self.lock:
                # Later it is the lock of another.
                yield partial(delete, self.alias, lock)

    def _make(self, entry: Entry) -> Steps:
        """The value, and whether others may have it from the cache."""
        found = yield partial(get_many, self.alias, entry.keys)
        value = entry.read(found or {})
        if value is not MISSING:
            return value, True
        is_noted = found is not None and (yield partial(note_versions, self.alias, [entry], found))
        value = yield MAKE
        if not is_noted:
            return value, True
        stored = {entry.key: entry.wrap(value)}
        return value, (yield partial(set_many, self.alias, stored, entry.timeout))


class Found(dict[str, Any]):
    """What :meth:`TaggedCache.get_many` has found, by key."""

    def __init__(self, hits: Mapping[str, Any], missing: Mapping[str, Entry | None]) -> None:
        super().__init__(hits)
        #: The keys that were asked for and not found, in their order.
        self.missing = missing


@cache
def tagged(alias: str = "default") -> TaggedCache:
    """The cache ``alias`` of ``CACHES``, with tags."""
    return TaggedCache(alias)
