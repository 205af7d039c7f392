"""What is stale waits for the end of the unit of work, and for the commit."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import connections

from django_signal_kit.cache import own_writes
from django_signal_kit.cache.stale import WAITING, Early, Late, Stale, Start
from django_signal_kit.receiver import Receiver


def collect(receiver: Receiver, stale: Iterable[Stale], using: str) -> None:
    """In a transaction ``stale`` is dropped when the unit of work ends, and after the commit."""
    is_open = connections[using].in_atomic_block
    for one in stale:
        _collect_one(receiver, one, using)
        if is_open:
            receiver.collect(Early(one, using), key=one, flush_on="before_commit", using=using)


def collect_again(receiver: Receiver, stale: Iterable[Stale], using: str) -> None:
    """``stale`` is dropped in a transaction, and once more after its commit."""
    for one in stale:
        _collect_one(receiver, one, using)


def _collect_one(receiver: Receiver, one: Stale, using: str) -> None:
    is_tag = isinstance(one, tuple)
    if is_tag:
        own_writes.touching.add(receiver)
    if is_tag or receiver.flush_on == "after_commit":
        # Tags even if keys are deleted before the commit: until then others read the old row.
        receiver.collect(Late(one, using), key=one, flush_on="after_commit", using=using)
    else:
        receiver.collect(one, key=one, using=using)


def collect_starts(receiver: Receiver, starts: Iterable[Start], using: str) -> None:
    """``starts`` are followed when the unit of work ends, all at once."""
    is_open = connections[using].in_atomic_block
    for start in starts:
        if is_open:
            own_writes.touching.add(receiver)
            receiver.collect(None, key=WAITING, flush_on="before_commit", using=using)
            receiver.collect(start, key=start, flush_on="before_commit", using=using)
        else:
            receiver.collect(start, key=start, flush_on="after_commit", using=using)
