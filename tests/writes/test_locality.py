"""Which updates may be done part by part."""

from __future__ import annotations

from typing import Any

import pytest
from django.db.models import Avg, Exists, F, OuterRef, QuerySet, Subquery

from django_signal_kit.writes.locality import is_row_by_row
from tests.apps.testapp.models import Product
from tests.factories import CategoryFactory

pytestmark = pytest.mark.django_db


def is_alone(queryset: QuerySet[Any], **values: Any) -> bool:
    return is_row_by_row(queryset.query, values.values())


def test_which_updates_look_at_nothing_but_the_row() -> None:
    products = Product.objects.all()
    other = Product.objects.filter(pk=OuterRef("pk")).values("stock")
    assert is_alone(products, stock=1)
    assert is_alone(products.filter(stock__gt=F("price")), stock=F("stock") + 1)
    assert is_alone(products.filter(pk__in=[1, 2]), category=CategoryFactory())
    assert not is_alone(products, stock=Subquery(other))
    assert not is_alone(products, stock=Subquery(other) + 1)
    assert not is_alone(products.filter(category__name="a"), stock=1)
    assert not is_alone(products.filter(pk__in=Product.objects.values("pk")), stock=1)
    assert not is_alone(products.filter(Exists(other)), stock=1)
    assert not is_alone(products.annotate(a=Avg("category__pk")), stock=1)
    assert not is_alone(products.filter(pk__in=[Subquery(other)]), stock=1)
