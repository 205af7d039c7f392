"""Caches that could not be told what is wrong in them.

A cache that is down keeps what it holds, perhaps, and gives it again when it is back. Whoever
could not drop something from it tries again in the background until it answers: then all that is
tagged there is dropped, and the keys that were to be dropped. Until then this process reads
nothing from it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Iterable

from django.core.cache import InvalidCacheBackendError, InvalidCacheKey, caches
from django.core.cache.backends.base import BaseCache
from django.core.signals import setting_changed
from django.db import connections

from django_signal_kit.cache.guard import guard, is_undecided
from django_signal_kit.cache.versions import EVERYTHING, get_version_key
from django_signal_kit.units.loggers import get_logger

logger = get_logger("django_signal_kit.cache")

_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 1.0
#: More keys than this are not remembered for one cache: what is tagged needs none.
_MAX_KEYS = 100_000

_lock = threading.Lock()
#: Alias of a cache -> the keys that could not be dropped from it.
_owed: dict[str, set[str]] = {}


def is_owed(alias: str) -> bool:
    """May the cache still hold what this process could not drop?"""
    return bool(_owed) and alias in _owed


def delete_many(
    alias: str, keys: Collection[str], report: Callable[[Exception], None] | None = None
) -> None:
    """Delete ``keys``. A cache that raises is asked again until it answers, and ``report`` is told
    what it raised; by default it is logged."""
    try:
        drop(caches[alias], keys)
    except Exception as error:
        owe(alias, keys)
        if report is None:
            logger.error(
                "The cache %r failed in delete_many(): %s",
                alias,
                type(error).__name__,
                exc_info=error,
                extra={"cache": alias, "count": len(keys), "error": type(error).__name__},
            )
        else:
            report(error)


def drop(cache: BaseCache, keys: Collection[str]) -> None:
    """Delete ``keys`` from ``cache``, which cannot hold those that it refuses. Raises what it
    raises else."""
    with guard(cache):
        try:
            cache.delete_many(keys)
        except InvalidCacheKey:
            cache.delete_many([key for key in keys if _is_taken(cache, key)])


def _is_taken(cache: BaseCache, key: str) -> bool:
    try:
        cache.make_and_validate_key(key)
    except InvalidCacheKey:
        return False
    return True


def insist(alias: str, keys: Iterable[str]) -> None:
    """``keys`` were dropped after a commit. If that was inside another transaction, of the
    database in which the cache is a table, they would be back if that is rolled back: they are
    dropped after it, too."""
    if is_undecided(caches[alias]):
        owe(alias, keys)


def owe(alias: str, keys: Iterable[str]) -> None:
    """``keys`` could not be dropped from the cache: try again until it answers."""
    with _lock:
        is_new = alias not in _owed
        owed = _owed.setdefault(alias, set())
        for key in keys:
            if len(owed) >= _MAX_KEYS:
                break
            owed.add(key)
    if is_new:
        _start(alias)


def _start(alias: str) -> None:
    name = f"signal_kit cache {alias}"
    threading.Thread(target=_settle, args=(alias,), name=name, daemon=True).start()


def _settle(alias: str) -> None:
    pause = _FIRST_PAUSE
    while True:
        with _lock:
            if alias not in _owed:
                return
            tried = [*_owed[alias], get_version_key(EVERYTHING)]
        try:
            cache = caches[alias]
            try:
                drop(cache, tried)
            finally:
                disconnect(cache)
                # Of a cache that is a table: one that broke is of no use, and nobody else would.
                connections.close_all()
        except InvalidCacheBackendError:
            # It was one of a test's settings.
            _forget(alias)
            return
        except Exception:
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            continue
        with _lock:
            owed = _owed.get(alias, set())
            owed.difference_update(tried)
            if owed:
                # Others have failed in the meantime.
                continue
            _owed.pop(alias, None)
        logger.warning(
            "The cache %r answers again; all that was tagged in it has been dropped.",
            alias,
            extra={"cache": alias},
        )
        return


def disconnect(cache: BaseCache) -> None:
    """Close what ``cache`` has open in this thread, which needs it no more. Django's own cache for
    Redis keeps its connections at ``close()``."""
    cache.close()
    pools = getattr(getattr(cache, "_cache", None), "_pools", None)
    for pool in pools.values() if isinstance(pools, dict) else ():
        pool.disconnect()


def _forget(alias: str) -> None:
    with _lock:
        _owed.pop(alias, None)


def _forget_all(*, setting: str, **kwargs: object) -> None:
    if setting == "CACHES":
        with _lock:
            _owed.clear()


def _go_on_in_child() -> None:
    """A process that was forked has what its parent owes, and not its threads."""
    global _lock
    _lock = threading.Lock()
    for alias in _owed:
        _start(alias)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_go_on_in_child)
setting_changed.connect(_forget_all, dispatch_uid="signal_kit:cache:recovery")
