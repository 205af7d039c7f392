"""Values as JSON: typed, without secrets, always storable."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from django.db import models
from hypothesis import given
from hypothesis import strategies as st

from django_signal_kit.rows.values import REDACTED, is_secret, to_json


class Colour(models.TextChoices):
    RED = "red"


class Size(Enum):
    SMALL = 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (0, 0),
        ("", ""),
        (1.5, 1.5),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (Decimal("12.50"), "12.50"),
        (Decimal("NaN"), "NaN"),
        (Colour.RED, "red"),
        (Size.SMALL, 1),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (datetime.time(3, 4), "03:04:00"),
        (datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC), "2026-01-02T00:00:00+00:00"),
        (datetime.timedelta(days=1, seconds=2), "P1DT00H00M02S"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (b"\x00\xff", "AP8="),
        (memoryview(b"\x00"), "AA=="),
        ({"a": (1, {2})}, {"a": [1, [2]]}),
        ("a\x00\ud800b", "a\ufffd\ufffdb"),
        ({1: "x", "\x00": 2}, {"1": "x", "\ufffd": 2}),
    ],
)
def test_each_type_has_its_form(value: Any, expected: Any) -> None:
    found = to_json(value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    "name",
    ["password", "Password_Hash", "api_key", "apiKey", "API-KEY", "auth_token", "client.secret"],
)
def test_names_of_secrets_are_known_in_any_spelling(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", ["name", "keyboard", "passenger", "api"])
def test_other_names_are_no_secrets(name: str) -> None:
    assert not is_secret(name)


def test_more_names_of_secrets_can_be_given() -> None:
    assert is_secret("card_number", ("cardnumber",))
    assert is_secret("IBAN", ("iban",))
    assert not is_secret("card_number", ("iban",))


def test_a_secret_key_loses_its_whole_value() -> None:
    value = {"user": {"password": ["a", "b"], "name": "x"}, "iban": 1}
    assert to_json(value, ("iban",)) == {
        "user": {"password": REDACTED, "name": "x"},
        "iban": REDACTED,
    }


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.decimals()
    | st.datetimes()
    | st.timedeltas()
    | st.uuids()
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=10,
)


@given(anything)
def test_whatever_comes_can_be_stored(value: Any) -> None:
    text = json.dumps(to_json(value), allow_nan=False, ensure_ascii=False)
    text.encode()
    assert "\\u0000" not in json.dumps(to_json(value))
