"""With ``only_if_changed`` a save that leaves a row as it was leaves it its stamp."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from django_signal_kit import context
from django_signal_kit.receivers import AuditLog, LastModified
from tests.apps.orders.models import Day
from tests.apps.testapp.models import Note, Page, Product
from tests.factories import (
    CategoryFactory,
    ProductFactory,
    RestaurantFactory,
    UserFactory,
    store,
)
from tests.stamps.clock import OLD, get_stamp, make_old

pytestmark = pytest.mark.django_db(transaction=True)

OPTIONS = {"models": ["testapp.*"], "only_if_changed": True}


@pytest.fixture
def stamps(wire: Any) -> Any:
    return wire((LastModified, OPTIONS))


def save(product: Product) -> None:
    product.save()


def save_loaded(product: Product) -> None:
    Product.objects.get().save()


def save_some(product: Product) -> None:
    product.save(update_fields=["name", "stock"])


def save_deferred(product: Product) -> None:
    Product.objects.only("name").get().save()


def save_the_stamp(product: Product) -> None:
    product.save(update_fields=["updated_at"])


def save_other_spelling(product: Product) -> None:
    product.price = "9.500"
    product.stock = "0"
    product.save()


def save_what_is_not_written(product: Product) -> None:
    product.name = "another"
    product.save(update_fields=["stock"])


def update_or_create(product: Product) -> None:
    Product.objects.update_or_create(pk=product.pk, defaults={"name": product.name})


def bulk_update(product: Product) -> None:
    Product.objects.bulk_update([product], ["name"])


@pytest.mark.parametrize(
    "way",
    [
        save,
        save_loaded,
        save_some,
        save_deferred,
        save_the_stamp,
        save_other_spelling,
        save_what_is_not_written,
        update_or_create,
        bulk_update,
    ],
)
def test_a_row_that_is_as_it_was_keeps_its_stamp(
    stamps: Any, way: Callable[[Product], None]
) -> None:
    product = ProductFactory()
    make_old(product)
    way(product)
    assert get_stamp(product) == OLD
    assert product.updated_at == OLD


def change(product: Product) -> None:
    product.name = "new"
    product.save()


def change_in_place(product: Product) -> None:
    product.data["a"] = 1
    product.save()


def change_relation(product: Product) -> None:
    product.category = CategoryFactory()
    product.save(update_fields=["category"])


def change_by_expression(product: Product) -> None:
    product.stock = F("stock")
    product.save()


def upload_the_same_name(product: Product) -> None:
    name = store(product.image, "a.txt")
    Product.objects.update(image=name, updated_at=OLD)
    product.image = ContentFile(b"new", name=name)
    assert product.image.name == name
    product.save()


def change_in_bulk(product: Product) -> None:
    product.name = "new"
    Product.objects.bulk_update([product], ["name"])


def change_back_what_another_has_changed(product: Product) -> None:
    Product.objects.filter(pk=product.pk).update(name="by another", updated_at=OLD)
    product.save()


@pytest.mark.parametrize(
    "way",
    [
        change,
        change_in_place,
        change_relation,
        change_by_expression,
        upload_the_same_name,
        change_in_bulk,
        change_back_what_another_has_changed,
    ],
)
def test_a_row_that_has_changed_is_stamped(
    stamps: Any, media: Any, way: Callable[[Product], None]
) -> None:
    product = ProductFactory()
    make_old(product)
    way(product)
    assert get_stamp(product) > OLD
    assert product.updated_at == get_stamp(product)


def test_a_new_row_is_stamped(stamps: Any) -> None:
    product = ProductFactory()
    assert product.updated_at == get_stamp(product) is not None
    with_key = Product(pk=4711, name="x")
    with_key.save()
    assert with_key.updated_at == get_stamp(with_key) is not None
    [made] = Product.objects.bulk_create([Product(name="y")])
    assert made.updated_at == get_stamp(made) is not None


def test_a_stale_instance_does_not_put_back_an_older_stamp(stamps: Any) -> None:
    product = ProductFactory()
    stale = Product.objects.get()
    Product.objects.update(updated_at=OLD)
    stale.save()
    assert stale.updated_at == get_stamp(product) == OLD


def test_in_a_bulk_update_each_row_for_itself(stamps: Any) -> None:
    products = ProductFactory.create_batch(3)
    make_old(*products)
    products[1].name = "new"
    Product.objects.bulk_update(products, ["name"])
    assert [get_stamp(product) == OLD for product in products] == [True, False, True]
    assert [product.updated_at for product in products] == list(map(get_stamp, products))


def test_in_an_upsert_each_row_for_itself(stamps: Any) -> None:
    if not connection.features.supports_update_conflicts_with_target:
        pytest.skip("this database names no unique field in an upsert")
    same, other = ProductFactory.create_batch(2)
    make_old(same, other)
    Product.objects.bulk_create(
        [Product(pk=same.pk, name=same.name), Product(pk=other.pk, name="new")],
        update_conflicts=True,
        unique_fields=["id"],
        update_fields=["name"],
    )
    assert get_stamp(same) == OLD
    assert get_stamp(other) > OLD


def test_a_row_of_two_tables(stamps: Any) -> None:
    restaurant = RestaurantFactory()
    make_old(restaurant)
    restaurant.save()
    assert get_stamp(restaurant) == OLD
    restaurant.name = "new"
    restaurant.save()
    assert get_stamp(restaurant) > OLD


def test_columns_that_write_themselves_are_no_change(wire: Any) -> None:
    wire(
        (LastModified, {"models": [Note], "field": "changed_on", "only_if_changed": True}),
    )
    note = Note.objects.create(text="a")
    Note.objects.update(changed_on=OLD.date())
    note.save()
    assert get_stamp(note, "changed_on") == OLD.date()
    wire((LastModified, {"models": [Day], "only_if_changed": True}))
    day = Day.objects.create()
    Day.objects.update(last_modified=OLD.date(), auto_changed=OLD)
    day.save()
    assert get_stamp(day, "last_modified") == OLD.date()
    wire((LastModified, {"models": [Page], "field": "changed_at", "only_if_changed": True}))
    Page.objects.create(title="a").save()


def test_an_editor_is_no_change_by_himself(wire: Any) -> None:
    wire((LastModified, {"models": [Product], "by_field": "editor", "only_if_changed": True}))
    ann, bea = UserFactory(), UserFactory()
    with context(actor=ann):
        product = ProductFactory()
    make_old(product)
    with context(actor=bea):
        product.save()
        assert Product.objects.get().editor == product.editor == ann
        assert get_stamp(product) == OLD
        product.name = "new"
        product.save()
    assert Product.objects.get().editor == product.editor == bea


def test_a_stamp_that_is_set_is_a_change(wire: Any) -> None:
    wire((LastModified, {**OPTIONS, "keep_explicit": True}))
    product = ProductFactory()
    product.updated_at = OLD
    product.save()
    assert get_stamp(product) == OLD


def test_an_update_stamps_the_rows_that_it_changes(stamps: Any) -> None:
    category = CategoryFactory()
    products = ProductFactory.create_batch(3, stock=1, slug="same")
    products.append(ProductFactory(stock=2, category=category, slug="same"))
    make_old(*products)
    with CaptureQueriesContext(connection) as queries:
        Product.objects.update(stock=2, category=category)
    assert [query["sql"].split()[0] for query in queries] == ["BEGIN", "UPDATE", "COMMIT"]
    assert [get_stamp(product) == OLD for product in products] == [False, False, False, True]
    make_old(*products)
    Product.objects.update(category=None)
    Product.objects.update(stock=F("stock") * 1, price="9.5")
    assert {get_stamp(product) == OLD for product in products} == {False}
    make_old(*products)
    Product.objects.update(category=None)
    Product.objects.update(stock=F("stock") * 1, price="9.5")
    assert {get_stamp(product) == OLD for product in products} == {True}


def test_an_update_that_nobody_can_compare_stamps_its_rows(stamps: Any) -> None:
    product = ProductFactory()
    make_old(product)
    Product.objects.update(data={})
    assert get_stamp(product) > OLD
    restaurant = RestaurantFactory()
    make_old(restaurant)
    type(restaurant).objects.update(stars=restaurant.stars)
    assert get_stamp(restaurant) > OLD


@pytest.mark.parametrize(("text", "is_same"), [("Tea", True), ("tea", False), ("Tea ", False)])
def test_an_update_of_a_text_tells_all_letters_apart(
    stamps: Any, text: str, is_same: bool
) -> None:
    product = ProductFactory(name="Tea")
    make_old(product)
    Product.objects.update(name=text)
    assert (get_stamp(product) == OLD) is (is_same and connection.vendor != "mysql")


def test_an_update_that_changes_nothing_leaves_the_editor(wire: Any) -> None:
    wire((LastModified, {"models": [Product], "by_field": "editor", "only_if_changed": True}))
    product = ProductFactory(stock=1)
    ann = UserFactory()
    with context(actor=ann):
        Product.objects.update(stock=1)
        assert Product.objects.get().editor is None
        Product.objects.update(stock=2)
    assert Product.objects.get().editor == ann
    assert get_stamp(product) > OLD


def test_it_reads_the_row_once_in_the_transaction_of_the_save(wire: Any) -> None:
    product = ProductFactory()
    wire((LastModified, {**OPTIONS, "models": [Product]}), (AuditLog, {"models": [Product]}))
    with CaptureQueriesContext(connection) as queries:
        product.save()
    words = [query["sql"].split()[0] for query in queries]
    assert words == ["BEGIN", "SELECT", "UPDATE", "COMMIT"]
    wire((LastModified, {**OPTIONS, "models": [Product], "flush_on": "after_commit"}))
    with CaptureQueriesContext(connection) as queries:
        product.save()
    assert [query["sql"].split()[0] for query in queries] == ["SELECT", "UPDATE"]
    with CaptureQueriesContext(connection) as queries:
        ProductFactory()
    assert [query["sql"].split()[0] for query in queries] == ["INSERT"]
