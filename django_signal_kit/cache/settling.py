"""What comes when something stale has been dropped after its commit."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from django.core.cache import caches

from django_signal_kit.cache import purging, recovery
from django_signal_kit.cache.guard import is_undecided
from django_signal_kit.cache.stale import Late, list_dropped, part


def settle(aliases: Iterable[str], late: Collection[Late]) -> None:
    """``late`` has been dropped in the caches ``aliases`` after the commit: it stays so, and the
    edge, which is filled again from these, hears of it."""
    undecided = [alias for alias in aliases if is_undecided(caches[alias])] if late else ()
    if undecided:
        dropped = list_dropped(*part(one.stale for one in late))
        for alias in undecided:
            recovery.owe(alias, dropped)
    tags: dict[tuple[str, bool], list[str]] = {}
    for one, using, is_told in late:
        if isinstance(one, tuple):
            tags.setdefault((using, is_told), []).append(one[1])
    for (using, is_told), some in tags.items():
        purging.tell_fallen(some, using, is_told=is_told)
