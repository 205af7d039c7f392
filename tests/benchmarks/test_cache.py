"""What tags cost: a look-up beside a plain one, a write beside a bare one, on a Redis of its own.

Round trips are counted where the client sends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from redis.connection import Connection

from django_signal_kit import batch, muted
from django_signal_kit.cache import tagged
from django_signal_kit.receivers import CacheInvalidation
from tests.apps.testapp.models import Product
from tests.benchmarks.interleave import compare, show
from tests.cache.redis_server import serve_redis
from tests.factories import ProductFactory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def redis(tmp_path: Path, settings: Any) -> Iterator[None]:
    with serve_redis(settings, tmp_path):
        yield


@pytest.fixture
def count(monkeypatch: Any) -> Callable[[Callable[[], object]], int]:
    """How many round trips a call makes."""
    sent: list[int] = []
    send = Connection.send_packed_command

    def note(self: Any, command: Any, check_health: bool = True) -> None:
        sent.append(1)
        send(self, command, check_health)

    monkeypatch.setattr(Connection, "send_packed_command", note)

    def run(function: Callable[[], object]) -> int:
        function()
        sent.clear()
        function()
        return len(sent)

    return run


def test_a_hit(count: Any) -> None:
    cache.set("plain", "page" * 100, 600)
    made: list[int] = []

    def make() -> str:
        made.append(1)
        return "page" * 100

    def look() -> str:
        return tagged().get_or_set("tagged", make, tags=["product:1", "products"], timeout=600)

    trips = count(look)
    result = compare({"cache.get()": lambda: cache.get("plain"), "get_or_set(), 2 tags": look})
    show(f"A hit, {trips} round trip", result)
    assert look() == cache.get("plain")
    assert made == [1]
    assert trips == 1


def test_forty_fragments(count: Any) -> None:
    tags = {f"card:{n}": [f"product:{n}", "products"] for n in range(40)}
    cache.set_many(dict.fromkeys(tags, "card" * 100), 600)
    plain = list(tags)
    tags = {f"tagged:{key}": value for key, value in tags.items()}
    found = tagged().get_many(tags, timeout=600)
    tagged().set_many(dict.fromkeys(found.missing, "card" * 100), found)

    def look() -> Any:
        return tagged().get_many(tags, timeout=600)

    trips = count(look)
    show(
        f"40 fragments, {trips} round trip",
        compare({"cache.get_many()": lambda: cache.get_many(plain), "get_many(), 2 tags": look}),
    )
    assert len(look()) == 40
    assert trips == 1


def test_a_save(wire: Any, count: Any) -> None:
    wire((CacheInvalidation, {"models": ["testapp.Product"], "tags": ["product:{pk}"]}))
    product = ProductFactory()

    def save() -> None:
        product.stock += 1
        product.save()

    trips = count(save)
    result = compare(
        {
            "bare": (muted("CacheInvalidation"), save),
            "with tags": save,
            "one delete_many()": lambda: cache.delete_many(["a"]),
        },
        number=100,
    )
    show(f"A save, {trips} round trip", result)
    left = result.medians["with tags"] - result.medians["one delete_many()"]
    print(f"  without the round trip {left / result.medians['bare']:.3f} times")
    product.refresh_from_db()
    assert product.stock > 100
    assert trips == 1


def test_a_thousand_saves(wire: Any, count: Any) -> None:
    options = {"models": ["testapp.Product"], "tags": ["product:{pk}", "products"]}
    wire((CacheInvalidation, {**options, "keys": ["page:{pk}"]}))
    products = [ProductFactory() for _ in range(1000)]
    keys = {f"page:{product.pk}": [f"product:{product.pk}"] for product in products}

    def save_all() -> None:
        with batch():
            for product in products:
                product.save()

    found = tagged().get_many(keys, timeout=600)
    tagged().set_many(dict.fromkeys(found.missing, "page"), found)
    trips = count(save_all)
    print(f"\n1,000 saves in one batch(): {trips} round trips")
    assert not tagged().get_many(keys, timeout=600)
    assert trips <= 4


def test_memory_of_a_hundred_thousand_tags() -> None:
    """Keys are there as long as versions are, and no longer; what writes touch leaves none."""
    client = cache._cache.get_client()  # type: ignore[attr-defined]
    before = client.info("memory")["used_memory"]
    for start in range(0, 100_000, 1000):
        tags = {f"page:{n}": [f"product:{n}"] for n in range(start, start + 1000)}
        found = tagged().get_many(tags, timeout=600)
        tagged().set_many(dict.fromkeys(found.missing, "page"), found)
    used = client.info("memory")["used_memory"] - before
    keys = [key for key in client.scan_iter(count=10_000) if b"signal_kit:tag:product" in key]
    print(f"\n100,000 tags with a value each: {used / 100_000:.0f} bytes a tag and value")
    assert len(keys) == 100_000
    assert all(0 < client.ttl(key) <= 3600 for key in keys[:100])
    for start in range(0, 100_000, 1000):
        tagged().touch(*(f"product:{n}" for n in range(start, start + 1000)))
    assert not [key for key in client.scan_iter(count=10_000) if b"tag:product" in key]
    assert Product.objects.count() == 0
