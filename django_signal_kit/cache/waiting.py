"""What is stale waits for the end of the unit of work, and for the commit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from django.db import connections

from django_signal_kit.cache import own_writes, purging
from django_signal_kit.cache.stale import WAITING, Early, Late, Stale, Start

if TYPE_CHECKING:
    from django_signal_kit.cache.cache_invalidation import CacheInvalidation


def collect(receiver: CacheInvalidation, stale: Iterable[Stale], using: str) -> None:
    """In a transaction ``stale`` is dropped when the unit of work ends, and after the commit."""
    stale = list(stale)
    collect_again(receiver, stale, using)
    if connections[using].in_atomic_block:
        for one in stale:
            receiver.collect(Early(one, using), key=one, flush_on="before_commit", using=using)


def collect_again(receiver: CacheInvalidation, stale: Iterable[Stale], using: str) -> None:
    """``stale`` is dropped in a transaction, and once more after its commit."""
    is_open = connections[using].in_atomic_block
    tags = []
    for one in stale:
        is_tag = isinstance(one, tuple)
        if isinstance(one, tuple):
            tags.append(one[1])
        if is_tag or receiver.flush_on == "after_commit":
            # Tags even if keys are deleted before the commit: until then others read the old row.
            late = Late(one, using, is_open)
            receiver.collect(late, key=one, flush_on="after_commit", using=using)
        else:
            receiver.collect(one, key=one, using=using)
    if tags:
        own_writes.touching.add(receiver)
        if is_open:
            purging.tell_falling(tags, receiver.caches, using)


def collect_starts(receiver: CacheInvalidation, starts: Iterable[Start], using: str) -> None:
    """``starts`` are followed when the unit of work ends, all at once."""
    is_open = connections[using].in_atomic_block
    for start in starts:
        if is_open:
            own_writes.touching.add(receiver)
            receiver.collect(None, key=WAITING, flush_on="before_commit", using=using)
            receiver.collect(start, key=start, flush_on="before_commit", using=using)
        else:
            receiver.collect(start, key=start, flush_on="after_commit", using=using)
