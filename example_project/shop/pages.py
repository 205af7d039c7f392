"""Looks at every page of the shop, as a visitor would."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.test import Client, override_settings
from django.urls import reverse

from shop.models import Category, Product, Tag

NO_CACHE = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}


def get_paths() -> list[str]:
    rows = (*Category.objects.all(), *Tag.objects.all(), *Product.objects.all())
    return [reverse("front"), reverse("products"), *(row.get_absolute_url() for row in rows)]


def visit(paths: list[str]) -> Iterator[str]:
    client = Client(headers={"host": "localhost"})
    for path in paths:
        response = client.get(path)
        if response.status_code != 200:
            raise RuntimeError(f"{path} answers {response.status_code}.")
        yield response.content.decode()


def find_stale(paths: list[str]) -> Iterator[bool]:
    """For each page: does it show anything else than it does with the cache turned off?"""
    cached = visit(paths)
    fresh = visit(paths)
    for page in cached:
        with override_settings(CACHES=NO_CACHE):
            yield next(fresh) != page


def get_cached() -> set[str]:
    """Names of the files in which the cache keeps what it holds."""
    return {path.name for path in Path(settings.CACHES["default"]["LOCATION"]).glob("*.djcache")}
