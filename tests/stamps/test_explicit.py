"""A stamp that the caller sets himself stays, if that is asked for."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from django_signal_kit import context
from django_signal_kit.receivers import AuditLog, LastModified
from tests.apps.orders.models import Line
from tests.apps.testapp.models import Product
from tests.conftest import run_async
from tests.factories import ProductFactory, RestaurantFactory, UserFactory
from tests.stamps.clock import FUTURE, OLD, get_stamp, make_old

pytestmark = pytest.mark.django_db(transaction=True)

OPTIONS = {
    "models": ["testapp.*"],
    "created_field": "created_at",
    "keep_explicit": True,
}
EDITORS = {
    "models": [Product],
    "by_field": "editor",
    "keep_explicit": True,
}


@pytest.fixture
def keeps(wire: Any) -> Any:
    return wire((LastModified, OPTIONS))


# New rows


def create() -> Product:
    return Product.objects.create(name="a", updated_at=OLD)


def save_new() -> Product:
    product = Product(name="a")
    product.updated_at = OLD
    product.save()
    return product


def create_with_key() -> Product:
    product = Product(pk=77, name="a", updated_at=OLD)
    product.save()
    return product


def bulk_create() -> Product:
    return Product.objects.bulk_create([Product(name="a", updated_at=OLD)])[0]


def get_or_create() -> Product:
    return Product.objects.get_or_create(name="a", defaults={"updated_at": OLD})[0]


def update_or_create() -> Product:
    return Product.objects.update_or_create(name="a", defaults={"updated_at": OLD})[0]


def create_async() -> Product:
    product = Product(name="a", updated_at=OLD)
    run_async(product.asave())
    return product


@pytest.mark.parametrize(
    "way",
    [
        create,
        save_new,
        create_with_key,
        bulk_create,
        get_or_create,
        update_or_create,
        create_async,
    ],
)
def test_a_stamp_that_a_new_row_brings_stays(keeps: Any, way: Callable[[], Product]) -> None:
    product = way()
    assert product.updated_at == get_stamp(product) == OLD
    # The moment at which it was made was not given.
    assert product.created_at == get_stamp(product, "created_at") > OLD
    product.name = "b"
    product.save()
    assert product.updated_at == get_stamp(product) > OLD


def test_a_new_row_that_brings_none_is_stamped(keeps: Any) -> None:
    product = ProductFactory(updated_at=None)
    assert product.updated_at == get_stamp(product) > OLD


def test_an_upsert_writes_the_stamps_that_are_given(keeps: Any) -> None:
    if not connection.features.supports_update_conflicts_with_target:
        pytest.skip("this database names no unique field in an upsert")
    product = ProductFactory()
    given = [Product(pk=product.pk, name="x", updated_at=OLD), Product(pk=991, name="y")]
    Product.objects.bulk_create(
        given, update_conflicts=True, unique_fields=["id"], update_fields=["name"]
    )
    assert get_stamp(product) == OLD
    assert get_stamp(given[1]) > OLD


def test_a_copy_does_not_bring_the_stamp_of_the_row_that_was_loaded(keeps: Any) -> None:
    make_old(ProductFactory())
    product = Product.objects.get()
    product.pk = None
    product._state.adding = True
    product.save()
    assert product.updated_at == get_stamp(product) > OLD
    second = copy.copy(Product.objects.get(updated_at=OLD))
    second.pk, second._state.adding, second.updated_at = None, True, FUTURE
    second.save()
    assert get_stamp(second) == FUTURE


# Rows that are there


def load() -> Product:
    return Product.objects.get()


def load_deferred() -> Product:
    return Product.objects.defer("updated_at").get()


def load_only() -> Product:
    return Product.objects.only("name").get()


def load_and_pickle() -> Product:
    product: Product = pickle.loads(pickle.dumps(Product.objects.get()))
    return product


def refresh() -> Product:
    product = Product.objects.only("name").get()
    product.refresh_from_db(fields=["updated_at"])
    return product


def load_late() -> Product:
    product = Product.objects.defer("updated_at").get()
    assert product.updated_at == OLD
    return product


LOADS = [load, load_deferred, load_only, load_and_pickle, refresh, load_late]


@pytest.mark.parametrize("fields", [None, ["name"], ["updated_at"]], ids=str)
@pytest.mark.parametrize("way", LOADS)
def test_a_stamp_that_was_set_since_it_was_loaded_stays(
    keeps: Any, way: Callable[[], Product], fields: list[str] | None
) -> None:
    make_old(ProductFactory())
    product = way()
    product.name = "new"
    product.updated_at = FUTURE
    product.save(update_fields=fields)
    assert product.updated_at == get_stamp(product) == FUTURE
    # It is no stamp of the next save.
    product.updated_at = OLD
    product.save()
    assert get_stamp(product) == OLD
    product.save()
    assert product.updated_at == get_stamp(product) > OLD


@pytest.mark.parametrize("way", LOADS)
def test_a_stamp_that_was_loaded_is_none_that_was_set(
    keeps: Any, way: Callable[[], Product]
) -> None:
    make_old(ProductFactory())
    product = way()
    product.name = "new"
    product.save()
    assert product.updated_at == get_stamp(product) > OLD
    first = product.updated_at
    product.save(update_fields=["name"])
    assert product.updated_at == get_stamp(product) > first


def test_one_that_is_older_than_the_present_one_stays(keeps: Any) -> None:
    product = ProductFactory()
    product.updated_at = OLD
    product.save()
    assert get_stamp(product) == OLD


def test_an_expression_of_the_caller_stays(keeps: Any) -> None:
    product = ProductFactory()
    Product.objects.update(updated_at=FUTURE)
    product.updated_at = Now()
    product.save()
    assert OLD < get_stamp(product) < FUTURE


def test_a_stamp_that_is_taken_away_is_written_anew(keeps: Any) -> None:
    product = ProductFactory()
    product.updated_at = None
    product.save()
    assert product.updated_at == get_stamp(product) is not None


def test_a_row_of_two_tables_keeps_the_stamp_of_its_parent(keeps: Any) -> None:
    restaurant = RestaurantFactory()
    restaurant.updated_at = OLD
    restaurant.save()
    assert get_stamp(restaurant) == OLD
    restaurant.save()
    assert get_stamp(restaurant) > OLD


def test_update_or_create_keeps_what_its_defaults_give(keeps: Any) -> None:
    product = ProductFactory()
    Product.objects.update_or_create(pk=product.pk, defaults={"name": "b", "updated_at": OLD})
    assert get_stamp(product) == OLD
    Product.objects.update_or_create(pk=product.pk, defaults={"name": "c"})
    assert get_stamp(product) > OLD


@pytest.mark.parametrize("names", [["name"], ["name", "updated_at"]], ids=str)
def test_a_bulk_update_keeps_what_was_set_since(keeps: Any, names: list[str]) -> None:
    products = ProductFactory.create_batch(2)
    products[0].updated_at = OLD
    Product.objects.bulk_update(products, names)
    assert get_stamp(products[0]) == OLD
    assert products[1].updated_at == get_stamp(products[1]) > OLD
    Product.objects.bulk_update(products, ["name"])
    assert get_stamp(products[0]) > OLD


def test_what_was_rolled_back_was_not_set(keeps: Any) -> None:
    make_old(ProductFactory())
    product = Product.objects.get()
    with pytest.raises(ValueError, match="no"), transaction.atomic():
        product.save()
        raise ValueError("no")
    product.refresh_from_db()
    product.save()
    assert product.updated_at == get_stamp(product) > OLD


def test_it_costs_no_query(keeps: Any) -> None:
    make_old(ProductFactory())
    with CaptureQueriesContext(connection) as queries:
        product = Product.objects.get()
        product.updated_at = FUTURE
        product.save()
    assert [query["sql"].split()[0] for query in queries] == ["SELECT", "UPDATE"]


def test_without_it_a_save_writes_its_own_moment(wire: Any) -> None:
    wire((LastModified, {"models": [Product]}))
    product = Product.objects.create(updated_at=OLD)
    assert product.updated_at == get_stamp(product) > OLD
    product.updated_at = OLD
    product.save()
    assert product.updated_at == get_stamp(product) > OLD


def test_no_other_value_is_kept_beside_instances(wire: Any) -> None:
    wire((LastModified, {"models": [Line], "keep_explicit": True}))
    from django_signal_kit.rows import memory

    assert memory.kept[Line] == ()
    Line.objects.create(data={"a": [1]})
    line = Line.objects.get()
    line.data["a"].append(2)
    line.save()
    assert Line.objects.get().data == {"a": [1, 2]}


def test_beside_a_log_that_keeps_what_was_loaded(wire: Any) -> None:
    from django_signal_kit.audit.models import AuditEntry

    wire(
        (AuditLog, {"models": [Line], "old_values": "snapshot"}),
        (LastModified, {"models": [Line], "keep_explicit": True}),
    )
    Line.objects.create(data={"a": [1]})
    line = Line.objects.get()
    line.data["a"].append(2)
    line.updated_at = OLD
    line.save()
    entry = AuditEntry.objects.latest("pk")
    assert entry.changes["data"] == [{"a": [1]}, {"a": [1, 2]}]
    assert get_stamp(line) == OLD


# Editors


def test_an_editor_that_the_caller_sets_stays(wire: Any) -> None:
    wire((LastModified, {**EDITORS, "created_by_field": ""}))
    ann, bea = UserFactory(), UserFactory()
    with context(actor=ann):
        product = ProductFactory(editor=bea)
        assert Product.objects.get().editor == product.editor == bea
        product.save()
        assert Product.objects.get().editor == product.editor == ann
        product.editor_id = bea.pk
        product.save(update_fields=["name"])
        assert Product.objects.get().editor == bea
        product = Product.objects.get()
        product.save()
    assert Product.objects.get().editor == ann
