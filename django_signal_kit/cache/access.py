"""Calls of a cache that never raise: one that fails is logged, and as good as empty."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pickle import UnpicklingError
from typing import Any

from django.core.cache import caches

from django_signal_kit.cache import recovery
from django_signal_kit.cache.guard import guard
from django_signal_kit.units.loggers import get_logger

logger = get_logger("django_signal_kit.cache")

#: What reading raises for a value of which the class is gone, or which another release has stored.
_UNREADABLE = (AttributeError, EOFError, ImportError, UnpicklingError)


def get_many(alias: str, keys: Collection[str]) -> dict[str, Any] | None:
    """What is under ``keys``, or None if the cache cannot be asked or trusted."""
    if recovery.is_owed(alias):
        return None
    try:
        cache = caches[alias]
        with guard(cache):
            return cache.get_many(keys)
    except _UNREADABLE:
        return _get_readable(alias, keys)
    except Exception as error:
        _log(alias, "get_many", error)
        return None


def _get_readable(alias: str, keys: Collection[str]) -> dict[str, Any] | None:
    """What is under those of ``keys`` that can be read: the others are made anew, and stored."""
    found: dict[str, Any] = {}
    for key in keys:
        try:
            found |= caches[alias].get_many([key])
        except _UNREADABLE as error:
            logger.warning(
                "What the cache %r has under %r cannot be read: %s",
                alias,
                key,
                type(error).__name__,
                exc_info=error,
                extra={"cache": alias, "error": type(error).__name__},
            )
        except Exception as error:
            _log(alias, "get_many", error)
            return None
    return found


def set_many(alias: str, values: Mapping[str, Any], timeout: float | None) -> bool:
    """Store ``values``; False if the cache did not take them."""
    try:
        cache = caches[alias]
        with guard(cache):
            return not cache.set_many(values, timeout)  # type: ignore[arg-type]
    except Exception as error:
        _log(alias, "set_many", error)
        return False


def add(alias: str, key: str, timeout: float) -> bool:
    """Store something under ``key``; False if there is something already."""
    try:
        cache = caches[alias]
        with guard(cache):
            return cache.add(key, 1, timeout)
    except Exception as error:
        _log(alias, "add", error)
        return True


def delete(alias: str, key: str) -> None:
    """Delete ``key``, which nobody misses if it stays until it expires."""
    try:
        cache = caches[alias]
        with guard(cache):
            cache.delete(key)
    except Exception as error:
        _log(alias, "delete", error)


def _log(alias: str, name: str, error: Exception) -> None:
    logger.error(
        "The cache %r failed in %s(): %s",
        alias,
        name,
        type(error).__name__,
        exc_info=error,
        extra={"cache": alias, "error": type(error).__name__},
    )
