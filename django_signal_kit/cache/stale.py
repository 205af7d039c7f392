"""What a change made wrong: keys to delete, and tags to touch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple, TypeAlias

#: A key to delete, or ``("tag", name)`` of a tag to touch.
Stale: TypeAlias = str | tuple[Literal["tag"], str]


class Early(NamedTuple):
    """What is stale when the unit of work ends, before the commit."""

    stale: Stale
    using: str


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
