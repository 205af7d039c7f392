"""What an entry holds is what the field held."""

from __future__ import annotations

import datetime
import json
import uuid
from decimal import Decimal
from typing import Any

import pytest
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from hypothesis import given
from hypothesis import strategies as st

from django_signal_kit.audit.decoding import NotDecodable, decode
from django_signal_kit.rows.values import redact_with_hash, to_json
from tests.apps.testapp.models import Line, Product, Restaurant

AWARE = st.datetimes(timezones=st.just(datetime.UTC))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet="abcé"),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(alphabet="abc"), inner),
)

VALUES: dict[type[models.Field[Any, Any]], st.SearchStrategy[Any]] = {
    models.DecimalField: st.decimals(allow_nan=False, allow_infinity=False),
    models.DateField: st.dates(),
    models.DateTimeField: AWARE,
    models.TimeField: st.times(),
    models.DurationField: st.timedeltas(),
    models.UUIDField: st.uuids(),
    models.BinaryField: st.binary(),
    models.BooleanField: st.booleans(),
    models.IntegerField: st.integers(),
    models.FloatField: st.floats(allow_nan=False),
    models.TextField: st.text(alphabet="abcdé ☃"),
    models.JSONField: JSON,
}


@pytest.mark.parametrize("cls", VALUES)
@given(data=st.data())
def test_each_kind_of_value_comes_back(
    cls: type[models.Field[Any, Any]], data: st.DataObject
) -> None:
    value = data.draw(VALUES[cls])
    stored = json.loads(json.dumps(to_json(value)))
    found = decode(cls(name="field"), stored)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("value", [1e16, 1e23, 1.5e300, -1e23])
def test_a_float_comes_back_that_jsonb_has_written_as_an_integer(value: float) -> None:
    found = decode(models.FloatField(name="field"), int(Decimal(repr(value))))
    assert found == value
    assert type(found) is float


def test_null_is_null() -> None:
    assert decode(Product._meta.get_field("data"), None) is None


def test_a_foreign_key_is_decoded_as_what_it_points_at() -> None:
    assert decode(Line._meta.get_field("product"), 3) == 3
    assert decode(Restaurant._meta.get_field("place_ptr"), 3) == 3

    class Ticketed(models.Model):
        ref = models.UUIDField(unique=True)

        class Meta:
            app_label = "decoding"

    class Seat(models.Model):
        of = models.ForeignKey(Ticketed, models.CASCADE, to_field="ref")

        class Meta:
            app_label = "decoding"

    key = uuid.uuid4()
    assert decode(Seat._meta.get_field("of"), str(key)) == key


def test_what_the_database_computes_is_decoded_as_what_comes_out() -> None:
    class Priced(models.Model):
        price = models.IntegerField()
        total = models.GeneratedField(
            expression=models.F("price") * 2,
            output_field=models.DecimalField(max_digits=8, decimal_places=2),
            db_persist=True,
        )

        class Meta:
            app_label = "decoding"

    value = decode(Priced._meta.get_field("total"), "4.50")
    assert (type(value), value) == (Decimal, Decimal("4.50"))
    with pytest.raises(NotDecodable):
        decode(Priced._meta.get_field("total"), "a")


def test_an_array_is_decoded_item_by_item() -> None:
    field = models.TextField(name="dates")
    field.base_field = models.DateField(name="item")  # type: ignore[attr-defined]
    day = datetime.date(2026, 1, 2)
    assert decode(field, ["2026-01-02", None]) == [day, None]


def test_a_field_with_a_decoder_gets_what_it_would_read() -> None:
    class Decoder(json.JSONDecoder):
        def __init__(self, **options: Any) -> None:
            super().__init__(**{**options, "parse_float": Decimal})

    field = models.JSONField(name="data", encoder=DjangoJSONEncoder, decoder=Decoder)
    with pytest.raises(NotDecodable, match="data"):
        decode(field, 1.5)
    assert decode(field, {"a": 1}) == {"a": 1}


@pytest.mark.parametrize(
    "stored",
    ["[redacted]", redact_with_hash("x"), {"a": [{"token": "[redacted]"}]}, "[unknown]"],
)
@pytest.mark.parametrize("name", ["name", "data", "price"])
def test_what_the_log_does_not_have_is_an_error_that_names_the_field(
    name: str, stored: Any
) -> None:
    with pytest.raises(NotDecodable, match=f"testapp.Product.{name}"):
        decode(Product._meta.get_field(name), stored)


@pytest.mark.parametrize(("name", "stored"), [("price", "cheap"), ("stock", "4"), ("name", 4)])
def test_what_the_field_would_take_for_another_value_is_an_error(name: str, stored: Any) -> None:
    with pytest.raises(NotDecodable, match=f"testapp.Product.{name}"):
        decode(Product._meta.get_field(name), stored)
