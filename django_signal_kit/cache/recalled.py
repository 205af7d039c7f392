"""Values of which the tags are known only when they are made.

The tags are noted when a value has been made, and their versions have to be read before. So the
first time a value is made it is not stored: its tags are remembered. The next time these have
versions before it is made, and it is stored if it has no others. A hit is two calls of the cache:
the remembered tags, and the value with their versions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from django_signal_kit.cache.access import get_many, set_many
from django_signal_kit.cache.collecting import collect_tags
from django_signal_kit.cache.entry import Entry
from django_signal_kit.cache.gathering import CollectedTags
from django_signal_kit.cache.lookup import LookUp
from django_signal_kit.cache.steps import NotForOthersError, Steps
from django_signal_kit.cache.tagged import tagged
from django_signal_kit.cache.versions import get_safe_key
from django_signal_kit.units.loggers import get_logger

logger = get_logger("django_signal_kit.cache")

_PREFIX = "signal_kit:tags:"
_LEAST = 3600
_warned: set[str] = set()


class _NotYetError(NotForOthersError):
    """This value is returned, and not stored."""

    def __init__(self, value: Any) -> None:
        self.value = value


def recall(
    alias: str,
    key: str,
    tags: Iterable[str],
    timeout: float | None,
    stale: float = 0,
    early: float = 0,
) -> Entry:
    """The entry of ``key``, with ``tags`` and those that are remembered. One call of the cache."""
    name = _get_name(key)
    known = (get_many(alias, [name]) or {}).get(name, ())
    known = known if isinstance(known, tuple) else ()
    return Entry(alias, key, [*tags, *known], timeout, stale, early)


def knows(alias: str, entry: Entry, found: CollectedTags) -> bool:
    """May what was made be stored: had all its tags versions before? If not, they are remembered
    for the next time. One call of the cache then."""
    if found.unknown or not (found or entry.tags):
        return False
    if found.caches is not None and alias not in found.caches:
        if alias not in _warned:
            _warned.add(alias)
            logger.warning(
                "What is collected for the cache %r is not stored there: the CacheInvalidation "
                "that touches its tags does so in %s. Add %r to its option 'caches'.",
                alias,
                ", ".join(map(repr, sorted(found.caches))) or "no cache in common",
                alias,
                extra={"cache": alias},
            )
        return False
    if all(tag in entry.tags for tag in found):
        return True
    kept = None if entry.kept is None else max(_LEAST, int(2 * entry.kept))
    set_many(alias, {_get_name(entry.key): tuple(found)}, kept)
    return False


class _LookUp(LookUp):
    """One whose value is stored if all tags of what it was made of are known."""

    def _call(self) -> Steps:
        with collect_tags() as found:
            value = yield from super()._call()
        if not (yield partial(knows, self.alias, self.entry, found)):
            raise _NotYetError(value)
        return value


def look_up(
    alias: str,
    key: str,
    tags: Iterable[str],
    timeout: float | None,
    stale: float,
    early: float,
    finish: Callable[[Any], Any] | None = None,
) -> Steps:
    """As the method of ``tagged()``, with the tags of what is used while the value is made and
    finished."""
    entry = yield partial(recall, alias, key, tags, timeout, stale, early)
    try:
        return (yield from _LookUp(alias, tagged(alias).lock, entry, finish).take())
    except _NotYetError as made:
        return made.value


def _get_name(key: str) -> str:
    return get_safe_key(f"{_PREFIX}{get_safe_key(key)}")
