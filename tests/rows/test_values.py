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

from django_signal_kit.rows.values import (
    REDACTED,
    bounded,
    is_redacted,
    redact_with_hash,
    to_json,
)


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


@given(anything)
def test_a_hash_that_is_redacted_again_stays_what_it_is(value: Any) -> None:
    hashed = redact_with_hash(value)
    assert is_redacted(hashed)
    assert redact_with_hash(hashed) == hashed


def test_hashes_that_are_stored_already_are_still_those_of_their_values() -> None:
    # With the SECRET_KEY of the tests. Another salt would part rows from their entries.
    assert redact_with_hash("T-4711") == "[redacted efb3aeed26a63e38]"
    assert redact_with_hash(UUID(int=1)) == "[redacted 178d6705c9ebf012]"


# What anybody may have given


def test_what_holds_itself_is_told_but_for_the_repetition() -> None:
    job: dict[str, Any] = {"name": "import"}
    job["steps"] = [{"number": 1, "job": job}]
    knot: list[Any] = [1]
    knot.append(knot)
    assert bounded(job) == {"name": "import", "steps": [{"number": 1, "job": "<dict…>"}]}
    assert bounded({"knot": knot}) == {"knot": [1, "<list…>"]}


def test_what_is_there_twice_is_told_twice() -> None:
    part = {"a": [1]}
    assert bounded([part, part]) == [part, part]


def test_what_is_too_much_is_told_in_part() -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    laughs: list[Any] = ["ha"]
    for _ in range(50):
        laughs = [laughs, laughs]
    for value in (deep, laughs, list(range(10**6)), dict.fromkeys(map(str, range(10**5)), 1)):
        assert len(json.dumps(bounded(value))) < 1_000_000


class Mute:
    def __str__(self) -> str:
        raise RuntimeError


class Broken(dict[str, Any]):
    def items(self) -> Any:
        raise RuntimeError


class Wordy:
    def __str__(self) -> str:
        return "x" * 10**6


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Mute(), "<Mute>"),
        ({"a": Mute(), Mute(): 1}, {"a": "<Mute>", "<Mute>": 1}),
        (Broken(), "<Broken>"),
        pytest.param(10**5000, "<int>", id="huge"),
        pytest.param({"n": -(10**5000)}, {"n": "<int>"}, id="huge in a dict"),
        (float("nan"), "nan"),
        (memoryview(b"abcdef")[::2], "<memoryview>"),
        pytest.param({"password": 10**5000}, {"password": REDACTED}, id="huge secret"),
        (b"\xff", "/w=="),
        (Wordy(), "x" * 2000 + "…"),
        ("x" * 10**4, "x" * 10**4),
    ],
)
def test_what_is_no_json_is_said_in_short(value: Any, expected: Any) -> None:
    assert bounded(value) == expected


@given(anything)
def test_what_is_bounded_is_the_same_json_where_it_is_short(value: Any) -> None:
    assert json.dumps(bounded(value)) == json.dumps(to_json(value))
