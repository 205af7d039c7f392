"""One value in a cache: its key, its tags, and the versions that these had before it was made."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from django.core.cache import caches
from django.core.cache.backends.base import DEFAULT_TIMEOUT

from django_signal_kit.cache import counters, gathering
from django_signal_kit.cache.access import get_many, set_many
from django_signal_kit.cache.freshness import Made, is_due, is_over
from django_signal_kit.cache.versions import (
    get_safe_key,
    get_version_keys,
    lasts,
    make_versions,
)

MISSING: Any = object()

# Tells what is stored here from what others store under the same key.
_MARK = "signal_kit"


def refuse_text(tags: Any) -> None:
    """Raise TypeError if ``tags`` is one text, whose letters would be taken for tags."""
    if isinstance(tags, str):
        raise TypeError(f"tags={tags!r} is one text. Write a list of tags: [{tags!r}].")


class Entry:
    """What is, or will be, under ``key`` in the cache ``alias``.

    ``timeout``: seconds, None for ever; ``DEFAULT_TIMEOUT``: those of the cache. ``stale`` and
    ``early`` as in :meth:`~django_signal_kit.cache.tagged.TaggedCache.get_or_set`.
    """

    __slots__ = (
        "_due",
        "counters",
        "early",
        "is_due",
        "key",
        "stale",
        "tags",
        "timeout",
        "version_keys",
        "versions",
    )

    def __init__(
        self,
        alias: str,
        key: str,
        tags: Iterable[str],
        timeout: float | None,
        stale: float = 0,
        early: float = 0,
    ) -> None:
        refuse_text(tags)
        self.key = get_safe_key(key)
        self.tags = tuple(tags)
        self.counters = counters.of(alias)
        self.version_keys = get_version_keys(self.tags)
        if timeout is DEFAULT_TIMEOUT:
            timeout = getattr(caches[alias], "default_timeout", None)
        self.timeout = timeout
        self.stale = stale
        self.early = early
        self.versions: tuple[int, ...] | None = None
        #: Is the value that was read last to be made anew, though it is good still?
        self.is_due = False
        self._due: Made | None = None

    @property
    def keys(self) -> list[str]:
        """All that has to be asked for to know whether the value is valid."""
        return [self.key, *self.version_keys]

    @property
    def kept(self) -> float | None:
        """The seconds that the cache is to keep the value: None is for ever."""
        return None if self.timeout is None else self.timeout + self.stale

    def read(self, found: Mapping[str, Any]) -> Any:
        """The value as it is in ``found``, or MISSING if it is not, or is not valid any more.
        Says in ``is_due`` whether somebody should make it anew."""
        self.is_due = False
        entry = found.get(self.key)
        if isinstance(entry, tuple) and len(entry) in (3, 4) and entry[0] == _MARK:
            versions = tuple(found.get(key) for key in self.version_keys)
            if None not in versions and entry[1] == versions:
                if len(entry) == 4 and not self._serves(entry[3]):
                    return MISSING
                return entry[2]
        return MISSING

    def _serves(self, made: Made) -> bool:
        if is_over(made, self.stale):
            return False
        # Whoever has drawn the lot does not draw again when he looks a second time.
        self.is_due = made == self._due or is_due(made, self.early)
        if self.is_due:
            self._due = made
        return True

    def wrap(self, value: Any, cost: float = 0) -> Any:
        """What is stored for ``value``, which was made after the versions had been noted, in
        ``cost`` seconds."""
        if self.timeout is None or not (self.stale or self.early):
            return (_MARK, self.versions, value)
        return (_MARK, self.versions, value, (time.time() + self.timeout, cost))


def note_versions(alias: str, entries: Collection[Entry], found: Mapping[str, Any]) -> bool:
    """Note the versions of the tags of ``entries``, before their values are made. ``found``: those
    that there are; the others, and those that end before the values, are made anew. False if the
    cache does not take them."""
    missing = {
        key
        for entry in entries
        for key in entry.version_keys
        if key not in found or not lasts(found[key], entry.kept)
    }
    if missing:
        timeouts = [entry.kept for entry in entries]
        longest = None if None in timeouts else max(filter(None, timeouts), default=0)
        versions, kept = make_versions(missing, longest)
        if not set_many(alias, versions, kept):
            return False
        found = {**found, **versions}
    for entry in entries:
        entry.versions = tuple(found[key] for key in entry.version_keys)
    return True


def drop_late(alias: str, entries: Collection[Entry]) -> list[Entry]:
    """Those of ``entries`` of which no tag has been touched since :func:`note_versions`. What was
    made of the others may be old, and nobody would be served it. All, if the cache cannot be
    asked."""
    found = get_many(alias, {key for entry in entries for key in entry.version_keys})
    if found is None:
        return list(entries)
    good: list[Entry] = []
    for entry in entries:
        if tuple(found.get(key) for key in entry.version_keys) == entry.versions:
            good.append(entry)
        else:
            entry.counters.count_late()
            gathering.note_late()
    return good
