"""A column knows beforehand what its values are."""

from __future__ import annotations

import uuid
from decimal import Decimal

import pytest
from django.utils import timezone

from django_signal_kit.rows.canonical import canonical
from django_signal_kit.rows.columns import get_columns
from tests.apps.testapp.models import Product, Restaurant, Token
from tests.factories import ProductFactory


def test_a_column_knows_the_class_that_needs_no_thought() -> None:
    columns = get_columns(Product)
    assert columns["name"].plain is str
    assert columns["category_id"].plain is int
    assert get_columns(Token)["id"].plain is uuid.UUID
    assert get_columns(Restaurant)["place_ptr_id"].plain is int
    assert columns["data"].is_mutable
    assert not columns["price"].is_mutable


@pytest.mark.django_db
def test_what_needs_no_thought_is_what_the_database_gives_back() -> None:
    product = ProductFactory(
        name="a", price=Decimal("1.5"), stock=3, data={"a": 1}, updated_at=timezone.now()
    )
    fresh = Product.objects.get()
    for name, column in get_columns(Product).items():
        value = fresh.__dict__[name]
        found = column.canonical(product.__dict__[name])
        assert found == (value.name if hasattr(value, "name") else value), name
        if value.__class__ is column.plain:
            assert canonical(column.field, value) == value
