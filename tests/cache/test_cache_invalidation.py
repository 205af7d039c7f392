"""What a change made wrong is gone from the cache: at once, and again after the commit."""

from __future__ import annotations

import logging
import os
import socket
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import cache, caches
from django.core.cache.backends.locmem import LocMemCache
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, connection, transaction
from django.db.models import F
from django.db.models.signals import post_save
from django.test.utils import CaptureQueriesContext

from django_signal_kit import batch
from django_signal_kit.receivers import AuditLog, CacheInvalidation
from tests.apps.testapp.models import (
    Category,
    Line,
    Note,
    Place,
    Product,
    ProductProxy,
    Token,
)
from tests.cache.keys import TAGS, TagPages, fill, left, of
from tests.factories import (
    CategoryFactory,
    ProductFactory,
    RestaurantFactory,
    TagFactory,
)
from tests.threads import in_threads

pytestmark = pytest.mark.django_db(transaction=True)

LOCMEM = "django.core.cache.backends.locmem.LocMemCache"


class RecordingCache(LocMemCache):
    """Remembers what it was told to delete, and whether a transaction was open then."""

    calls: list[tuple[str, list[str]]] = []

    def delete_many(self, keys: Any, version: Any = None) -> None:
        when = "inside" if connection.in_atomic_block else "after"
        self.calls.append((when, sorted(keys)))
        super().delete_many(keys, version)


class Pages(CacheInvalidation):
    """Adds to the keys of the option."""

    def get_keys(self, instance: Any) -> Iterator[str]:
        yield from super().get_keys(instance)
        yield f"page:{instance.name}:{instance.stock}"


class NoPages(CacheInvalidation):
    """Invalidates in a way of its own."""

    seen: list[str] = []

    def invalidate(self, keys: Any, tags: Any) -> None:
        self.seen.extend(keys)


@pytest.fixture
def calls(settings: Any) -> list[tuple[str, list[str]]]:
    """Each ``delete_many`` of the default cache: when, and which keys."""
    settings.CACHES = {
        "default": {"BACKEND": f"{__name__}.RecordingCache", "LOCATION": "recorded"},
        "second": {"BACKEND": LOCMEM, "LOCATION": "second"},
    }
    RecordingCache.calls.clear()
    return RecordingCache.calls


# Which keys


def test_keys_of_a_new_row_are_dropped(wire: Any) -> None:
    wire(of("Product", "slug:{slug}", "products"))
    fill("slug:saw", "products", "slug:other")
    ProductFactory(slug="saw")
    assert left("slug:saw", "products", "slug:other") == ["slug:other"]


def test_keys_are_rendered_with_the_old_and_the_new_values_of_an_update(wire: Any) -> None:
    # In another order than the columns have.
    wire(of("Product", "c:{category_id}:s:{slug}", "n:{name}:p:{pk}", "i:{id}"))
    one, two = CategoryFactory(), CategoryFactory()
    product = ProductFactory(category=one, slug="old", name="Old")
    keys = [
        f"c:{one.pk}:s:old",
        f"c:{two.pk}:s:new",
        f"n:Old:p:{product.pk}",
        f"n:New:p:{product.pk}",
        f"i:{product.pk}",
    ]
    fill(*keys, "c:None:s:old")
    product.category, product.slug, product.name = two, "new", "New"
    product.save()
    assert left(*keys, "c:None:s:old") == ["c:None:s:old"]


def test_what_update_fields_leaves_out_is_as_it_was(wire: Any) -> None:
    wire(of("Product", "c:{stock}:s:{slug}"))
    product = ProductFactory(slug="old", stock=1)
    fill("c:1:s:old", "c:1:s:new")
    product.slug, product.stock = "new", 2
    product.save(update_fields=["slug"])
    assert left("c:1:s:old", "c:1:s:new") == []


def test_update_fields_may_name_a_foreign_key_by_its_column(wire: Any) -> None:
    wire(of("Product", "c:{category_id}"))
    one, two = CategoryFactory(), CategoryFactory()
    product = ProductFactory(category=one)
    fill(f"c:{one.pk}", f"c:{two.pk}")
    product.category = two
    product.save(update_fields=["category_id"])
    assert left(f"c:{one.pk}", f"c:{two.pk}") == []


def test_a_deferred_row_costs_no_query_but_the_one_for_the_old_values(wire: Any) -> None:
    wire(of("Product", "c:{stock}:s:{slug}"))
    pk = ProductFactory(slug="old", stock=1).pk
    product = Product.objects.only("slug").get(pk=pk)
    fill("c:1:s:old", "c:1:s:new")
    product.slug = "new"
    with CaptureQueriesContext(connection) as queries:
        product.save()
    assert [query["sql"].split()[0] for query in queries] == ["SELECT", "UPDATE"]
    assert left("c:1:s:old", "c:1:s:new") == []


def test_the_value_that_the_database_computed_counts(wire: Any) -> None:
    wire(of("Product", "stock:{stock}"))
    product = ProductFactory(stock=1)
    fill("stock:1", "stock:2")
    product.stock = F("stock") + 1
    product.save()
    assert left("stock:1", "stock:2") == []


def test_a_column_that_the_database_generates_counts(wire: Any) -> None:
    wire(of("Note", "length:{length}"))
    note = Note.objects.create(text="four")
    fill("length:4", "length:5")
    note.text = "fiver"
    note.save(update_fields=["text"])
    assert left("length:4", "length:5") == []


def test_an_expression_that_is_not_saved_does_no_harm(wire: Any) -> None:
    wire(of("Product", "stock:{stock}:{name}"))
    product = ProductFactory(stock=1, name="a")
    fill("stock:1:a", "stock:1:b")
    product.stock, product.name = F("stock") + 1, "b"
    product.save(update_fields=["name"])
    assert left("stock:1:a", "stock:1:b") == []


def test_a_value_that_nobody_converted_yet_reads_as_in_the_database(wire: Any) -> None:
    wire(of("Product", "price:{price}"), of_token())
    product = ProductFactory(price="9")
    fill("price:9.00", "price:12.50")
    product.price = "12.5"
    product.save()
    assert left("price:9.00", "price:12.50") == []
    assert product.price == "12.5"
    key = uuid.uuid4()
    fill(f"token:{key}")
    token = Token(pk=key.hex)
    token.save(force_insert=True)
    assert left(f"token:{key}") == []
    fill(f"token:{key}")
    token.save(update_fields=["name"])
    assert left(f"token:{key}") == []


def of_token() -> Any:
    return {
        "RECEIVER": "django_signal_kit.receivers.CacheInvalidation",
        "NAME": "Tokens",
        "OPTIONS": {"models": ["testapp.Token"], "keys": ["token:{pk}"]},
    }


def test_a_stale_instance_drops_what_the_database_held(wire: Any) -> None:
    wire(of("Product", "slug:{slug}"))
    stale = ProductFactory(slug="a")
    Product.objects.filter(pk=stale.pk).update(slug="b")
    fill("slug:a", "slug:b", "slug:c")
    stale.slug = "c"
    stale.save()
    assert left("slug:a", "slug:b", "slug:c") == ["slug:a"]


def test_keys_of_a_deleted_row_are_dropped_as_the_database_held_it(wire: Any) -> None:
    wire(of("Product", "slug:{slug}"))
    stale = ProductFactory(slug="a")
    Product.objects.filter(pk=stale.pk).update(slug="b")
    fill("slug:b")
    stale.delete()
    assert left("slug:b") == []


def test_a_deferred_row_can_be_deleted(wire: Any) -> None:
    wire(of("Product", "slug:{slug}"))
    ProductFactory(slug="a")
    fill("slug:a")
    Product.objects.only("pk").get().delete()
    assert left("slug:a") == []


@pytest.mark.parametrize("keys", [["line:{pk}"], ["line:{text}"]])
def test_rows_deleted_by_a_cascade_and_by_a_queryset_are_heard(wire: Any, keys: Any) -> None:
    wire(of("Line", *keys))
    product = ProductFactory()
    lines = [Line.objects.create(product=product, text=str(n)) for n in range(3)]
    wanted = [keys[0].format(pk=line.pk, text=line.text) for line in lines]
    fill(*wanted)
    lines[0].delete()
    assert left(*wanted) == wanted[1:]
    Line.objects.filter(pk=lines[1].pk).delete()
    assert left(*wanted) == wanted[2:]
    product.delete()
    assert left(*wanted) == []


def test_a_key_may_be_made_of_rows_that_a_deletion_takes_along(wire: Any) -> None:
    wire((TagPages, {"models": ["testapp.Product"]}))
    product, tag = ProductFactory(), TagFactory()
    product.tags.add(tag)
    fill(f"tag:{tag.pk}")
    product.delete()
    assert left(f"tag:{tag.pk}") == []


def test_proxies_and_multi_table_children_are_covered(wire: Any) -> None:
    wire(
        (CacheInvalidation, {"models": [Product, Place], "keys": ["row:{pk}:{name}"]}),
    )
    product, restaurant = ProductFactory(name="a"), RestaurantFactory(name="a")
    keys = [f"row:{product.pk}:a", f"row:{product.pk}:b"]
    fill(*keys)
    proxy = ProductProxy.objects.get()
    proxy.name = "b"
    proxy.save()
    assert left(*keys) == []
    keys = [f"row:{restaurant.pk}:a", f"row:{restaurant.pk}:b"]
    fill(*keys)
    restaurant.name = "b"
    restaurant.save(update_fields=["name"])
    assert left(*keys) == []
    fill(*keys)
    restaurant.delete()
    assert left(*keys) == keys[:1]


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_rows_of_another_database_are_heard_there(wire: Any) -> None:
    wire(of("Category", "category:{name}"))
    category = Category(name="a")
    category.save(using="other")
    fill("category:a", "category:b")
    with transaction.atomic():
        with transaction.atomic(using="other"):
            category.name = "b"
            category.save()
            fill("category:a")
        assert left("category:a", "category:b") == []
    fill("category:b")
    category.delete()
    assert left("category:b") == []


# When


def test_in_a_transaction_keys_are_dropped_at_once_and_again_after_the_commit(
    calls: Any, wire: Any
) -> None:
    wire(of("Product", "product:{pk}"))
    product = ProductFactory()
    calls.clear()
    keys = [f"product:{product.pk}"]
    with transaction.atomic():
        product.save()
        assert calls == [("inside", keys)]
        product.save()
    assert calls == [("inside", keys), ("inside", keys), ("after", keys)]


def test_the_writer_reads_what_he_wrote(wire: Any) -> None:
    wire(of("Product", "product:{pk}"))
    product = ProductFactory(name="old")
    key = f"product:{product.pk}"
    fill(key)
    with transaction.atomic():
        product.name = "new"
        product.save()
        assert cache.get_or_set(key, lambda: Product.objects.get().name) == "new"


def test_who_hears_the_same_save_later_does_not_find_the_old_page(wire: Any) -> None:
    wire(of("Product", "product:{pk}:{name}"))
    product = ProductFactory(name="a")
    found: list[Any] = []

    def look(instance: Any, **kwargs: Any) -> None:
        found.append(left(f"product:{instance.pk}:a", f"product:{instance.pk}:b"))

    post_save.connect(look, sender=Product)
    try:
        for name in "ba":
            fill(f"product:{product.pk}:a", f"product:{product.pk}:b")
            product.name = name
            if name == "b":
                product.save()
            else:
                with transaction.atomic():
                    product.save()
        assert found == [[], []]
    finally:
        post_save.disconnect(look, sender=Product)


def test_what_was_written_counts_and_not_what_others_have_made_of_it_since(wire: Any) -> None:
    def rename(instance: Any, **kwargs: Any) -> None:
        instance.name = "in memory"

    wire()
    post_save.connect(rename, sender=Product)
    try:
        wire(of("Product", "product:{name}"))
        product = ProductFactory(name="a")
        product.name = "b"
        fill("product:a", "product:b")
        product.save()
        assert left("product:a", "product:b") == []
        with transaction.atomic():
            product.name = "c"
            fill("product:b", "product:c")
            product.save(update_fields=["name"])
        assert left("product:b", "product:c") == []
    finally:
        post_save.disconnect(rename, sender=Product)


def test_what_a_reader_stored_between_the_write_and_the_commit_does_not_stay(wire: Any) -> None:
    wire(of("Product", "product:{pk}"))
    product = ProductFactory(name="old")
    key = f"product:{product.pk}"
    fill(key)
    with transaction.atomic():
        product.name = "new"
        product.save()
        [read] = in_threads(lambda: cache.get_or_set(key, lambda: Product.objects.get().name))
        assert read == "old"
        assert cache.get(key) == "old"
    assert cache.get(key) is None


@pytest.mark.parametrize("also", [[], [(AuditLog, {"models": ["testapp.*"]})]])
def test_a_write_in_autocommit_drops_its_keys_once_all_is_committed(
    calls: Any, wire: Any, also: Any
) -> None:
    wire(of("Product", "product:{pk}"), *also)
    product, tag = ProductFactory(), TagFactory()
    keys = [f"product:{product.pk}"]

    def write_and_look(write: Callable[[], Any]) -> None:
        calls.clear()
        write()
        assert calls[-1] == ("after", keys)
        assert sum(when == "after" for when, _ in calls) == 1
        assert also or len(calls) == 1

    write_and_look(product.save)
    write_and_look(lambda: product.tags.add(tag))
    write_and_look(product.tags.clear)
    write_and_look(product.delete)


def test_a_batch_of_fifty_saves_is_one_deletion_at_its_end_and_one_after_it(
    calls: Any, wire: Any
) -> None:
    wire(of("Product", "product:{pk}", "products"))
    with batch():
        products = [ProductFactory() for _ in range(50)]
        assert calls == []
    keys = sorted(["products", *(f"product:{product.pk}" for product in products)])
    assert calls == [("inside", keys), ("after", keys)]


def test_deleting_a_queryset_is_one_deletion(calls: Any, wire: Any) -> None:
    wire(of("Product", "product:{pk}"))
    keys = sorted(f"product:{ProductFactory().pk}" for _ in range(20))
    calls.clear()
    Product.objects.all().delete()
    assert calls == [("after", keys)]


@pytest.mark.parametrize(
    "write",
    [
        lambda products: Product.objects.bulk_update(products, ["name"]),
        lambda products: Product.objects.update(name="new"),
        lambda products: Product.objects.bulk_create([Product(name="new") for _ in products]),
    ],
    ids=["bulk_update", "update", "bulk_create"],
)
def test_a_bulk_write_is_one_deletion_at_its_end_and_one_after_the_commit(
    calls: Any, wire: Any, write: Any
) -> None:
    wire(of("Product", "product:{pk}", "stock:{stock}"))
    products = [ProductFactory() for _ in range(5)]
    calls.clear()
    write(products)
    assert [when for when, _ in calls] == ["after"]
    calls.clear()
    with transaction.atomic():
        write(products)
    assert [when for when, _ in calls] == ["inside", "after"]


def test_after_a_rollback_nothing_is_dropped(calls: Any, wire: Any) -> None:
    wire(of("Product", "product:{pk}"))
    product = ProductFactory()
    calls.clear()
    with transaction.atomic():
        product.save()
        product.tags.add(TagFactory())
        transaction.set_rollback(True)
    assert [when for when, _ in calls] == ["inside", "inside"]
    calls.clear()
    CategoryFactory()
    with transaction.atomic():
        pass
    assert calls == []


def test_after_a_write_that_failed_nothing_is_dropped(calls: Any, wire: Any) -> None:
    wire(of("Product", "product:{pk}"))
    product = ProductFactory()
    calls.clear()
    with pytest.raises(IntegrityError):
        Product(pk=product.pk).save(force_insert=True)
    assert calls == []


def test_what_a_savepoint_rolled_back_is_not_dropped_after_the_commit(
    calls: Any, wire: Any
) -> None:
    wire(of("Product", "product:{pk}"))
    kept, undone = ProductFactory(), ProductFactory()
    calls.clear()
    with transaction.atomic():
        kept.save()
        with transaction.atomic():
            undone.save()
            transaction.set_rollback(True)
    assert calls[-1] == ("after", [f"product:{kept.pk}"])
    assert len(calls) == 3


def test_a_receiver_that_flushes_before_the_commit_deletes_only_then(
    calls: Any, wire: Any
) -> None:
    wire(of("Product", "product:{pk}", flush_on="before_commit"))
    ProductFactory()
    assert [when for when, _ in calls] == ["inside"]


# What it costs


def test_keys_of_nothing_but_the_primary_key_cost_no_query(wire: Any) -> None:
    product, tag = ProductFactory(), TagFactory()

    def write() -> list[str]:
        with CaptureQueriesContext(connection) as queries:
            product.save()
            product.tags.remove(tag)
            tag.products.clear()
            ProductFactory().delete()
        return [query["sql"].split()[0] for query in queries]

    wire((SilentPages, {"models": ["testapp.Product"]}))
    bare = write()
    wire(of("Product", "product:{pk}"))
    # clear() tells nobody what it clears: one query reads it, and SQLite has to be told first
    # that a write follows.
    lock = ["UPDATE"] if connection.vendor == "sqlite" else []
    assert sorted(write()) == sorted([*bare, "SELECT", *lock])


class SilentPages(CacheInvalidation):
    """Wired, so that Django fetches what it deletes, but drops nothing."""

    def get_old_fields(self, model: Any) -> list[Any]:
        return []

    def get_keys(self, instance: Any) -> list[str]:
        return []

    def m2m_changed(self, **kwargs: Any) -> None:
        pass


# Options


def test_an_update_of_other_fields_drops_nothing(calls: Any, wire: Any) -> None:
    wire(of("Product", "product:{pk}", fields=["name", "category", "tags"]))
    product = ProductFactory(name="a")
    calls.clear()
    product.stock += 1
    product.save()
    product.slug = "b"
    product.save(update_fields=["slug"])
    product.name = "unsaved"
    product.save(update_fields=["slug"])
    assert calls == []
    product.save()
    assert len(calls) == 1
    product.category = CategoryFactory()
    product.save()
    assert len(calls) == 2
    product.tags.add(TagFactory())
    assert len(calls) == 3
    product.delete()
    assert len(calls) == 4


def test_a_link_that_is_none_of_the_fields_drops_nothing(calls: Any, wire: Any) -> None:
    wire(
        of("Product", "product:{pk}", fields=["name"]),
        {**TAGS, "OPTIONS": {**TAGS["OPTIONS"], "fields": ["name"]}},
    )
    product, tag = ProductFactory(), TagFactory()
    calls.clear()
    product.tags.add(tag)
    tag.products.clear()
    assert calls == []


def test_the_other_side_of_a_link_may_be_one_of_the_fields(calls: Any, wire: Any) -> None:
    wire({**TAGS, "OPTIONS": {**TAGS["OPTIONS"], "fields": ["products"]}})
    product, tag = ProductFactory(), TagFactory()
    calls.clear()
    tag.name = "new"
    tag.save()
    assert calls == []
    product.tags.add(tag)
    tag.products.clear()
    assert [keys for _, keys in calls] == [[f"tag:{tag.pk}"]] * 2


def test_a_subclass_gets_the_old_and_the_new_instance(wire: Any) -> None:
    wire((Pages, {"models": ["testapp.Product"], "keys": ["product:{pk}"]}))
    product = ProductFactory(name="a", stock=1)
    keys = [f"product:{product.pk}", "page:a:1", "page:b:2"]
    fill(*keys)
    product.name, product.stock = "b", F("stock") + 1
    product.save()
    assert left(*keys) == []
    fill(*keys)
    product.tags.add(TagFactory())
    assert left(*keys) == ["page:a:1"]
    fill(*keys)
    product.delete()
    assert left(*keys) == ["page:a:1"]


def test_a_subclass_may_invalidate_in_a_way_of_its_own(wire: Any) -> None:
    wire((NoPages, {"models": ["testapp.Product"], "keys": ["product:{pk}", "products"]}))
    NoPages.seen.clear()
    product = ProductFactory()
    assert NoPages.seen == [f"product:{product.pk}", "products"]


def test_each_of_several_caches_is_told(wire: Any) -> None:
    wire(of("Product", "products", caches=["default", "second"]))
    for alias in ("default", "second"):
        caches[alias].set("products", "old")
    ProductFactory()
    assert [caches[alias].get("products") for alias in ("default", "second")] == [None, None]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"caches": ["defualt"]}, "'defualt', which is not in CACHES. Did you mean 'default'"),
        ({"keys": "product:{pk}"}, "It has to be a list"),
        ({"fields": ["nmae"]}, "testapp.Product has no such field. Did you mean 'name'"),
        ({"fields": ["pk"]}, "testapp.Product has no such field"),
        ({"fields": ["lines"]}, "testapp.Product has no such field"),
    ],
)
def test_what_cannot_work_is_said_when_it_is_wired(wire: Any, options: Any, words: str) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        wire((CacheInvalidation, {"models": ["testapp.Product"], **options}))
    assert words in str(caught.value)


# Servers


@pytest.fixture
def refused() -> Iterator[int]:
    """A port where nobody answers."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


def redis_at(port: int, **more: Any) -> dict[str, Any]:
    return {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": f"redis://127.0.0.1:{port}",
        "KEY_PREFIX": uuid.uuid4().hex,
        **more,
    }


@pytest.fixture
def redis(settings: Any) -> Any:
    """The default cache in a real Redis, under a prefix of its own."""
    try:
        socket.create_connection(("127.0.0.1", 6379), timeout=5).close()
    except OSError as error:
        if os.environ.get("SIGNAL_KIT_REQUIRE_SERVICES") == "1":
            pytest.fail(f"Redis does not answer on 127.0.0.1:6379: {error}")
        pytest.skip("Redis does not answer on 127.0.0.1:6379")
    settings.CACHES = {"default": redis_at(6379, TIMEOUT=60)}
    yield cache
    cache.close()


def test_keys_are_dropped_from_a_cache_that_others_share(redis: Any, wire: Any) -> None:
    wire(of("Product", "product:{pk}", "slug:{slug}"))
    product = ProductFactory(name="old", slug="a")
    keys = [f"product:{product.pk}", "slug:a", "slug:b"]
    fill(*keys, "other")
    with transaction.atomic():
        product.name, product.slug = "new", "b"
        product.save()
        assert left(*keys) == []
        [read] = in_threads(lambda: cache.get_or_set(keys[0], lambda: Product.objects.get().name))
        assert read == "old"
    assert left(*keys, "other") == ["other"]
    cache.delete("other")


def test_a_cache_that_is_down_fails_no_write_and_is_told(
    settings: Any, wire: Any, refused: int, caplog: Any, failures: Any
) -> None:
    settings.CACHES = {
        "default": {"BACKEND": LOCMEM, "LOCATION": "up"},
        "down": redis_at(refused),
    }
    receiver = wire(of("Product", "products", caches=["down", "default"]))
    fill("products")
    with caplog.at_level(logging.ERROR, "django_signal_kit"):
        product = ProductFactory()
        with transaction.atomic():
            product.tags.add(TagFactory())
        product.delete()
    assert not Product.objects.exists()
    assert left("products") == []
    assert [(f["receiver"], f["signal_name"]) for f in failures] == [(receiver, "flush")] * 4
    assert len(caplog.records) == 4
    assert "The cache 'down' may still hold products." in caplog.text
