"""A value is what reading it back from the database would give."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, models
from django.db.models import F

from django_signal_kit.rows.canonical import canonical
from django_signal_kit.rows.columns import get_columns
from tests.apps.testapp.models import Product


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        (models.DecimalField(decimal_places=2), "12.5", Decimal("12.50")),
        (models.IntegerField(), "5", 5),
        (models.BooleanField(), 1, True),
        (models.CharField(), 5, "5"),
        (models.DateField(), "2026-01-02", datetime.date(2026, 1, 2)),
        (models.BinaryField(), bytearray(b"a"), b"a"),
        (models.JSONField(), (1, 2), [1, 2]),
        (models.CharField(), None, None),
    ],
)
def test_a_value_is_what_reading_it_back_gives(field: Any, value: Any, expected: Any) -> None:
    field.set_attributes_from_name("x")
    found = canonical(field, value)
    assert found == expected
    assert type(found) is type(expected)


def test_a_naive_moment_is_of_the_current_time_zone() -> None:
    field = models.DateTimeField(name="x")
    field.model = Product
    with pytest.warns(RuntimeWarning, match="naive"):
        found = canonical(field, datetime.datetime(2026, 1, 2, 3))
    assert found.utcoffset() is not None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (models.IntegerField(), F("x")),
        (models.IntegerField(), "five"),
        (models.DecimalField(decimal_places=2), Decimal("1.005")),
    ],
)
def test_what_only_the_database_knows_is_said(field: Any, value: Any) -> None:
    with pytest.raises(ValueError):
        canonical(field, value)


@pytest.mark.parametrize(
    "value",
    [
        {"a": 1, "b": [1, 2.5, {"c": None}], "d": True},
        [[], {}, ""],
        (1, 2),
        {"a": (1, 2)},
        {2: "a", None: "b", True: "c"},
        "text",
        0,
    ],
)
def test_json_is_copied_as_its_text_would_be(value: Any) -> None:
    column = get_columns(Product)["data"]
    found = column.canonical(value)
    assert found == json.loads(json.dumps(value))
    assert json.dumps(found) == json.dumps(json.loads(json.dumps(value)))
    if isinstance(value, dict | list):
        assert found is not value


def test_a_nan_is_left_to_the_database() -> None:
    with pytest.raises(ValueError, match="NaN"):
        canonical(models.FloatField(name="x"), float("nan"))


def test_a_decimal_without_places_keeps_its_digits() -> None:
    field = models.DecimalField(name="x")
    assert canonical(field, Decimal("1.25")) == Decimal("1.25")


def test_the_dialect_of_the_database_is_not_asked() -> None:
    with connection.execute_wrapper(_refuse):
        assert canonical(models.IntegerField(name="x"), "5") == 5


def _refuse(*args: Any) -> None:
    raise AssertionError
