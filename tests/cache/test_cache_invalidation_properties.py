"""Whatever is written, and however it ends: no reader gets an old value."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.cache import cache
from django.db import transaction
from django.db.models import F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_signal_kit import batch
from tests.apps.testapp.models import (
    Product,
    Tag,
)
from tests.cache.keys import TAGS, ProductPages, of
from tests.factories import (
    ProductFactory,
    TagFactory,
)

pytestmark = pytest.mark.django_db(transaction=True)

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
