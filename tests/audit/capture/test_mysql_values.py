"""What triggers of MariaDB tell of values is what Python tells, to the letter."""

from __future__ import annotations

import datetime
import decimal
import uuid
from typing import Any

import pytest
from django.db import models

from tests.apps.testapp.models import Category
from tests.audit.capture.mysql import Install, assert_same, only_on_mysql
from tests.audit.capture.mysql import install as install
from tests.factories import CategoryFactory

pytestmark = [pytest.mark.django_db(transaction=True), only_on_mysql]

UTC = datetime.UTC
D = decimal.Decimal

#: A field, and values of it, each of which follows upon the one before it.
CASES: dict[str, tuple[Any, list[Any]]] = {
    "boolean": (models.BooleanField(null=True), [True, False, None, True]),
    "integer": (models.IntegerField(null=True), [0, -5, None, 2**31 - 1]),
    "bigint": (models.BigIntegerField(null=True), [2**63 - 1, -(2**63), None]),
    "unsigned": (models.PositiveBigIntegerField(), [0, 2**63 - 1]),
    "float": (
        models.FloatField(null=True),
        [0.1, 1.0, -2.5, 1e300, 1.5e-10, 5e-324, 0.1 + 0.2, 1e15, 1e16, 123456.0, None, 1e22],
    ),
    "decimal": (
        models.DecimalField(max_digits=30, decimal_places=10, null=True),
        [D("12.5"), D("-0.5"), None, D("12345678901234567890.0123456789")],
    ),
    "text": (
        models.TextField(null=True),
        [
            "Tea",
            "tea",
            "tea ",
            "té",
            "te",
            "",
            "a'b\"c\\d/e",
            "😀 ü \u2028",
            "\x01\x02\t\n\r\x0b\x1f\x7f\x85",
            "a\x00b",
            None,
            "%s %(x)s %%",
            "null",
            "\ufeff\ufffd",
        ],
    ),
    "char": (models.CharField(max_length=40), ["Tea", "TEA", "tea ", "tea", "'; DROP TABLE x;"]),
    "date": (
        models.DateField(null=True),
        [datetime.date(2026, 1, 2), datetime.date(1, 1, 1), None, datetime.date(9999, 12, 31)],
    ),
    "time": (
        models.TimeField(null=True),
        [datetime.time(1, 2), datetime.time(23, 59, 59, 1), None, datetime.time(0, 0)],
    ),
    "datetime": (
        models.DateTimeField(null=True),
        [
            datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
            datetime.datetime(2026, 1, 2, 3, 4, 5, 10, tzinfo=UTC),
            None,
            datetime.datetime(1000, 1, 1, tzinfo=UTC),
        ],
    ),
    "duration": (
        models.DurationField(null=True),
        [
            datetime.timedelta(1, 2, 3),
            datetime.timedelta(0),
            datetime.timedelta(-1, 5),
            datetime.timedelta(microseconds=-1),
            datetime.timedelta(microseconds=-(2**63)),
            datetime.timedelta(20_000, 86399, 999_999),
            None,
        ],
    ),
    "uuid": (models.UUIDField(null=True), [uuid.UUID(int=1), None, uuid.UUID(int=2**128 - 1)]),
    "bytes": (models.BinaryField(null=True), [b"", b"\x00\xff" * 100, None, b"Tea", b"tea"]),
    "ip": (models.GenericIPAddressField(null=True), ["10.0.0.1", "::1", None]),
    "file": (models.FileField(), ["a/b.txt", "", "ü.txt"]),
    "json": (
        models.JSONField(null=True),
        [
            {},
            {"a": [1, 1.0, True, None, "x", {"b": "ü😀\n\"'\\"}]},
            [],
            "a",
            "null",
            5,
            1.5,
            True,
            None,
            {"a": 1},
            {"a": 1.0},
            {"author": "Ann", "monkey": 1, "side": 2, "compass": 3, "text": "a secret: token"},
        ],
    ),
    "choices": (models.CharField(max_length=1, choices=[("a", "A"), ("b", "B")]), ["a", "b"]),
}


@pytest.mark.parametrize("case", CASES)
def test_each_kind_of_value_is_told_as_python_tells_it(
    case: str, make_model: Any, install: Install
) -> None:
    field, values = CASES[case]
    model = make_model("Holder", models.Model, value=field)
    install(model, both=True)
    for first in values:
        row = model.objects.create(value=first)
        (created,) = assert_same()
        assert created[0] == "create"
        for value in values:
            row.value = value
            row.save()
        assert_same()
        row.delete()
        (deleted,) = assert_same()
        assert deleted[0] == "delete"


def test_foreign_keys_are_told_by_the_column(make_model: Any, install: Install) -> None:
    one, two = CategoryFactory(), CategoryFactory()
    category = models.ForeignKey(Category, models.SET_NULL, null=True)
    model = make_model("Holder", models.Model, value=category)
    install(model, both=True)
    row = model.objects.create(value=one)
    row.value = two
    row.save()
    assert len(assert_same()) == 2
    key = two.pk
    two.delete()
    ((action, *_, changes, _, _, _, _),) = assert_same()
    assert (action, changes) == ("update", f'{{"value": [{key}, null]}}')
