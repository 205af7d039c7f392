"""What one backend does and others do not: it refuses keys, drops what it likes, is a table."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connections, transaction

from django_signal_kit.cache import TaggedCache, recovery, tagged
from django_signal_kit.receivers import CacheInvalidation
from tests.apps.testapp.models import Product
from tests.cache.backends import DJANGO
from tests.cache.memcached_server import MemcachedServer
from tests.cache.redis_server import RedisServer
from tests.factories import ProductFactory
from tests.threads import in_threads

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

#: No cache takes all of these as keys.
ODD = [
    "línea",
    "with spaces",
    "x" * 300,
    "line\nbreak",
    "\x7f",
    "\x00",
    "日本" * 99,
    "%s {0} *?[a]",
]

MEGABYTE = 2**20
TAGS = int(os.environ.get("SIGNAL_KIT_CACHE_TAGS", "20000"))

EXPIRE_ALL = "for _, key in ipairs(redis.call('KEYS', '*')) do redis.call('PEXPIRE', key, 1) end"


@pytest.fixture
def product(wire: Any) -> Product:
    wire((CacheInvalidation, {"models": ["testapp.Product"], "tags": ["product:{pk}"]}))
    return ProductFactory(name="old")


def read_name(product: Product) -> str:
    return tagged().get_or_set(
        "name", lambda: Product.objects.get(pk=product.pk).name, tags=[f"product:{product.pk}"]
    )


def wait_until_settled() -> None:
    end = time.monotonic() + 30
    while recovery.is_owed("default"):
        assert time.monotonic() < end
        time.sleep(0.01)


# Keys


@pytest.mark.filterwarnings("error::django.core.cache.CacheKeyWarning")
def test_keys_and_tags_of_any_text_are_cached_and_dropped(by_backend: str) -> None:
    for name in ODD:
        assert tagged().get_or_set(name, lambda: "old", tags=[name]) == "old"
    pages = {name: [name] for name in ODD}
    assert [*tagged().get_many(pages)] == ODD
    for name in ODD:
        tagged().touch(name)
        assert tagged().get_or_set(name, lambda: "new", tags=[name]) == "new"
    tagged().touch(*ODD)
    assert tagged().get_many(pages) == {}


@pytest.mark.filterwarnings("ignore::django.core.cache.CacheKeyWarning")
def test_a_key_that_is_refused_keeps_no_other_from_being_dropped(
    by_backend: str, wire: Any
) -> None:
    wire((CacheInvalidation, {"models": ["testapp.Product"], "keys": ["odd:{name}", "p:{pk}"]}))
    product = ProductFactory(name="línea one")
    cache.set(f"p:{product.pk}", "old")
    tagged().get_or_set("odd:línea one", lambda: "old", tags=[])
    product.save()
    assert cache.get(f"p:{product.pk}") is None
    assert tagged().get_many({"odd:línea one": []}) == {}
    assert not recovery.is_owed("default")


# Values


def test_a_value_that_is_too_big_is_given_to_the_caller(by_backend: str) -> None:
    big = random.Random(1).randbytes(2 * MEGABYTE)
    for _ in range(2):
        assert tagged().get_or_set("big", lambda: big, tags=["a"]) == big
    tagged().touch("a")
    assert tagged().get_or_set("big", lambda: "small", tags=["a"]) == "small"
    assert tagged().get_or_set("big", lambda: "other", tags=["a"]) == "small"


def test_a_value_that_is_too_big_keeps_no_other_from_being_stored(by_backend: str) -> None:
    pages = {f"page:{n}": ["a"] for n in range(5)}
    values = dict.fromkeys(pages, "page")
    values["page:1"] = "x" * 2 * MEGABYTE
    tagged().set_many(values, tagged().get_many(pages))
    found = tagged().get_many(pages)
    assert {*pages} - {"page:1"} <= {*found}
    assert found.get("page:1") in (None, values["page:1"])


# What is thrown out


def test_what_the_cache_throws_out_makes_nothing_old_valid(by_backend: str) -> None:
    """Any key may go at any time. What each page shows is never older than the row."""
    chance = random.Random(7)
    now = dict.fromkeys("abc", 0)
    # Who makes a page asks for it again while he does.
    pages = TaggedCache(lock=0)
    keys = [*(f"page:{tag}" for tag in now), *(f"signal_kit:tag:{tag}" for tag in now)]

    def look(tag: str, during: Callable[[], object] = lambda: None) -> int:
        def make() -> int:
            number = now[tag]
            during()
            return number

        return pages.get_or_set(f"page:{tag}", make, tags=[tag], timeout=600)

    def write(tag: str) -> None:
        now[tag] += 1
        tagged().touch(tag)

    def disturb(tag: str, gone: list[str]) -> None:
        write(tag)
        cache.delete_many(gone)
        look(chance.choice("abc"))

    for _ in range(150):
        tag = chance.choice("abc")
        gone = chance.sample([*keys, "signal_kit:tag:"], chance.randint(0, 3))
        act = chance.choice(("read", "write", "drop", "late"))
        if act == "read":
            assert look(tag) == now[tag]
        elif act == "write":
            write(tag)
        elif act == "drop":
            cache.delete_many(gone)
        else:
            # Between what is read and what is stored anything may go, and come back.
            look(tag, partial(disturb, tag, gone))
        assert look(tag) == now[tag]


def test_a_cache_with_little_room_serves_nothing_old(settings: Any) -> None:
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "LOCATION": "little",
            "OPTIONS": {"MAX_ENTRIES": 12, "CULL_FREQUENCY": 2},
        }
    }
    write_and_read(400)


def test_a_server_with_little_room_serves_nothing_old(settings: Any) -> None:
    pytest.importorskip("pymemcache")
    server = MemcachedServer(megabytes=2)
    try:
        settings.CACHES = {
            "default": {
                "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
                "LOCATION": f"127.0.0.1:{server.port}",
            }
        }
        write_and_read(1000, "x" * 10_000)
        assert server.get_figure("evictions") > 100
    finally:
        recovery.disconnect(cache)
        server.kill()


def write_and_read(times: int, filling: str = "") -> None:
    chance = random.Random(3)
    now = dict.fromkeys(range(20), 0)
    for _ in range(times):
        n = chance.randrange(20)
        if chance.random() < 0.3:
            now[n] += 1
            tagged().touch(f"row:{n}")
        value = tagged().get_or_set(
            f"page:{n}", lambda n=n: (now[n], filling), tags=[f"row:{n}", "rows"], timeout=600
        )
        assert value == (now[n], filling)
        if filling:
            cache.set(f"other:{chance.random()}", filling)


# What stays


def test_tags_are_gone_from_the_server_when_they_have_expired(
    settings: Any, tmp_path: Any
) -> None:
    server = RedisServer(tmp_path, durable=False)
    try:
        place = f"redis://127.0.0.1:{server.port}"
        settings.CACHES = {"default": {"BACKEND": f"{DJANGO}.redis.RedisCache", "LOCATION": place}}
        client = cache._cache.get_client()  # type: ignore[attr-defined]
        client.config_set("active-expire-effort", 10)
        empty = client.info("memory")["used_memory"]
        for start in range(0, TAGS, 1000):
            tags = {f"page:{n}": [f"row:{n}"] for n in range(start, start + 1000)}
            found = tagged().get_many(tags, timeout=600)
            tagged().set_many(dict.fromkeys(found.missing, "page"), found)
        filled = client.info("memory")["used_memory"]
        assert filled > empty + TAGS * 100
        # What is touched goes at once, and its page when it expires.
        for start in range(0, TAGS // 2, 1000):
            tagged().touch(*(f"row:{n}" for n in range(start, start + 1000)))
        keys = client.info("keyspace")["db0"]
        assert keys["expires"] == keys["keys"] == TAGS + TAGS // 2 + 1
        # No need to wait for what is known to come.
        client.eval(EXPIRE_ALL, 0)
        end = time.monotonic() + 60
        while client.dbsize():
            assert time.monotonic() < end
            time.sleep(0.01)
        left = client.info("memory")["used_memory"]
        print(f"{TAGS:,} tags: {empty:,} bytes before, {filled:,} full, {left:,} after")
        assert left < empty + MEGABYTE
    finally:
        recovery.disconnect(cache)
        server.kill()


# A cache that is a table


def test_what_is_rolled_back_takes_what_was_stored_along_and_no_more(
    by_backend: str, product: Product
) -> None:
    assert read_name(product) == "old"
    with transaction.atomic():
        product.name = "new"
        product.save()
        assert read_name(product) == "new"
        tagged().get_or_set("other", lambda: "other", tags=["other"])
        transaction.set_rollback(True)
    assert read_name(product) == "old"
    assert in_threads(lambda: read_name(product)) == ["old"]
    assert tagged().get_or_set("other", lambda: "again", tags=["other"]) in ("other", "again")


def test_what_a_transaction_has_read_before_another_wrote_is_not_served_after_both(
    by_backend: str, product: Product
) -> None:
    """Versions that it made itself, in its transaction, nobody could see, nor touch."""

    def write() -> None:
        Product.objects.filter(pk=product.pk).update(name="new")

    def make() -> str:
        name = Product.objects.get(pk=product.pk).name
        if connections["default"].vendor != "sqlite":
            in_threads(write)
        return name

    with transaction.atomic():
        tagged().get_or_set("name", make, tags=[f"product:{product.pk}"])
        found = tagged().get_many({"many": [f"product:{product.pk}"]})
        tagged().set_many({"many": make()}, found)
    if connections["default"].vendor == "sqlite":
        write()
    assert read_name(product) == "new"
    assert tagged().get_many({"many": [f"product:{product.pk}"]}) == {}


@pytest.mark.parametrize("how", ["save", "update", "touch", "touch in atomic"])
def test_a_tag_stays_touched_if_the_database_of_the_cache_rolls_back(
    by_backend: str, product: Product, how: str
) -> None:
    assert read_name(product) == "old"
    with transaction.atomic(using="other"):
        product.name = "new"
        if how == "save":
            product.save()
        elif how == "update":
            with transaction.atomic():
                Product.objects.filter(pk=product.pk).update(name="new")
        else:
            with transaction.atomic() if how == "touch in atomic" else transaction.atomic("other"):
                # No receiver hears it.
                with connections["default"].cursor() as cursor:
                    cursor.execute(
                        "UPDATE testapp_product SET name = 'new' WHERE id = %s", [product.pk]
                    )
                tagged().touch(f"product:{product.pk}")
        assert read_name(product) == "new"
        transaction.set_rollback(True, using="other")
    assert read_name(product) == "new"
    assert in_threads(lambda: read_name(product)) == ["new"]
    wait_until_settled()
    assert read_name(product) == "new"
