"""What shows a changed row, at the other end of a relation, is touched as well."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured

from django_signal_kit.cache import tagged
from django_signal_kit.checks import check_signal_kit
from tests.apps.testapp.models import Product
from tests.factories import CategoryFactory, ProductFactory, TagFactory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def empty() -> None:
    cache.clear()


def covering(model: str, *tags: str, **options: Any) -> Any:
    entry = {"models": [f"testapp.{model}"], "tags": list(tags), **options}
    return {
        "RECEIVER": "django_signal_kit.receivers.CacheInvalidation",
        "NAME": f"{model}Pages",
        "OPTIONS": entry,
    }


def fill(*tags: str) -> None:
    found = tagged().get_many({tag: [tag] for tag in tags})
    tagged().set_many(dict.fromkeys(found.missing, "page"), found)


def left(*tags: str) -> list[str]:
    return [*tagged().get_many({tag: [tag] for tag in tags})]


def test_a_row_that_moves_touches_the_tags_of_where_it_was_and_of_where_it_is(wire: Any) -> None:
    wire(
        covering("Product", "product:{pk}", related=["category"]),
        covering("Category", "category:{pk}"),
    )
    hot, cold, other = (CategoryFactory() for _ in range(3))
    tags = [f"category:{category.pk}" for category in (hot, cold, other)]
    product = ProductFactory(category=hot)
    fill(*tags)
    product.category = cold
    product.save()
    assert left(*tags) == tags[2:]
    fill(*tags)
    product.delete()
    assert left(*tags) == [tags[0], tags[2]]


def test_a_foreign_key_of_the_row_costs_one_query_for_what_it_was(
    wire: Any, django_assert_num_queries: Any
) -> None:
    wire(
        covering("Product", "product:{pk}", related=["category"]),
        covering("Category", "category:{pk}"),
    )
    product = ProductFactory(category=CategoryFactory())
    with django_assert_num_queries(2):
        product.save()


def test_relations_backwards_and_over_links_are_followed(wire: Any) -> None:
    wire(
        covering("Category", related=["product", "product__tags"]),
        covering("Product", "product:{pk}"),
        covering("Tag", "tag:{pk}"),
    )
    category, tag, other = CategoryFactory(), TagFactory(), TagFactory()
    product, second = ProductFactory(category=category), ProductFactory()
    product.tags.add(tag)
    tags = [f"product:{product.pk}", f"product:{second.pk}", f"tag:{tag.pk}", f"tag:{other.pk}"]
    fill(*tags)
    category.name = "New"
    category.save()
    assert left(*tags) == [tags[1], tags[3]]


@pytest.mark.parametrize("how", ["update", "bulk_update", "bulk_create"])
def test_bulk_writes_are_followed_too(wire: Any, how: str) -> None:
    wire(
        covering("Product", related=["category"]),
        covering("Category", "category:{pk}"),
    )
    hot, cold = CategoryFactory(), CategoryFactory()
    tags = [f"category:{hot.pk}", f"category:{cold.pk}"]
    product = ProductFactory(category=hot)
    fill(*tags)
    if how == "update":
        Product.objects.update(category=cold)
    elif how == "bulk_update":
        product.category = cold
        Product.objects.bulk_update([product], ["category"])
    else:
        Product.objects.bulk_create([ProductFactory.build(category=cold)])
    assert left(*tags) == (tags[:1] if how == "bulk_create" else [])


def test_a_relation_that_is_none_is_said(wire: Any) -> None:
    with pytest.raises(
        ImproperlyConfigured, match=r"'categry', and testapp.Product has no relation 'categry'"
    ):
        wire(covering("Product", related=["categry"]))
    with pytest.raises(ImproperlyConfigured, match=r"testapp\.Product has no relation 'name'"):
        wire(covering("Product", related=["name"]))


def test_an_end_without_tags_is_warned_of(wire: Any) -> None:
    wire(covering("Product", related=["category"]))
    said = [str(message) for message in check_signal_kit() if message.id == "signal_kit.W015"]
    assert len(said) == 1
    assert "touches the tags of testapp.Category ('category' in its option 'related')" in said[0]
    wire(covering("Product", related=["category"]), covering("Category", "category:{pk}"))
    assert not [message for message in check_signal_kit() if message.id == "signal_kit.W015"]
