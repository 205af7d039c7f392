"""The ready-made receivers hear bulk writes, and are right under batch()."""

from __future__ import annotations

from typing import Any

import pytest
from django.core import mail
from django.core.cache import cache
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from django_signal_kit import batch, context
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.receivers import (
    AuditLog,
    CacheInvalidation,
    FileCleanup,
    LastModified,
    WelcomeEmail,
)
from tests.apps.testapp.models import Product
from tests.factories import CategoryFactory, ProductFactory, UserFactory, store

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

STAMPS = {"models": ["testapp.*"], "by_field": "", "created_field": "created_at"}


# LastModified


def test_rows_made_in_bulk_are_stamped(wire: Any) -> None:
    wire((LastModified, STAMPS))
    before = timezone.now()
    made = Product.objects.bulk_create([Product(name="a"), Product(name="b")])
    for product in made:
        stored = Product.objects.get(pk=product.pk)
        assert stored.updated_at == product.updated_at >= before
        assert stored.created_at == product.created_at >= before


def test_rows_updated_in_bulk_are_stamped_with_no_query_more(
    wire: Any, django_assert_num_queries: Any
) -> None:
    product = ProductFactory()
    wire((LastModified, STAMPS))
    before = timezone.now()
    with django_assert_num_queries(1):
        Product.objects.update(name="x")
    first = Product.objects.get().updated_at
    assert first >= before
    product.name = "y"
    Product.objects.bulk_update([product], ["name"])
    stored = Product.objects.get()
    assert stored.updated_at == product.updated_at > first
    assert stored.name == "y"


def test_an_update_that_brings_its_own_stamp_keeps_it(wire: Any) -> None:
    ProductFactory()
    wire((LastModified, STAMPS))
    moment = timezone.now().replace(year=2001)
    Product.objects.update(updated_at=moment)
    assert Product.objects.get().updated_at == moment


def test_the_editor_of_an_update_is_written(wire: Any) -> None:
    ProductFactory()
    user = UserFactory()
    wire((LastModified, {"models": ["testapp.Product"], "by_field": "editor"}))
    with context(actor=user):
        Product.objects.update(name="x")
    assert Product.objects.get().editor == user
    Product.objects.update(name="y")
    assert Product.objects.get().editor == user


def test_an_upsert_stamps_what_it_changes_and_not_when_it_was_made(wire: Any) -> None:
    if not connection.features.supports_update_conflicts_with_target:
        pytest.skip("this database names no unique field in an upsert")
    product = ProductFactory()
    Product.objects.update(created_at=timezone.now().replace(year=2001))
    wire((LastModified, STAMPS))
    before = timezone.now()
    Product.objects.bulk_create(
        [Product(pk=product.pk, name="x")],
        update_conflicts=True,
        unique_fields=["id"],
        update_fields=["name"],
    )
    stored = Product.objects.get()
    assert stored.name == "x"
    assert stored.updated_at >= before
    assert stored.created_at.year == 2001


def test_a_row_that_loses_its_parent_is_stamped(wire: Any) -> None:
    category = CategoryFactory()
    ProductFactory(category=category)
    wire((LastModified, STAMPS))
    before = timezone.now()
    category.delete()
    assert Product.objects.get().updated_at >= before


def test_a_stamp_in_bulk_is_no_change_worth_an_entry(wire: Any) -> None:
    wire((LastModified, STAMPS), (AuditLog, {"models": ["testapp.*"]}))
    ProductFactory(name="x", stock=1)
    AuditEntry.objects.all().delete()
    Product.objects.update(name="x")
    assert not AuditEntry.objects.exists()
    Product.objects.update(stock=F("stock") + 1)
    [entry] = AuditEntry.objects.all()
    assert entry.changes["stock"] == [1, 2]


# CacheInvalidation


def test_bulk_writes_drop_keys_with_old_and_new_values(wire: Any) -> None:
    wire(
        (
            CacheInvalidation,
            {"models": ["testapp.Product"], "keys": ["product:{pk}", "slug:{slug}"]},
        )
    )
    product = ProductFactory(slug="old")

    def fill() -> None:
        cache.set_many({f"product:{product.pk}": 1, "slug:old": 1, "slug:new": 1, "else": 1})

    def left() -> set[str]:
        return set(cache.get_many([f"product:{product.pk}", "slug:old", "slug:new", "else"]))

    fill()
    Product.objects.filter(slug="old").update(slug="new")
    assert left() == {"else"}
    fill()
    product.slug = "old"
    Product.objects.bulk_update([product], ["slug"])
    assert left() == {"else"}
    fill()
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        Product.objects.update(slug="new")
        fill()
        raise ZeroDivisionError
    assert left() == {f"product:{product.pk}", "slug:old", "slug:new", "else"}


def test_rows_made_in_bulk_drop_the_keys_of_lists(wire: Any) -> None:
    wire((CacheInvalidation, {"models": ["testapp.Product"], "keys": ["in:{category_id}"]}))
    category = CategoryFactory()
    cache.set(f"in:{category.pk}", 1)
    Product.objects.bulk_create([Product(name="a", category=category)])
    assert cache.get(f"in:{category.pk}") is None


# FileCleanup


def test_files_that_bulk_writes_replace_are_deleted(wire: Any, media: Any) -> None:
    wire((FileCleanup, {"models": ["testapp.Product"]}))
    product = ProductFactory()
    names = [store(product.image, f"{n}.txt") for n in range(3)]
    product.image = names[0]
    product.save()
    storage = product.image.storage
    Product.objects.update(image=names[1])
    assert [storage.exists(name) for name in names] == [False, True, True]
    product.image = names[2]
    Product.objects.bulk_update([product], ["image"])
    assert [storage.exists(name) for name in names] == [False, False, True]
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        Product.objects.update(image="")
        raise ZeroDivisionError
    assert storage.exists(names[2])


def test_files_that_change_places_in_bulk_stay(wire: Any, media: Any) -> None:
    wire((FileCleanup, {"models": ["testapp.Product"]}))
    products = ProductFactory.create_batch(2)
    for product in products:
        store(product.image, "x.txt")
        product.save()
    first, second = products
    names = [first.image.name, second.image.name]
    first.image, second.image = names[1], names[0]
    Product.objects.bulk_update(products, ["image"])
    assert all(first.image.storage.exists(name) for name in names)


# WelcomeEmail


def test_users_made_in_bulk_are_welcomed_once_each(wire: Any) -> None:
    wire(WelcomeEmail)
    with batch():
        type(UserFactory.build()).objects.bulk_create(UserFactory.build_batch(3))
        assert mail.outbox == []
    assert len(mail.outbox) == 3
    assert len({message.to[0] for message in mail.outbox}) == 3


# All of them


def test_all_five_in_one_batch(wire: Any, media: Any) -> None:
    wire(
        (LastModified, STAMPS),
        (AuditLog, {"models": ["testapp.*"]}),
        (CacheInvalidation, {"models": ["testapp.Product"], "keys": ["product:{pk}"]}),
        (FileCleanup, {"models": ["testapp.Product"]}),
        WelcomeEmail,
    )
    product = ProductFactory(stock=1)
    old = store(product.image, "a.txt")
    product.save()
    new = store(product.image, "b.txt")
    AuditEntry.objects.all().delete()
    cache.set(f"product:{product.pk}", 1)
    with batch():
        Product.objects.update(stock=2, image=new)
        UserFactory()
    [entry] = AuditEntry.objects.all()
    assert (entry.changes["stock"], entry.changes["image"]) == ([1, 2], [old, new])
    assert cache.get(f"product:{product.pk}") is None
    assert not product.image.storage.exists(old)
    assert product.image.storage.exists(new)
    assert len(mail.outbox) == 1
