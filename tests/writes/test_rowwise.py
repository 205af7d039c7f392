"""Signals of rows that a project sends by hand, for bulk writes that the kit hears by itself."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.db.models.signals import post_save

from django_signal_kit import batch
from django_signal_kit.receivers import AuditLog
from tests.apps.testapp.models import Product, Tag
from tests.factories import ProductFactory, TagFactory
from tests.relations.told import tell

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=["database", "snapshot"])
def audit(wire: Any, request: Any) -> Any:
    ContentType.objects.clear_cache()
    return wire((AuditLog, {"models": ["testapp.*"], "old_values": request.param}))


def send(rows: Any, *, created: bool, update_fields: Any = None) -> None:
    for row in rows:
        post_save.send(
            sender=type(row),
            instance=row,
            created=created,
            raw=False,
            using="default",
            update_fields=update_fields,
        )


def test_after_bulk_create(audit: Any) -> None:
    made = Tag.objects.bulk_create([Tag(name="a"), Tag(name="b")])
    send(made, created=True)
    assert [changes["name"] for _, changes in tell()] == [[None, "a"], [None, "b"]]


@pytest.mark.parametrize("block", [transaction.atomic, batch])
def test_after_bulk_create_in_one_transaction(audit: Any, block: Any) -> None:
    with block():
        made = Tag.objects.bulk_create([Tag(name="a"), Tag(name="b")])
        send(made, created=True)
    assert [action for action, _ in tell()] == ["create"] * 2


def test_after_update(audit: Any) -> None:
    rows = ProductFactory.create_batch(2, stock=1)
    tell()
    Product.objects.update(stock=2)
    # Those in memory are of before, those that are loaded anew are of now.
    send(rows, created=False)
    send(Product.objects.all(), created=False)
    send(Product.objects.all(), created=False, update_fields={"stock"})
    assert [changes for _, changes in tell()] == [{"stock": [1, 2]}] * 2


def test_after_bulk_update(audit: Any) -> None:
    tags = list(
        Tag.objects.filter(pk__in=[tag.pk for tag in TagFactory.create_batch(2, name="a")])
    )
    tell()
    for tag in tags:
        tag.name = "b"
    Tag.objects.bulk_update(tags, ["name"])
    send(tags, created=False)
    assert [changes for _, changes in tell()] == [{"name": ["a", "b"]}] * 2


def test_what_is_saved_afterwards_is_told(audit: Any) -> None:
    [tag] = Tag.objects.bulk_create([Tag(name="a")])
    if tag.pk is None:
        tag = Tag.objects.get()
    tell()
    tag.name = "b"
    tag.save()
    key = tag.pk
    tag.delete()
    tag.pk = key
    tag.save()
    assert [action for action, _ in tell()] == ["update", "delete", "create"]


def test_what_no_bulk_write_has_told_is_told_by_the_signal(wire: Any) -> None:
    ContentType.objects.clear_cache()
    wire((AuditLog, {"models": [Tag], "bulk": False}))
    made = Tag.objects.bulk_create([Tag(name="a")])
    send(made, created=True)
    assert [action for action, _ in tell()] == ["create"]
