"""Any bulk writes, one after the other: the same table and the same results as with Django alone,
and a log that replays to the table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction
from django.db.models import Case, Count, Exists, F, OuterRef, Value, When
from django.db.models.functions import Concat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_signal_kit import only
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.receivers import AuditLog, CacheInvalidation, FileCleanup
from django_signal_kit.writes import matched
from tests.apps.testapp.models import Category, Line, Product

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

#: What of a row is compared, by the names that the log has for it.
FIELDS = ("id", "name", "slug", "stock", "data", "category")
KEYS = st.integers(1, 8)
NUMBERS = st.integers(-2, 5)

CONDITIONS: list[Callable[[Any, int], Any]] = [
    lambda rows, n: rows,
    lambda rows, n: rows.filter(stock__gte=n),
    lambda rows, n: rows.exclude(stock=n),
    lambda rows, n: rows.filter(pk__in=[n, str(n + 1), n]),
    lambda rows, n: rows.filter(category__name="hot"),
    lambda rows, n: rows.filter(lines__text="x").distinct(),
    lambda rows, n: rows.filter(lines__text="x"),
    lambda rows, n: rows.annotate(n=Count("lines")).filter(n__gte=n),
    lambda rows, n: rows.filter(Exists(Line.objects.filter(product=OuterRef("pk")))),
    lambda rows, n: rows.order_by("-stock", "name"),
    lambda rows, n: rows.values("name").filter(stock__lt=n),
    lambda rows, n: rows.only("slug"),
    lambda rows, n: rows[:n] if n > 0 else rows.none(),
]
VALUES: list[Callable[[int], dict[str, Any]]] = [
    lambda n: {"stock": n},
    lambda n: {"stock": str(n), "slug": "s"},
    lambda n: {"stock": F("stock") + n},
    lambda n: {"name": Concat(F("name"), Value("!"))},
    lambda n: {"stock": Case(When(stock__gt=n, then=0), default=F("stock"))},
    lambda n: {"category": None},
    lambda n: {"category_id": 1, "data": {"n": [n]}},
    lambda n: {"category": Category(pk=2)},
    lambda n: {"id": F("id") + 100},
    lambda n: {"id": n},
    lambda n: {"category": 99},
    lambda n: {"name": None},
    lambda n: {"nothing": n},
]
ROWS = st.lists(
    st.tuples(KEYS, st.booleans(), NUMBERS, st.sampled_from("abc")), min_size=1, max_size=7
)
UPDATES = st.tuples(
    st.just("update"), st.sampled_from(CONDITIONS), st.sampled_from(VALUES), NUMBERS
)
BULK_UPDATES = st.tuples(
    st.just("bulk_update"),
    st.sampled_from(CONDITIONS),
    ROWS,
    st.sampled_from([["stock"], ["name", "stock"], ["slug"], ["category_id", "stock"]]),
    st.sampled_from([None, 1, 2, 3]),
)
BULK_CREATES = st.tuples(
    st.just("bulk_create"), ROWS, st.sampled_from(["", "ignore", "upsert"]), st.booleans()
)
OPERATIONS = st.lists(st.one_of(UPDATES, BULK_UPDATES, BULK_CREATES), min_size=1, max_size=5)


def make(row: tuple[int, bool, int, str]) -> Product:
    key, is_text, number, name = row
    return Product(
        pk=str(key) if is_text else key,
        name=name,
        stock=number,
        slug=name,
        data={"n": number},
        category_id=None if number < 0 else 1 + number % 2,
    )


def act(operation: Any) -> Any:
    kind, *more = operation
    if kind == "update":
        condition, values, number = more
        return condition(Product.objects.all(), number).update(**values(number))
    if kind == "bulk_update":
        condition, rows, fields, batch_size = more
        objs = [make(row) for row in rows]
        return condition(Product.objects.all(), 1).bulk_update(objs, fields, batch_size)
    rows, how, has_size = more
    options: dict[str, Any] = {"batch_size": 2 if has_size else None}
    if how == "ignore":
        options["ignore_conflicts"] = True
    elif how == "upsert":
        options |= {"update_conflicts": True, "update_fields": ["stock", "slug"]}
        if connection.features.supports_update_conflicts_with_target:
            options["unique_fields"] = ["pk"]
    made = Product.objects.bulk_create([make(row) for row in rows], **options)
    return [(str(obj.pk), obj.stock, obj._state.adding) for obj in made]


def read_table() -> dict[str, dict[str, Any]]:
    return {str(row["id"]): row for row in Product.objects.values(*FIELDS)}


def start() -> None:
    for model in (Line, Product, Category):
        model.objects.all().delete()
    Category.objects.bulk_create([Category(pk=1, name="hot"), Category(pk=2, name="cold")])
    Product.objects.bulk_create(
        [make((key, False, key % 4, "abc"[key % 3])) for key in range(1, 6)]
    )
    Line.objects.bulk_create([Line(product_id=key, text="x") for key in (1, 2, 2, 3, 3, 3)])
    AuditEntry.objects.all().delete()


def run(operations: Any) -> list[Any]:
    """Result, or class of the error, and the table, after each operation."""
    with only():
        start()
    found = []
    for operation in operations:
        before = read_table()
        try:
            with transaction.atomic():
                result = act(operation)
        except Exception as error:
            result = type(error)
        after = read_table()
        found.append((result, after))
        check_log(before, after)
    return found


def check_log(before: dict[str, Any], after: dict[str, Any]) -> None:
    """The entries of an operation lead from one table to the other; forget them."""
    table = {key: dict(row) for key, row in before.items()}
    for entry in AuditEntry.objects.order_by("pk"):
        changes = {name: pair for name, pair in entry.changes.items() if name in FIELDS}
        key = entry.object_pk
        if entry.context.get("certain") is False:
            table[key] = after.get(key)
            continue
        if entry.action == "create":
            assert key not in table
            table[key] = dict.fromkeys(FIELDS)
        elif "id" in changes:
            table[key] = table.pop(str(changes["id"][0]))
        for name, (old, new) in changes.items():
            assert entry.action == "create" or table[key][name] == old
            assert old != new
            table[key][name] = new
    AuditEntry.objects.all().delete()
    if LOGGED:
        assert {key: row for key, row in table.items() if row is not None} == after


LOGGED: list[bool] = []


@given(OPERATIONS, st.sampled_from([2, 2000]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bulk_writes_are_those_of_django(wire: Any, operations: Any, size: int) -> None:
    LOGGED.clear()
    wire()
    alone = run(operations)
    ContentType.objects.clear_cache()
    wire(
        (AuditLog, {"models": [Product]}),
        (CacheInvalidation, {"models": [Product], "keys": ["{pk}:{slug}:{stock}"]}),
        (FileCleanup, {"models": [Product]}),
    )
    LOGGED.append(True)
    with mock.patch.object(matched, "CHUNK", size):
        assert run(operations) == alone
