"""Values of which the tags are known only when they are made.

The tags are noted when a value has been made, and their versions have to be read before. So the
first time a value is made it is not stored: its tags are remembered. The next time these have
versions before it is made, and it is stored if it has no others. A hit is two calls of the cache:
the remembered tags, and the value with their versions.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from asgiref.sync import sync_to_async
from django.core.cache.backends.base import DEFAULT_TIMEOUT

from django_signal_kit.cache.access import get_many, set_many
from django_signal_kit.cache.collecting import collect_tags
from django_signal_kit.cache.entry import Entry
from django_signal_kit.cache.gathering import CollectedTags
from django_signal_kit.cache.steps import NotForOthersError, arun, run
from django_signal_kit.cache.tagged import tagged
from django_signal_kit.cache.versions import get_safe_key

logger = logging.getLogger("django_signal_kit.cache")

_PREFIX = "signal_kit:tags:"
_LEAST = 3600
_warned: set[str] = set()


class _NotYetError(NotForOthersError):
    """This value is returned, and not stored."""

    def __init__(self, value: Any) -> None:
        self.value = value


def recall(
    alias: str, key: str, tags: Iterable[str], timeout: float | None = DEFAULT_TIMEOUT
) -> Entry:
    """The entry of ``key``, with ``tags`` and those that are remembered. One call of the cache."""
    name = _get_name(key)
    known = (get_many(alias, [name]) or {}).get(name, ())
    known = known if isinstance(known, tuple) else ()
    return Entry(alias, key, [*tags, *known], timeout)


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
            )
        return False
    if all(tag in entry.tags for tag in found):
        return True
    kept = None if entry.timeout is None else max(_LEAST, int(2 * entry.timeout))
    set_many(alias, {_get_name(entry.key): tuple(found)}, kept)
    return False


def get_or_set(
    alias: str, key: str, make: Callable[[], Any], tags: Iterable[str], timeout: float | None
) -> Any:
    """As the method of ``tagged()``, with the tags of what ``make`` uses."""
    entry = recall(alias, key, tags, timeout)

    def collect() -> Any:
        with collect_tags() as found:
            value = make()
        if not knows(alias, entry, found):
            raise _NotYetError(value)
        return value

    try:
        return run(tagged(alias).look_up(entry), collect)
    except _NotYetError as made:
        return made.value


async def aget_or_set(
    alias: str,
    key: str,
    make: Callable[[], Awaitable[Any]],
    tags: Iterable[str],
    timeout: float | None,  # noqa: ASYNC109 it is none of this call
) -> Any:
    entry = await sync_to_async(recall)(alias, key, tags, timeout)

    async def collect() -> Any:
        with collect_tags() as found:
            value = await make()
        if not await sync_to_async(knows)(alias, entry, found):
            raise _NotYetError(value)
        return value

    try:
        return await arun(tagged(alias).look_up(entry), collect)
    except _NotYetError as made:
        return made.value


def _get_name(key: str) -> str:
    return get_safe_key(f"{_PREFIX}{get_safe_key(key)}")
