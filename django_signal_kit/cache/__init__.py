"""What a change made wrong is dropped from the cache, and what is cached knows its tags.

from django_signal_kit.cache import cached, tagged
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from django_signal_kit.cache.counters import Counted, get_counters
from django_signal_kit.cache.decorators import cached
from django_signal_kit.cache.gathering import CollectedTags, note_tags
from django_signal_kit.cache.tagged import Found, TaggedCache, tagged
from django_signal_kit.cache.views import cache_view

if TYPE_CHECKING:
    from django_signal_kit.cache.collecting import collect_tags as collect_tags
    from django_signal_kit.cache.edge import CacheTagHeaders as CacheTagHeaders
    from django_signal_kit.cache.http_purge import HTTPPurge as HTTPPurge
    from django_signal_kit.cache.purging import Purge as Purge

__all__ = [
    "CacheTagHeaders",
    "CollectedTags",
    "Counted",
    "Found",
    "HTTPPurge",
    "Purge",
    "TaggedCache",
    "cache_view",
    "cached",
    "collect_tags",
    "get_counters",
    "note_tags",
    "tagged",
]

# What not everybody needs, imported when first used.
_ROOMS = {
    "CacheTagHeaders": "edge",
    "HTTPPurge": "http_purge",
    "Purge": "purging",
    "collect_tags": "collecting",
}


def __getattr__(name: str) -> Any:
    try:
        room = _ROOMS[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return getattr(import_module(f"{__name__}.{room}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
