"""Instances have their attributes from the beginning, and no query is made for them."""

from __future__ import annotations

import pickle
from itertools import count
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_signal_kit import muted
from django_signal_kit.receivers import InitialAttributes
from tests.apps.testapp.models import Product, ProductProxy, Restaurant, Tag
from tests.factories import ProductFactory, RestaurantFactory

pytestmark = pytest.mark.django_db


def give(wire: Any, **attributes: Any) -> Any:
    return wire((InitialAttributes, {"models": ["testapp.*"], "attributes": attributes}))


def test_new_and_loaded_instances_have_them(wire: Any) -> None:
    give(wire, basket=list, is_marked=False)
    ProductFactory()
    for product in (Product(), Product.objects.get(), *ProductProxy.objects.all()):
        assert (product.basket, product.is_marked) == ([], False)  # type: ignore[attr-defined]
    a, b = Product(), Product()
    a.basket.append(1)  # type: ignore[attr-defined]
    assert b.basket == []  # type: ignore[attr-defined]


def test_a_function_is_called_for_each_instance(wire: Any) -> None:
    give(wire, serial=count().__next__)
    assert [Tag().serial for _ in range(3)] == [0, 1, 2]  # type: ignore[attr-defined]


def test_what_is_set_already_stays(wire: Any) -> None:
    class Marked(Tag):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.mark = "own"
            super().__init__(*args, **kwargs)

        class Meta:
            proxy = True
            app_label = "testapp"

    try:
        give(wire, mark="given")
        assert Marked().mark == "own"
        assert Tag().mark == "given"  # type: ignore[attr-defined]
    finally:
        from django.apps import apps

        del apps.all_models["testapp"]["marked"]
        apps.clear_cache()


def test_no_query_is_made_and_what_is_deferred_stays_so(wire: Any) -> None:
    give(wire, basket=list)
    ProductFactory.create_batch(3)
    with CaptureQueriesContext(connection) as queries:
        products = list(Product.objects.only("name"))
    assert len(queries) == 1
    assert all("price" in product.get_deferred_fields() for product in products)
    assert [product.basket for product in products] == [[], [], []]  # type: ignore[attr-defined]


def test_they_survive_pickling_and_refreshing(wire: Any) -> None:
    give(wire, basket=list)
    product = ProductFactory()
    product.basket.append(1)
    product.refresh_from_db()
    assert product.basket == [1]
    assert pickle.loads(pickle.dumps(product)).basket == [1]


def test_children_have_them_as_well(wire: Any) -> None:
    give(wire, basket=list)
    RestaurantFactory()
    assert Restaurant.objects.get().basket == []  # type: ignore[attr-defined]


def test_models_that_are_not_covered_and_muted_ones_have_none(wire: Any) -> None:
    wire((InitialAttributes, {"models": [Product], "attributes": {"basket": list}}))
    assert not hasattr(Tag(), "basket")
    with muted("InitialAttributes"):
        assert not hasattr(Product(), "basket")
    wire()
    assert not hasattr(Product(), "basket")


class OldName(InitialAttributes):
    """Remembers what an instance was called when it was made."""

    def get_attributes(self, model: Any) -> Any:
        return {"old_name": None, "model_name": model.__name__}

    def post_init(self, instance: Any, **kwargs: Any) -> None:
        super().post_init(instance=instance, **kwargs)
        instance.old_name = instance.__dict__.get("name")


def test_hook_and_method_can_be_overridden(wire: Any) -> None:
    wire((OldName, {"models": [Product, Tag]}))
    tag: Any = Tag(name="a")
    assert (tag.old_name, tag.model_name) == ("a", "Tag")
    ProductFactory(name="b")
    assert Product.objects.get().old_name == "b"  # type: ignore[attr-defined]
    assert Product.objects.only("price").get().old_name is None  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("attributes", "sentence"),
    [
        ({"name": "x"}, r"'name' .* is a field, a method or a property of testapp\.\w+.*E018"),
        ({"save": 1}, r"'save' .* is a field, a method or a property.*E018"),
        ({"pk": 1}, r"'pk' .* is a field, a method or a property.*E018"),
        ({"no name": 1}, r"is no name of an attribute.*E018"),
        ({"basket": []}, r"which all instances would share.*such as list.*E019"),
    ],
)
def test_what_is_wrong_stops_the_start(wire: Any, attributes: Any, sentence: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=sentence):
        give(wire, **attributes)
