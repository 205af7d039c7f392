"""Fragments of templates that are cached until one of their tags is touched."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.cache import cache, caches
from django.template import Context, Template, TemplateSyntaxError

from django_signal_kit.cache import tagged
from tests.cache.keys import of
from tests.factories import CategoryFactory, ProductFactory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def empty() -> None:
    cache.clear()


def render(source: str, **context: Any) -> str:
    return Template("{% load signal_kit %}" + source).render(Context(context))


def test_a_fragment_is_cached_until_one_of_its_tags_is_touched() -> None:
    source = (
        '{% cachetagged 600 "card" name tags=tags %}{{ name }} {{ stock }}{% endcachetagged %}'
    )
    assert render(source, name="Tea", stock=1, tags=["a", "b"]) == "Tea 1"
    assert render(source, name="Tea", stock=2, tags=["a", "b"]) == "Tea 1"
    assert render(source, name="Pot", stock=2, tags=["a", "b"]) == "Pot 2"
    tagged().touch("b")
    assert render(source, name="Tea", stock=2, tags=["a", "b"]) == "Tea 2"


def test_tags_of_a_fragment_may_be_a_text_and_its_cache_another(settings: Any) -> None:
    source = '{% cachetagged None "c" tags="a, b" using="second" %}{{ n }}{% endcachetagged %}'
    caches["second"].clear()
    assert [render(source, n=n) for n in (1, 2)] == ["1", "1"]
    tagged("second").touch("b")
    assert render(source, n=3) == "3"


def test_tags_of_a_fragment_may_name_what_is_in_the_template(wire: Any) -> None:
    wire(of("Product", tags=["product:{pk}", "category:{category_id}"]))
    product, other = ProductFactory(category=CategoryFactory()), ProductFactory()
    source = (
        '{% cachetagged 60 "c" product.pk tags="product:{product.pk}, category:'
        '{product.category_id}, by {user.name}" %}{{ n }}{% endcachetagged %}'
    )
    context = {"product": product, "user": {"name": "Ann"}}
    assert [render(source, **context, n=n) for n in (1, 2)] == ["1", "1"]
    other.save()
    assert render(source, **context, n=3) == "1"
    product.save()
    assert [render(source, **context, n=n) for n in (4, 5)] == ["4", "4"]
    tagged().touch("by Ann")
    assert render(source, **context, n=6) == "6"


def test_braces_in_a_variable_are_braces() -> None:
    source = '{% cachetagged 60 "c" tags=tags %}{{ n }}{% endcachetagged %}'
    assert render(source, tags="{secret}", secret="a", n=1) == "1"
    tagged().touch("{secret}")
    assert render(source, tags="{secret}", secret="a", n=2) == "2"


def test_a_fragment_that_a_receiver_drops_by_its_name_is_found(wire: Any) -> None:
    wire(of("Product", fragments={"card": ["{pk}"]}))
    product = ProductFactory()
    source = '{% cachetagged 60 "card" product.pk tags="x" %}{{ n }}{% endcachetagged %}'
    assert [render(source, product=product, n=n) for n in (1, 2)] == ["1", "1"]
    product.save()
    assert render(source, product=product, n=3) == "3"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", "needs a time, a name and tags"),
        ('600 "card"', "needs a time, a name and tags"),
        ('600 tags="a"', "needs a time, a name and tags"),
        ('600 "card" tags="a" version=2', "has no option 'version'"),
        ('600 "card" tags=5', "Give it a list of tags"),
        ('"soon" "card" tags="a"', "got 'soon' as its time"),
        ('60 "card" tags="a:{b}"', "and there is no 'b' in the template. Name a variable"),
        ('60 "card" tags="a:{b"', "which cannot be read: expected '}'"),
        ('60 "card" tags="a" stale="x"', "got stale='x'. Give it a number"),
        ('60 "card" tags="a" early=-1', "got early=-1. Give it a number"),
    ],
)
def test_a_fragment_that_cannot_be_cached_is_said(arguments: str, words: str) -> None:
    with pytest.raises(TemplateSyntaxError, match=words):
        render(f"{{% cachetagged {arguments} %}}x{{% endcachetagged %}}")
