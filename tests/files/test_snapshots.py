"""``old_values="snapshot"``: a save that leaves the files as they were loaded costs nothing."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from django_signal_kit.receivers import FileCleanup
from tests.apps.testapp.models import Product
from tests.factories import ProductFactory
from tests.files.uploads import ALL, exist, get_kept, upload, with_image

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


@pytest.fixture(autouse=True)
def _cleanup(wire: Any) -> None:
    wire((FileCleanup, {**ALL, "old_values": "snapshot"}))


def test_an_unchanged_save_costs_no_query() -> None:
    product, name = with_image()
    for found in (product, Product.objects.get(), Product.objects.defer("image").get()):
        with CaptureQueriesContext(connection) as queries:
            found.name = "new"
            found.save()
        assert [query["sql"].split()[0] for query in queries] == ["UPDATE"]
    assert exist(name) == [name]


def test_what_changes_is_taken_away_as_ever() -> None:
    product, first = with_image()
    product = Product.objects.get()
    product.image = upload("b.txt")
    product.save()
    second = product.image.name
    assert exist(first, second) == [second]
    # It has moved forward with the save.
    product.save()
    product.image = first
    product.save()
    assert exist(first, second) == [first]
    product.image = ""
    product.save(update_fields=["image"])
    assert exist(first, second) == []
    product.image = upload("c.txt")
    product.save()
    product.delete()
    assert sorted(get_kept()) == [first, second, "products/c.txt"]


def test_a_save_that_was_rolled_back_is_forgotten() -> None:
    product, first = with_image()
    with transaction.atomic():
        product.image = upload("b.txt")
        product.save()
        second = product.image.name
        transaction.set_rollback(True)
    assert exist(first, second) == [first]
    product.image = first
    product.save()
    product.image = ""
    product.save()
    assert exist(first, second) == []


def test_bulk_writes_and_instances_made_by_hand_are_read() -> None:
    product, first = with_image()
    Product(pk=product.pk, name="x", image="").save(force_update=True)
    assert exist(first) == []
    product, first = with_image()
    product = Product.objects.get(pk=product.pk)
    product.image = ""
    Product.objects.bulk_update([product], ["image"])
    assert exist(first) == []
    product = ProductFactory(image=upload())
    name = product.image.name
    Product.objects.filter(pk=product.pk).update(image="")
    assert exist(name) == []
