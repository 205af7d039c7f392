"""Projects that capture by triggers run their own tests, in each way that Django knows."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from django.db import connection

from tests.audit.capture.deployed import CAPTURING, Shop, get_name
from tests.audit.capture.shops import FIRST
from tests.audit.capture.shops import shop as shop

pytestmark = pytest.mark.django_db(transaction=True)

TESTS = """
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test import TestCase, TransactionTestCase

from django_signal_kit import context
from django_signal_kit.audit.models import AuditEntry
from shop.models import Product, Tag


class Writing:
    def test_each_write_is_told_once(self):
        self.assertFalse(AuditEntry.objects.filter(object_text="tea").exists())
        with context(actor="ada"):
            tea = Product.objects.create(name="tea")
            tea.tags.create(name="hot")
        with connection.cursor() as cursor:
            cursor.execute("UPDATE shop_product SET name = 'pot'")
        product, tag = ContentType.objects.get_for_models(Product, Tag).values()
        told = AuditEntry.objects.exclude(object_text="before").order_by("pk")
        self.assertEqual(
            [(each.action, each.content_type, each.object_text, each.actor_text) for each in told],
            [
                ("create", product, "tea", "ada"),
                ("create", tag, "hot", "ada"),
                ("m2m_add", product, "tea", "ada"),
                ("update", product, "pot", ""),
            ],
        )
        self.assertEqual("price" in told[0].changes, not WITHOUT_PRICE)

    test_and_again = test_each_write_is_told_once


class InOneTransaction(Writing, TestCase):
    @classmethod
    def setUpTestData(cls):
        Tag.objects.create(name="before")

    def test_what_is_there_before_is_told(self):
        self.assertEqual(AuditEntry.objects.get().object_text, "before")


class Committed(Writing, TransactionTestCase):
    pass


class CommittedToo(Committed):
    pass


class Restored(Writing, TransactionTestCase):
    serialized_rollback = True

    def setUp(self):
        # What a migration has written before there were triggers.
        self.assertEqual(Tag.objects.get().name, "of old")
        self.assertFalse(AuditEntry.objects.exists())
"""
FILL = """
def fill(apps, editor):
    apps.get_model("shop", "Tag").objects.create(name="of old")

"""
RUN = (
    "call_command('test', {classes}, interactive=False, verbosity=0, keepdb={keepdb}, "
    "parallel={parallel})"
)
FILES = ["memory", "file"] if connection.vendor == "sqlite" else [""]


@pytest.fixture(params=FILES)
def tested(request: pytest.FixtureRequest, shop: Shop) -> Iterator[Shop]:
    name = {"memory": ":memory:", "file": "runs.sqlite3"}.get(request.param, f"{get_name()}_runs")
    # What is restored is what has migrations.
    shop.settings = (
        f"MIGRATION_MODULES = {{}}\nDATABASES['default']['TEST'] = {{'NAME': {name!r}}}\n"
    )
    shop.change(FIRST, "migrations.RunPython(fill)", FILL)
    yield shop
    if connection.vendor != "sqlite":
        with connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {name}")


def run(shop: Shop, *classes: str, keepdb: bool = False, parallel: int = 0) -> None:
    without_price = "exclude_fields" in shop.receivers[0]["OPTIONS"]
    shop.files["shop/tests.py"] = f"WITHOUT_PRICE = {without_price}\n{TESTS}"
    labels = ", ".join(repr(f"shop.tests.{each}") for each in classes)
    shop.say(RUN.format(classes=labels, keepdb=keepdb, parallel=parallel))


ALL = ("InOneTransaction", "Committed", "CommittedToo")


def test_a_database_that_is_kept_follows_the_settings(tested: Shop) -> None:
    run(tested, *ALL, keepdb=True)
    tested.receivers = [
        {**CAPTURING, "OPTIONS": {**CAPTURING["OPTIONS"], "exclude_fields": ["price"]}}
    ]
    run(tested, *ALL)


def test_what_is_restored_is_told_by_nobody(tested: Shop) -> None:
    run(tested, "Restored")


def test_copies_for_several_processes_have_their_triggers(tested: Shop) -> None:
    if connection.vendor == "mysql" and shutil.which("mysqldump") is None:
        # Django copies by it.
        assert not os.environ.get("SIGNAL_KIT_REQUIRE_SERVICES")
        pytest.skip("mysqldump is not here, by which Django copies a database.")
    run(tested, *ALL, parallel=2)
