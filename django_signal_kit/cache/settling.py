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
    by_using: dict[str, list[str]] = {}
    for one, using in late:
        if isinstance(one, tuple):
            by_using.setdefault(using, []).append(one[1])
    for using, tags in by_using.items():
        purging.tell_fallen(tags, using)
