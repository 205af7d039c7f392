"""Keys that are in the cache, and receivers that drop them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.cache import cache

from django_signal_kit.receivers import CacheInvalidation

TAGS = {
    "RECEIVER": "django_signal_kit.receivers.CacheInvalidation",
    "NAME": "Tags",
    "OPTIONS": {"models": ["testapp.Tag"], "keys": ["tag:{pk}"]},
}


class TagPages(CacheInvalidation):
    """Asks for other rows."""

    def get_keys(self, instance: Any) -> Iterator[str]:
        for tag in instance.tags.all():
            yield f"tag:{tag.pk}"


class ProductPages(TagPages):
    """Nobody hears of the links that end with a deleted product."""

    def get_keys(self, instance: Any) -> Iterator[str]:
        yield from super().get_keys(instance)
        yield from (f"product:{instance.pk}", f"slug:{instance.slug}:{instance.stock}")


def of(model: str, *keys: str, **options: Any) -> tuple[type[CacheInvalidation], dict[str, Any]]:
    return CacheInvalidation, {"models": [f"testapp.{model}"], "keys": list(keys), **options}


def fill(*keys: str) -> None:
    cache.set_many(dict.fromkeys(keys, "old"))


def left(*keys: str) -> list[str]:
    """Those of the keys that are still in the cache."""
    return [key for key in keys if cache.get(key) is not None]
