"""Whatever is written through the ORM, nothing is found; then the one row that SQL has changed."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import connections, transaction
from django.db.models import F
from django.test import override_settings
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from django_signal_kit import batch
from django_signal_kit.receivers import AuditLog
from tests.apps.testapp.models import Category, Product, Restaurant, Tag
from tests.audit.comparing.asking import change, delete, tell
from tests.conftest import as_entry

pytestmark = pytest.mark.django_db(transaction=True)

LABELS = [f"testapp.{name}" for name in ("Product", "Place", "Restaurant", "Category", "Tag")]
KEYS = st.integers(1, 4)
#: Greater are the keys of rows that had another one.
MOVED = 10
ACTS = [
    "save",
    "update",
    "bulk_create",
    "bulk_update",
    "delete",
    "delete_all",
    "tag",
    "untag",
    "set",
    "tag_gone",
    "move",
    "child",
    "stars",
    "keep",
    "batch",
]
STEPS = st.lists(st.tuples(st.sampled_from(ACTS), KEYS, st.integers(0, 3)), max_size=12)


def take(step: str, key: int, value: int) -> None:
    row = Product.objects.filter(pk=key).first()
    rows = Product.objects.filter(pk=key)
    place = Restaurant.objects.filter(pk=key)
    match step:
        case "save":
            row = row or Product(pk=key, name="new")
            row.stock, row.category_id = value, value % 3 or None
            row.data = {"a": [value, None], "token": str(value)}
            row.save()
        case "update":
            Product.objects.update(stock=F("stock") + value)
        case "bulk_create":
            if row is None:
                Product.objects.bulk_create([Product(pk=key, name="bulk", stock=value)])
        case "bulk_update":
            if row is not None:
                row.name = f"name {value}"
                Product.objects.bulk_update([row], ["name"])
        case "delete":
            if row is not None:
                row.delete()
        case "delete_all":
            rows.delete()
        case "tag" | "untag" | "set":
            tags = Tag.objects.filter(pk__lte=value)
            if row is not None and step == "tag":
                row.tags.add(*tags)
            elif row is not None and step == "untag":
                row.tags.remove(*tags)
            elif row is not None:
                row.tags.set(tags)
        case "tag_gone":
            Tag.objects.filter(pk=key).delete()
        case "move":
            # Links and lines would be in the way.
            there = Product.objects.filter(pk=key + MOVED)
            if row is not None and not (row.tags.exists() or there.exists()):
                rows.update(id=key + MOVED)
        case "child":
            if not place.exists():
                Restaurant(pk=key, name="r", stars=value).save()
        case "stars":
            place.update(stars=value, name=f"r{value}")
        case "keep":
            if place.exists():
                place.get().delete(keep_parents=bool(value))
        case "batch":
            with batch():
                take("save", key, value)
                take("update", key, value)
                take("tag", key, value)


def tamper(how: str, position: int) -> tuple[str, str] | None:
    rows = [*Product.objects.order_by("pk"), *Restaurant.objects.order_by("pk")]
    if how == "insert":
        with connections["default"].cursor() as cursor:
            cursor.execute("INSERT INTO testapp_category (id, name) VALUES (99, 'raw')")
        return "unrecorded", "99"
    if not rows:
        return None
    row = rows[position % len(rows)]
    if how == "delete":
        if isinstance(row, Product):
            row.tags.through.objects.filter(product=row)._raw_delete("default")
        delete(row)
        return "gone", str(row.pk)
    if isinstance(row, Product) and row.pk > MOVED:
        # What it was under the key that it had before is not asked for.
        return None
    if how == "link":
        tag = Tag.objects.exclude(products=row.pk).first()
        if tag is None or not isinstance(row, Product):
            return None
        through = Product.tags.through
        with connections["default"].cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {through._meta.db_table} (product_id, tag_id) VALUES (%s, %s)",
                [row.pk, tag.pk],
            )
        return "changed", str(row.pk)
    change(row, "name", "raw")
    return "changed", str(row.pk)


@given(
    steps=STEPS,
    how=st.sampled_from(["change", "delete", "insert", "link"]),
    position=st.integers(0, 9),
)
@settings(deadline=None)
def test_only_what_sql_has_done_is_found(steps: Any, how: str, position: int) -> None:
    ContentType.objects.clear_cache()
    entry = as_entry((AuditLog, {"models": ["testapp.*"]}))
    with transaction.atomic(), override_settings(SIGNAL_KIT={"RECEIVERS": [entry]}):
        for key in (1, 2):
            Category.objects.create(pk=key, name="c")
        for key in (1, 2, 3):
            Tag.objects.create(pk=key, name="t")
        for step in steps:
            take(*step)
        assert tell(*LABELS, is_complete=True) == []
        wrong = tamper(how, position)
        assume(wrong is not None)
        assert [finding[:2] for finding in tell(*LABELS, is_complete=True)] == [wrong]
        transaction.set_rollback(True)
    ContentType.objects.clear_cache()
