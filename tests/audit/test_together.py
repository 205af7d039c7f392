"""What is kept or undone as one has one id of its unit of work."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.db import connection, transaction
from django.test import TestCase as DjangoTestCase
from django.test.utils import override_settings
from django.urls import path

from django_signal_kit import batch
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.receivers import AuditLog, DeletionLog
from tests.apps.testapp.models import Product, Tag
from tests.audit.browsing import log_in
from tests.conftest import as_entry
from tests.factories import ProductFactory, TagFactory, UserFactory

site = admin.AdminSite("plain")
site.register(Product, fields=("name", "tags"))
urlpatterns = [path("plain/", site.urls)]

ALL = {"models": ["testapp.*"]}
committing = pytest.mark.django_db(transaction=True)


@pytest.fixture
def log(wire: Any) -> None:
    wire((AuditLog, ALL))


def units() -> list[Any]:
    """Of each entry, in order, the number of its unit."""
    found = list(AuditEntry.objects.order_by("pk").values_list("unit", flat=True))
    assert None not in found
    return [list(dict.fromkeys(found)).index(unit) for unit in found]


@committing
def test_what_one_transaction_does_is_together(log: None) -> None:
    with transaction.atomic():
        TagFactory()
        product = ProductFactory()
        with transaction.atomic():
            product.tags.add(TagFactory())
        with batch():
            TagFactory()
    TagFactory()
    with transaction.atomic():
        TagFactory()
    assert units() == [0, 0, 0, 0, 0, 1, 2]


@committing
def test_a_block_that_is_entered_again_is_another_transaction(log: None) -> None:
    @transaction.atomic
    def add() -> None:
        TagFactory()
        TagFactory()

    add()
    add()
    assert units() == [0, 0, 1, 1]


@committing
def test_a_transaction_that_is_rolled_back_leaves_no_id_to_the_next(log: None) -> None:
    block = transaction.atomic()
    with block:
        TagFactory()
        lost = AuditEntry.objects.get().unit
        transaction.set_rollback(True)
    with block:
        TagFactory()
        TagFactory()
    assert units() == [0, 0]
    assert lost not in AuditEntry.objects.values_list("unit", flat=True)


@committing
def test_with_autocommit_off_a_commit_ends_what_is_together(log: None) -> None:
    transaction.set_autocommit(False)
    try:
        TagFactory()
        with transaction.atomic():
            TagFactory()
        transaction.commit()
        TagFactory()
        transaction.commit()
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)
    assert units() == [0, 0, 1]


@committing
def test_a_log_that_is_wired_within_a_transaction_is_together_too(wire: Any) -> None:
    connection.__dict__.pop("_signal_kit_journal", None)
    with transaction.atomic():
        wire((AuditLog, ALL))
        TagFactory()
        TagFactory()
    TagFactory()
    assert units() == [0, 0, 1]


@committing
def test_a_deletion_has_the_same_id_in_both_logs(
    wire: Any, caplog: pytest.LogCaptureFixture
) -> None:
    wire((AuditLog, ALL), (DeletionLog, {**ALL, "per": "unit"}))
    caplog.set_level("INFO", logger="django_signal_kit.deletions")
    tags = TagFactory.create_batch(3)
    with transaction.atomic():
        tags[0].delete()
        Tag.objects.all().delete()
    found = [(record.count, record.unit) for record in caplog.records]  # type: ignore[attr-defined]
    [unit] = set(AuditEntry.objects.filter(action="delete").values_list("unit", flat=True))
    assert found == [(1, str(unit)), (2, str(unit))]


@override_settings(SIGNAL_KIT={"RECEIVERS": [as_entry((AuditLog, ALL))]})
class InATestCase(DjangoTestCase):
    def test_each_write_is_a_unit_and_each_block(self) -> None:
        TagFactory()
        TagFactory()
        for _ in range(2):
            with transaction.atomic():
                TagFactory()
                TagFactory()
        for _ in range(2):
            with transaction.atomic(savepoint=False):
                TagFactory()
                TagFactory()
        assert units() == [0, 1, 2, 2, 3, 3, 4, 4, 5, 5]

    def test_a_function_that_is_a_block_is_another_each_time(self) -> None:
        @transaction.atomic
        def add() -> None:
            TagFactory()
            TagFactory()

        add()
        add()
        assert units() == [0, 0, 1, 1]


@pytest.mark.django_db
@override_settings(ROOT_URLCONF=__name__)
def test_a_form_of_the_admin_is_saved_as_one_with_its_links(log: None) -> None:
    product, tag = ProductFactory(name="Tea"), TagFactory()
    product.tags.add(TagFactory())
    AuditEntry.objects.all().delete()
    client = log_in(UserFactory(is_staff=True, is_superuser=True))
    url = f"/plain/testapp/product/{product.pk}/change/"
    assert client.post(url, {"name": "Iced tea", "tags": [tag.pk]}).status_code == 302
    assert client.post(url, {"name": "Hot tea", "tags": [tag.pk]}).status_code == 302
    actions = list(AuditEntry.objects.order_by("pk").values_list("action", flat=True))
    assert sorted(actions[:3]) == ["m2m_add", "m2m_remove", "update"]
    assert units() == [0, 0, 0, 1]
