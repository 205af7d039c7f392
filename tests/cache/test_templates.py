"""Templates name what a row has, and keys and fragments as they are in the cache."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.template import engines

from django_signal_kit.receivers import CacheInvalidation
from tests.apps.testapp.models import Line, Product
from tests.cache.keys import fill, left, of
from tests.factories import CategoryFactory, ProductFactory

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_key_may_follow_a_foreign_key(wire: Any) -> None:
    wire(of("Line", "products:{product.slug}", "{product.category.name}"))
    tools = CategoryFactory(name="Tools")
    line = Line.objects.create(product=ProductFactory(slug="a", category=tools))
    fill("products:a", "products:b", "Tools")
    line.product = ProductFactory(slug="b", category=tools)
    line.save()
    assert left("products:a", "products:b", "Tools") == []


def test_fragments_are_dropped_as_the_template_tag_names_them(wire: Any) -> None:
    wire(of("Product", fragments={"product": ["{pk}", "{price}"], "list": [], "by": ["{editor}"]}))
    template = engines["django"].from_string(
        "{% load cache %}{% cache 600 product product.pk product.price %}{{ name }}{% endcache %}"
        "{% cache 600 list %}{{ name }}{% endcache %}"
        "{% cache 600 by product.editor %}{{ name }}{% endcache %}"
        "{% cache 600 other product.pk %}{{ name }}{% endcache %}"
    )
    product = ProductFactory(price="9.50")

    def render(name: str) -> str:
        return template.render({"product": Product.objects.get(pk=product.pk), "name": name})

    assert render("a") == "aaaa"
    assert render("b") == "aaaa"
    product.save()
    assert render("c") == "ccca"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"keys": ["product:{slog}"]},
            "Product has no such attribute. Did you mean 'slug'",
        ),
        (
            {"keys": ["product:{pk"]},
            "template of CacheInvalidation cannot be read: 'product:{pk': ",
        ),
        ({"keys": ["product:{}"]}, "'product:{}' names no attribute between its braces"),
        ({"keys": ["product:%s"]}, "'product:%s' has a % where braces are meant"),
        ({"tags": ["product:%(pk)s"]}, "has a % where braces are meant"),
        ({"keys": ["product:{0}"]}, "'product:{0}' names no attribute between its braces"),
        ({"fragments": {"product": ["{slog}"]}}, "Did you mean 'slug"),
        ({"fragments": {"product": "{pk}"}}, "'{pk}', which is no list"),
    ],
)
def test_a_template_that_cannot_work_is_said_when_it_is_wired(
    wire: Any, options: Any, words: str
) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        wire((CacheInvalidation, {"models": ["testapp.Product"], **options}))
    assert words in str(caught.value)
