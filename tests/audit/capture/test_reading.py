"""Entries that triggers have written are read, taken back, sealed and compared like others."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from django_signal_kit import context, muted
from django_signal_kit.audit.capture import standing
from django_signal_kit.audit.capture.installing import drop, install
from django_signal_kit.audit.capture.wanted import list_installed
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.receivers import AuditLog
from django_signal_kit.test import assert_all_writes_heard
from tests.apps.testapp.models import Category, Tag
from tests.factories import CategoryFactory, ProductFactory, TagFactory, UserFactory

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

OPTIONS = {"models": ["testapp.Category", "testapp.Product", "testapp.Tag"]}


@pytest.fixture(autouse=True)
def _capturing(wire: Any) -> Iterator[None]:
    wire((AuditLog, {**OPTIONS, "capture": "triggers"}))
    install("default")
    yield
    drop("default", list_installed("default"))
    standing.forget()


def sql(text: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(text)


def last(**lookups: Any) -> Any:
    return AuditEntry.objects.filter(**lookups).latest("pk")


def test_the_actor_the_reason_and_the_unit_are_there() -> None:
    user = UserFactory()
    with context(actor=user, reason="stocktaking"):
        category = CategoryFactory()
        ProductFactory(category=category)
    entries = AuditEntry.objects.filter(actor=user)
    assert [each.context for each in entries] == [{"reason": "stocktaking"}] * 2
    assert {each.actor_text for each in entries} == {str(user)}
    assert len({each.unit for each in entries}) == 2
    assert list(AuditEntry.objects.of_unit(entries[0])) == [entries[0]]


def get_moment() -> datetime:
    """Now, before any entry that comes: SQLite tells the time to the millisecond."""
    moment = timezone.now()
    time.sleep(0.002)
    return moment


def test_rows_are_as_they_were_and_are_taken_back() -> None:
    product = ProductFactory(price=Decimal("4.50"))
    before = get_moment()
    sql("UPDATE testapp_product SET price = 9")
    assert AuditEntry.objects.as_of(product, before).price == Decimal("4.50")
    last(action="update").revert()
    product.refresh_from_db()
    assert product.price == Decimal("4.50")
    tag = TagFactory(name="hot")
    sql("DELETE FROM testapp_tag")
    last(action="delete").revert()
    assert Tag.objects.get().pk == tag.pk
    product.tags.add(TagFactory())
    last(action="m2m_add").revert()
    assert not product.tags.exists()


def test_entries_of_both_captures_are_one_history(wire: Any) -> None:
    category = CategoryFactory(name="Tea")
    drop("default", list_installed("default"))
    wire((AuditLog, OPTIONS))
    category.name = "Coffee"
    category.save()
    wire((AuditLog, {**OPTIONS, "capture": "triggers"}))
    install("default")
    moment = get_moment()
    category.name = "Cocoa"
    category.save()
    history = AuditEntry.objects.for_object(category).order_by("pk")
    assert [each.changes.get("name") for each in history] == [
        [None, "Tea"],
        ["Tea", "Coffee"],
        ["Coffee", "Cocoa"],
    ]
    assert AuditEntry.objects.as_of(category, moment).name == "Coffee"
    call_command("verifyauditlog", "--rows", stdout=StringIO())


def test_rows_are_compared_with_the_log_and_what_nobody_recorded_is_found() -> None:
    ProductFactory(), TagFactory()
    sql("UPDATE testapp_product SET price = 7")
    call_command("verifyauditlog", "--rows", stdout=StringIO())
    with muted("AuditLog"):
        Tag.objects.update(name="cold")
    with pytest.raises(CommandError, match="1 row is not what the log says"):
        call_command("verifyauditlog", "--rows", stdout=StringIO())


def test_they_are_sealed_exported_and_pruned(tmp_path: Path) -> None:
    CategoryFactory.create_batch(3)
    file = tmp_path / "log.jsonl"
    call_command("exportauditlog", format="jsonl", output=str(file))
    assert [json.loads(line)["action"] for line in file.read_text().splitlines()] == ["create"] * 3
    call_command("sealauditlog", stdout=StringIO())
    call_command("verifyauditlog", stdout=StringIO())
    table = AuditEntry._meta.db_table
    sql(f"UPDATE {table} SET object_text = 'another'")
    with pytest.raises(CommandError):
        call_command("verifyauditlog", stdout=StringIO())


def test_rows_from_before_are_recorded_later() -> None:
    with muted("AuditLog"):
        CategoryFactory(name="Tea")
    assert not AuditEntry.objects.exists()
    call_command("backfillauditlog", stdout=StringIO())
    assert last().changes["name"] == [None, "Tea"]


def test_raw_writes_are_heard_by_who_watches() -> None:
    CategoryFactory()
    with assert_all_writes_heard():
        sql("UPDATE testapp_category SET name = 'Tea'")
    assert last().changes["name"][1] == "Tea"
    assert Category.objects.get().name == "Tea"
