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
from django.db import IntegrityError, connection, models, transaction
from django.db.models import F
from django.db.models.signals import post_save
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_signal_kit import batch
from django_signal_kit.receivers import AuditLog, CacheInvalidation
from tests.apps.testapp.models import (
    Category,
    Club,
    Line,
    Note,
    Place,
    Product,
    ProductProxy,
    Restaurant,
    Tag,
    Token,
)
from tests.cache.keys import fill, left, of
from tests.factories import (
    CategoryFactory,
    PersonFactory,
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


# Many-to-many


def test_a_link_drops_the_keys_of_both_rows(wire: Any) -> None:
    wire(of("Product", "product:{pk}"), TAGS)
    product, one, two = ProductFactory(), TagFactory(), TagFactory()
    keys = [f"product:{product.pk}", f"tag:{one.pk}", f"tag:{two.pk}"]
    fill(*keys)
    product.tags.add(one)
    assert left(*keys) == [f"tag:{two.pk}"]
    fill(*keys)
    product.tags.set([two])
    assert left(*keys) == []
    fill(*keys)
    two.products.remove(product)
    assert left(*keys) == [f"tag:{one.pk}"]


TAGS = {
    "RECEIVER": "django_signal_kit.receivers.CacheInvalidation",
    "NAME": "Tags",
    "OPTIONS": {"models": ["testapp.Tag"], "keys": ["tag:{pk}"]},
}


def test_only_the_side_that_is_covered_counts(wire: Any) -> None:
    wire(of("Product", "product:{pk}"))
    first, second, tag = ProductFactory(), ProductFactory(), TagFactory()
    keys = [f"product:{first.pk}", f"product:{second.pk}", f"tag:{tag.pk}"]
    fill(*keys)
    tag.products.add(first)
    assert left(*keys) == keys[1:]
    tag.products.add(second)
    assert left(*keys) == keys[2:]


def test_clear_drops_the_keys_of_the_rows_that_were_linked(wire: Any) -> None:
    wire(of("Product", "product:{slug}"), TAGS)
    first, second, third = (ProductFactory(slug=slug) for slug in "abc")
    one, two = TagFactory(), TagFactory()
    one.products.add(first, second)
    keys = ["product:a", "product:b", "product:c", f"tag:{one.pk}", f"tag:{two.pk}"]
    fill(*keys)
    one.products.clear()
    assert left(*keys) == ["product:c", f"tag:{two.pk}"]
    third.tags.add(one, two)
    fill(*keys)
    third.tags.clear()
    assert left(*keys) == ["product:a", "product:b"]
    third.tags.add(two)
    fill(*keys)
    third.tags.set([one], clear=True)
    assert left(*keys) == ["product:a", "product:b"]


def test_a_link_drops_the_key_that_the_database_gives_and_not_a_stale_instance(wire: Any) -> None:
    wire(of("Product", "product:{slug}"))
    product = ProductFactory(slug="saved")
    fill("product:saved")
    product.slug = "not saved"
    product.tags.add(TagFactory())
    assert left("product:saved") == []


def test_links_to_the_own_model_drop_both_ends(wire: Any) -> None:
    wire(of("Person", "person:{pk}"))
    ann, bob, cid = PersonFactory(), PersonFactory(), PersonFactory()
    keys = [f"person:{person.pk}" for person in (ann, bob, cid)]
    fill(*keys)
    ann.friends.add(bob)
    assert left(*keys) == keys[2:]
    fill(*keys)
    bob.friends.clear()
    assert left(*keys) == keys[2:]
    ann.follows.add(cid)
    fill(*keys)
    cid.followers.clear()
    assert left(*keys) == [keys[1]]


def test_links_with_a_row_of_their_own_are_heard(wire: Any) -> None:
    wire(of("Club", "club:{pk}"))
    club, ann = Club.objects.create(name="Chess"), PersonFactory()
    fill(f"club:{club.pk}")
    club.members.add(ann)
    assert left(f"club:{club.pk}") == []
    fill(f"club:{club.pk}")
    ann.clubs.clear()
    assert left(f"club:{club.pk}") == []


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


# All at once

VERBS = (
    *("save", "some", "deferred", "stale", "expression", "create", "delete"),
    *("add", "remove", "clear", "reverse", "untag"),
)
STEPS = st.lists(
    st.tuples(st.sampled_from(VERBS), st.integers(0, 2), st.integers(0, 2)),
    min_size=1,
    max_size=4,
)


@pytest.fixture(params=["templates", "subclass"])
def wired(wire: Any, request: Any) -> Any:
    if request.param == "subclass":
        return wire((ProductPages, {"models": ["testapp.Product"]}), TAGS)
    return wire(of("Product", "slug:{slug}:{stock}", "product:{pk}"), TAGS)


@settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.lists(
        st.tuples(STEPS, st.sampled_from(("autocommit", "commit", "rollback", "batch"))),
        max_size=4,
    )
)
def test_whatever_is_committed_no_reader_gets_an_old_value(wired: Any, blocks: Any) -> None:
    Product.objects.all().delete()
    Tag.objects.all().delete()
    cache.clear()
    tags = [TagFactory() for _ in range(3)]
    for stock in range(3):
        ProductFactory(slug="s0", stock=stock)
    for steps, how in blocks:
        look(read=True)
        is_told = isinstance(wired[0], ProductPages)
        steps = [step for step in steps if is_told or step[0] != "delete"]
        products = list(Product.objects.order_by("pk"))
        if how == "autocommit":
            run(products, tags, steps)
        elif how == "batch":
            with batch():
                run(products, tags, steps)
        else:
            with transaction.atomic():
                run(products, tags, steps)
                transaction.set_rollback(how == "rollback")
        look(read=False)


def run(products: list[Product], tags: list[Tag], steps: Any) -> None:
    for verb, which, what in steps:
        if verb == "create":
            products.append(ProductFactory(slug=f"s{which}", stock=what))
            continue
        if not products:
            continue
        product, tag = products[which % len(products)], tags[what]
        if verb == "save":
            product.slug, product.stock = f"s{what}", what
            product.save()
        elif verb == "some":
            product.slug, product.stock = f"s{what}", 9
            product.save(update_fields=["slug"])
        elif verb == "deferred":
            product = Product.objects.only("stock").get(pk=product.pk)
            product.stock = str(what)
            product.save()
        elif verb == "stale":
            Product.objects.get(pk=product.pk).save()
            product.save()
        elif verb == "expression":
            product.stock = F("stock") + what
            product.save()
            product.refresh_from_db()
        elif verb == "delete":
            products.remove(product)
            product.delete()
        elif verb == "add":
            product.tags.add(*tags[what:])
        elif verb == "remove":
            product.tags.remove(tag)
        elif verb == "clear":
            product.tags.clear()
        elif verb == "reverse":
            tag.products.set(products[which:])
        elif verb == "untag":
            tag.products.clear()


def look(*, read: bool) -> None:
    """Every cached value is what the database would give; ``read`` has them all cached."""
    truth: dict[str, Any] = {}
    for slug in range(3):
        for stock in range(10):
            found = Product.objects.filter(slug=f"s{slug}", stock=stock).order_by("pk")
            truth[f"slug:s{slug}:{stock}"] = [product.pk for product in found]
    for product in Product.objects.all():
        names = sorted(tag.pk for tag in product.tags.all())
        truth[f"product:{product.pk}"] = [product.slug, product.stock, names]
    for tag in Tag.objects.all():
        truth[f"tag:{tag.pk}"] = sorted(product.pk for product in tag.products.all())
    cached = cache.get_many(truth)
    assert cached == {key: truth[key] for key in cached}
    if read:
        cache.set_many(truth)


# Keys of all kinds


def drops(row: Any, name: str, *keys: str) -> bool:
    """Are all of these gone when the row is saved with another name?"""
    cache.set_many(dict.fromkeys(keys, "page"))
    row.name = name
    row.save()
    return not cache.get_many(keys)


# Memcached takes no spaces.
@pytest.mark.filterwarnings("ignore::django.core.cache.CacheKeyWarning")
def test_a_template_may_name_the_key_of_several_columns(wire: Any, make_model: Any) -> None:
    line = make_model(
        "LineOfKeys",
        models.Model,
        pk=models.CompositePrimaryKey("order", "number"),
        order=models.IntegerField(),
        number=models.IntegerField(),
        name=models.CharField(max_length=9),
    )
    keys = ["{pk}", "{pk[1]}", "of:{order}", "named:{name}"]
    wire((CacheInvalidation, {"models": [line], "keys": keys}))
    row = line.objects.create(order=1, number=2, name="a")
    assert drops(row, "b", "(1, 2)", "2", "of:1", "named:a", "named:b")
    cache.set("named:b", "page")
    line.objects.update(name="c")
    assert cache.get("named:b") is None
    cache.set("named:c", "page")
    line.objects.all().delete()
    assert cache.get("named:c") is None


# Memcached takes no spaces.
@pytest.mark.filterwarnings("ignore::django.core.cache.CacheKeyWarning")
def test_a_template_of_nothing_but_a_key_of_several_columns(wire: Any, make_model: Any) -> None:
    line = make_model(
        "LineOfKeys",
        models.Model,
        pk=models.CompositePrimaryKey("order", "number"),
        order=models.IntegerField(),
        number=models.IntegerField(),
        name=models.CharField(max_length=9),
    )
    wire((CacheInvalidation, {"models": [line], "keys": ["{pk}"]}))
    assert drops(line.objects.create(order=1, number=2, name="a"), "b", "(1, 2)")


class LooksInFromDb(models.Model):
    name = models.CharField(max_length=9)

    class Meta:
        abstract = True

    @classmethod
    def from_db(cls, *args: Any, **kwargs: Any) -> Any:
        instance = super().from_db(*args, **kwargs)
        instance.loaded = (instance.pk, instance._state.db)
        assert instance.pk is not None
        return instance


class LooksInInit(models.Model):
    name = models.CharField(max_length=9)

    class Meta:
        abstract = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.was = (self.pk, str(self.pk))


class LooksInManager(models.Model):
    name = models.CharField(max_length=9)

    class Rows(models.Manager):
        def get_queryset(self) -> Any:
            return super().get_queryset().filter(pk__gt=0).order_by(self.model._meta.pk.attname)

    objects = Rows()

    class Meta:
        abstract = True
        base_manager_name = "objects"


@pytest.mark.parametrize("base", [LooksInFromDb, LooksInInit, LooksInManager])
@pytest.mark.parametrize("key", ["id", "uuid", "owner", "parent"])
def test_a_model_that_looks_at_its_key(wire: Any, make_model: Any, base: Any, key: str) -> None:
    fields: dict[str, Any] = {}
    bases: tuple[Any, ...] = (base,)
    if key == "uuid":
        fields["code"] = models.UUIDField(primary_key=True, default=uuid.uuid4)
        if base is LooksInManager:
            pytest.skip("its manager compares the key with a number")
    elif key == "owner":
        fields["owner"] = models.OneToOneField(Tag, models.CASCADE, primary_key=True)
    elif key == "parent":
        bases = (make_model("LookedAt", models.Model, size=models.IntegerField(default=1)), base)
        bases = (base, bases[0])
    model = make_model("Looks", *bases, **fields)
    wire((CacheInvalidation, {"models": [model], "keys": ["named:{name}"]}))
    given = {"owner": TagFactory()} if key == "owner" else {}
    row = model.objects.create(name="a", **given)
    assert drops(row, "b", "named:a", "named:b")
    cache.set("named:b", "page")
    model.objects.get().delete()
    assert cache.get("named:b") is None


def test_the_old_values_of_a_parent_that_a_child_is_made_of(wire: Any) -> None:
    wire((CacheInvalidation, {"models": [Place], "keys": ["place:{name}"]}))
    place = Place.objects.create(name="plain")
    cache.set_many({"place:plain": 1, "place:prom": 1, "place:other": 1})
    Restaurant(place_ptr=place, name="prom").save()
    found = cache.get_many(["place:plain", "place:prom", "place:other"])
    assert found == {"place:other": 1}
