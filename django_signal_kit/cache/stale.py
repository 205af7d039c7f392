"""What a change made wrong: keys to delete, and tags to touch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, TypeAlias

from django.db import connections

from django_signal_kit.cache.versions import get_safe_key, get_version_key

#: A key to delete, or ``("tag", name)`` of a tag to touch.
Stale: TypeAlias = str | tuple[Literal["tag"], str]

#: Under this key waits, in a unit of work, that tags are to be touched which nobody knows yet.
WAITING = "signal_kit:waiting"


class Early(NamedTuple):
    """What is stale when the unit of work ends, before the commit."""

    stale: Stale
    using: str


class Late(NamedTuple):
    """What is stale after the commit, and in which database that is. ``is_told``: those have been
    told in its transaction who purge in a task that this keeps."""

    stale: Stale
    using: str
    is_told: bool = False


class Start(NamedTuple):
    """A row from which relations are to be followed, to rows whose tags are to be touched."""

    model: type[Any]
    key: Any
    path: str
    end: type[Any]
    using: str


def list_dropped(keys: Iterable[str], tags: Iterable[str]) -> list[str]:
    """All that has to be deleted: a key by the name too under which a tagged value has it."""
    names = dict.fromkeys(name for key in keys for name in (key, get_safe_key(key)))
    return [*names, *map(get_version_key, tags)]


def part(stale: Iterable[Stale]) -> tuple[list[str], list[str]]:
    """The keys and the tags of ``stale``."""
    keys: list[str] = []
    tags: list[str] = []
    for one in stale:
        if isinstance(one, tuple):
            tags.append(one[1])
        else:
            keys.append(one)
    return keys, tags


def part_items(items: Iterable[Any]) -> tuple[list[Stale], list[Late], list[Start]]:
    """What is stale before a commit of what has been collected, what is after it, and what is
    still to be followed."""
    stale: list[Stale] = []
    late: list[Late] = []
    starts: list[Start] = []
    for item in items:
        if isinstance(item, Late):
            late.append(item)
        elif isinstance(item, Start):
            starts.append(item)
        elif isinstance(item, Early):
            # Where the transaction was Django's own, round one deletion, it has ended already, and
            # with it all has been done that was to be done after it.
            if connections[item.using].in_atomic_block:
                stale.append(item.stale)
        elif item is not None:
            stale.append(item)
    return stale, late, starts
