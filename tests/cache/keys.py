"""Keys that are in the cache, and receivers that drop them."""

from __future__ import annotations

from typing import Any

from django.core.cache import cache

from django_signal_kit.receivers import CacheInvalidation


def of(model: str, *keys: str, **options: Any) -> tuple[type[CacheInvalidation], dict[str, Any]]:
    return CacheInvalidation, {"models": [f"testapp.{model}"], "keys": list(keys), **options}


def fill(*keys: str) -> None:
    cache.set_many(dict.fromkeys(keys, "old"))


def left(*keys: str) -> list[str]:
    """Those of the keys that are still in the cache."""
    return [key for key in keys if cache.get(key) is not None]
