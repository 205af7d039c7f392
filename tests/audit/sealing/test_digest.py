"""An entry has one digest, whatever database it is in; another entry has another."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.audit.sealing.digest import DIGEST_SIZE, get_columns, get_digest, serialize

UTC = datetime.UTC
MADRID = timezone.get_fixed_timezone(60)


def form(value: Any) -> Any:
    """The canonical form of one value."""
    return json.loads(serialize(["a"], [value]))["a"]


def test_an_entry_is_a_line_of_json_in_the_order_of_its_columns():
    assert serialize(["b", "a"], [1, {"z": "ü", "y": None}]) == (
        b'{"a":{"y":null,"z":"\\u00fc"},"b":1}'
    )


def test_all_columns_count():
    assert get_columns(AuditEntry) == sorted(
        field.attname for field in AuditEntry._meta.concrete_fields
    )
    assert {"content_type_id", "actor_id", "id", "using"} <= set(get_columns(AuditEntry))


def test_a_digest_has_sixteen_bytes():
    assert len(get_digest(["a"], [1])) == DIGEST_SIZE == 16


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        ("", ""),
        ("None", "None"),
        ("\ud800", "\ud800"),
        (1.0, 1),
        (1e20, 10**20),
        (1e300, 10**300),
        (-0.0, 0),
        (0.1, 0.1),
        (float("nan"), ["float", "nan"]),
        (float("-inf"), ["float", "-inf"]),
        ([1, [2.0]], ["list", 1, ["list", 2]]),
        ((1,), ["list", 1]),
        (Decimal("4.50"), ["decimal", "4.5"]),
        (Decimal("100"), ["decimal", "100"]),
        (Decimal("1E+2"), ["decimal", "100"]),
        (Decimal("0.00"), ["decimal", "0"]),
        (UUID(int=1), ["uuid", "0" * 31 + "1"]),
        (datetime.date(2026, 1, 2), ["date", "2026-01-02"]),
        (datetime.time(1, 2, 3), ["time", "01:02:03"]),
        (datetime.timedelta(days=-1, microseconds=1), ["timedelta", -86399999999]),
        (datetime.datetime(1970, 1, 1, 0, 0, 1, 5, UTC), ["datetime", 1000005]),
        (datetime.datetime(1970, 1, 1, 1, 0, 1, 5, MADRID), ["datetime", 1000005]),
        (datetime.datetime(1969, 12, 31, 23, 59, 59, 999999), ["datetime", -1]),
        (b"\x00\xff", ["bytes", "00ff"]),
        (memoryview(b"\x00"), ["bytes", "00"]),
    ],
)
def test_each_value_has_one_form(value, expected):
    assert form(value) == expected


def test_what_has_no_form_is_named():
    with pytest.raises(TypeError, match="The column 'colour' of the audit log holds a complex"):
        get_digest(["colour"], [1j])


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.dates()
    | st.binary()
    | st.uuids()
    | st.timedeltas()
    | st.datetimes(timezones=st.just(UTC))
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)


def say(value: Any) -> Any:
    """A value in which True is not 1."""
    if isinstance(value, dict):
        return {key: say(item) for key, item in value.items()}
    if isinstance(value, list):
        return [say(item) for item in value]
    return (type(value), value)


@given(values, values)
def test_two_values_look_alike_only_if_they_are(one, other):
    assert (serialize(["a"], [one]) == serialize(["a"], [other])) is (say(one) == say(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (None, "None"),
        (1, True),
        (0, False),
        (1, "1"),
        ([], {}),
        ([1, 2], [[1], 2]),
        ([["list", 1]], [[1]]),
        (["date", "2026-01-02"], datetime.date(2026, 1, 2)),
        ({"a": None}, {}),
    ],
)
def test_what_is_nearly_alike_is_told_apart(one, other):
    assert serialize(["a"], [one]) != serialize(["a"], [other])


def test_a_value_does_not_move_into_another_column():
    assert serialize(["a", "b"], ["x", ""]) != serialize(["a", "b"], ["", "x"])


@pytest.mark.django_db
def test_each_database_gives_the_same_digest():
    entry = AuditEntry.objects.create(
        at=datetime.datetime(2026, 3, 29, 1, 30, 0, 123456, UTC),
        action="update",
        object_pk="1",
        object_text="Lamp ü \N{GRINNING FACE}\n",
        changes={"b": [1.0, 1e20], "a": ["4.50", None], "c": {"x": [True, 0.1, 1e-7]}},
        context={},
        unit=UUID(int=5),
        using="default",
    )
    columns = [column for column in get_columns(AuditEntry) if column != "id"]
    (stored,) = AuditEntry.objects.filter(pk=entry.pk).values_list(*columns)
    assert get_digest(columns, stored).hex() == "4866b998a4e9b4b8fd92d168716ee33d"


@pytest.mark.django_db
@given(
    st.recursive(
        # Not beyond what each database's JSON keeps of a number.
        st.none()
        | st.booleans()
        | st.integers(-(2**53), 2**53)
        | st.floats(-(2.0**60), 2.0**60)
        | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.just("k") | st.just("l"), inner)
        ),
        max_leaves=6,
    )
)
def test_what_comes_back_from_the_database_has_the_digest_of_what_was_stored(value):
    entry = AuditEntry.objects.create(action="update", object_pk="1", changes={"v": value})
    (stored,) = AuditEntry.objects.filter(pk=entry.pk).values_list("changes")
    assert serialize(["changes"], stored) == serialize(["changes"], [{"v": value}])
