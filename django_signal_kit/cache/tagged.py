"""Values in a cache that are valid as long as nobody touches their tags."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

from django.core.cache import caches
from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.db import DEFAULT_DB_ALIAS

from django_signal_kit.cache import counters, gathering, own_writes, recovery
from django_signal_kit.cache.access import get_many, set_many
from django_signal_kit.cache.ahead import Ahead
from django_signal_kit.cache.entry import MISSING, Entry, drop_late, note_versions
from django_signal_kit.cache.freshness import check_times
from django_signal_kit.cache.lookup import LookUp
from django_signal_kit.cache.steps import Steps, arun, run
from django_signal_kit.cache.versions import EVERYTHING, get_version_key

T = TypeVar("T")


class TaggedCache:
    """A cache of ``CACHES``, by its alias, whose values have tags.

    A value is stored with the versions that its tags had before it was made, and is served as long
    as they have these. A look-up is one ``get_many()`` of the cache. A value that is made takes up
    to six calls more: the lock, a second look, versions for tags that have none, the versions
    again, the value, the lock again. One that is late, since a tag was touched meanwhile, is not
    stored.

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
        stale: float = 0,
        early: float = 0,
    ) -> T:
        """What is cached under ``key``, or what ``make()`` returns, which is cached until one of
        ``tags`` is touched, or ``timeout`` seconds at most (None: for ever; by default those of
        the cache).

        ``stale``: for so many seconds after its timeout the value is served to others while one
        reader makes it anew; never if one of its tags has been touched. ``early``: it is made anew
        by one reader before its timeout, by about ``early`` times the seconds that it takes to
        make; 1 is good, 0 is never.

        In a transaction that has touched one of the tags, ``make`` is called, and nothing is
        stored. What it raises is raised.
        """
        check_times(stale, early)
        entry = Entry(self.alias, key, tags, timeout, stale, early)
        return run(self.look_up(entry), make)  # type: ignore[no-any-return]

    async def aget_or_set(
        self,
        key: str,
        make: Callable[[], T] | Callable[[], Awaitable[T]],
        *,
        tags: Iterable[str],
        timeout: float | None = DEFAULT_TIMEOUT,  # noqa: ASYNC109 it is none of this call
        stale: float = 0,
        early: float = 0,
    ) -> T:
        """As :meth:`get_or_set`, for a ``make`` that may be asynchronous."""
        check_times(stale, early)
        entry = Entry(self.alias, key, tags, timeout, stale, early)
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
        gathering.note_tags(*(tag for entry in entries.values() for tag in entry.tags))
        asked = {
            key: entry for key, entry in entries.items() if not own_writes.has_touched(entry.tags)
        }
        found = get_many(self.alias, {name for entry in asked.values() for name in entry.keys})
        hits: dict[str, Any] = {}
        for key, entry in asked.items():
            value = entry.read(found or {})
            if value is not MISSING:
                hits[key] = value
                entry.counters.count_hit()
        missing = {key: asked.get(key) for key in entries if key not in hits}
        for key in missing:
            entries[key].counters.count_miss()
        to_store = [entry for entry in missing.values() if entry is not None]
        if (
            found is None
            or not own_writes.may_store(self.alias)
            or not note_versions(self.alias, to_store, found)
        ):
            missing = dict.fromkeys(missing)
        return Found(hits, missing)

    def set_many(self, values: Mapping[str, Any], found: Found) -> None:
        """Cache ``values`` with the versions that their tags had when :meth:`get_many` returned
        ``found``. Raises KeyError for a key that is not missing there."""
        made: list[tuple[Entry, Any]] = []
        for key, value in values.items():
            if key not in found.missing:
                raise KeyError(
                    f"{key!r} is not missing in what get_many() has found. Give set_many() values "
                    f"for the keys in its 'missing'."
                )
            entry = found.missing[key]
            if entry is not None:
                made.append((entry, value))
        good = drop_late(self.alias, [entry for entry, _ in made]) if made else []
        wrapped = {entry.key: entry.wrap(value) for entry, value in made if entry in good}
        if wrapped:
            set_many(self.alias, wrapped, good[0].timeout)

    def touch(self, *tags: str, using: str = DEFAULT_DB_ALIAS) -> None:
        """Values with one of ``tags`` are served no more; if a transaction is open on the database
        ``using``, again after its commit. Without tags: all that is tagged in this cache.

        For what no receiver hears. A cache that raises is logged, and asked until it answers.
        """
        tags = tags or (EVERYTHING,)
        counters.of(self.alias).count_dropped(0, len(tags))
        recovery.delete_many(self.alias, [get_version_key(tag) for tag in tags])
        own_writes.note_touched(self.alias, tags, using)

    def look_up(
        self,
        entry: Entry,
        finish: Callable[[Any], Any] | None = None,
        ahead: Sequence[Ahead] = (),
    ) -> Steps:
        """The steps of a look-up. ``finish`` is given what was made, and returns the value;
        ``ahead`` is what has been read already."""
        return LookUp(self.alias, self.lock, entry, finish, ahead).take()


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
