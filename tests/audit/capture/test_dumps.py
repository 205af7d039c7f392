"""A shop that is dumped and restored: with its triggers, and without telling anything twice."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import pytest
from django.db import connection

from tests.audit.capture.clients import feed, run
from tests.audit.capture.deployed import MIGRATE, Shop, drop_database, make_database
from tests.audit.capture.shops import shop as shop

pytestmark = pytest.mark.django_db(transaction=True)

STATUS = "call_command('auditcapture', stdout=StringIO())"
DROP = "call_command('auditcapture', drop=True, stdout=StringIO())"
INSTALL = "call_command('auditcapture', install=True, stdout=StringIO())"
#: Of all tables: content types have other keys than where the dump was made.
EMPTY = """
from django.apps import apps
from django.db import connection
with connection.constraint_checks_disabled(), connection.cursor() as cursor:
    tables = connection.introspection.django_table_names(only_existing=True)
    if connection.vendor == "postgresql":
        cursor.execute(f"TRUNCATE {', '.join(tables)}, django_migrations")
    else:
        for table in [*tables, "django_migrations"]:
            cursor.execute(f"DELETE FROM {table}")
"""


def dump(shop: Shop, *options: str) -> bytes:
    if connection.vendor == "sqlite":
        with closing(sqlite3.connect(shop.directory / "shop.sqlite3")) as database:
            return "\n".join(database.iterdump()).encode()
    return run({"postgresql": "pg_dump", "mysql": "mysqldump"}[connection.vendor], *options)


def begin_anew(shop: Shop) -> None:
    drop_database()
    (shop.directory / "shop.sqlite3").unlink(missing_ok=True)
    make_database()


FIRST = ("tea = Product.objects.create(name='tea')", "tea.tags.create(name='hot')")
MORE = ("Product.objects.update(price=3)", "Tag.objects.create(name='cold')")


def assert_goes_on(shop: Shop, before: Sequence[Any]) -> None:
    """The log is what it was, and is written on."""
    said = shop.write("last = 0", STATUS)
    assert said == before
    assert [each["action"] for each in shop.write(*MORE)] == ["update", "create"]


def test_a_whole_dump_has_the_triggers_and_tells_nothing_twice(shop: Shop) -> None:
    before = shop.migrate(*FIRST)
    dumped = dump(shop)
    begin_anew(shop)
    feed(shop, dumped)
    assert_goes_on(shop, before)


@pytest.mark.skipif(connection.vendor == "sqlite", reason="a dump of SQLite has all")
def test_rows_alone_are_restored_while_there_are_no_triggers(shop: Shop) -> None:
    before = shop.migrate(*FIRST)
    options = {
        "postgresql": ["--data-only"],
        "mysql": ["--no-create-info", "--skip-triggers"],
    }[connection.vendor]
    dumped = dump(shop, *options)
    begin_anew(shop)
    shop.say(MIGRATE, EMPTY, DROP)
    feed(shop, dumped)
    shop.say(INSTALL)
    assert_goes_on(shop, before)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="an option of pg_dump")
def test_rows_alone_are_restored_past_triggers(shop: Shop) -> None:
    before = shop.migrate(*FIRST)
    dumped = dump(shop, "--data-only", "--disable-triggers")
    begin_anew(shop)
    shop.say(MIGRATE, EMPTY)
    feed(shop, dumped)
    # They have keys of content types in them, which may be others where they were made.
    shop.say(INSTALL)
    assert_goes_on(shop, before)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="only there they can be disabled")
def test_nobody_writes_while_triggers_are_disabled(shop: Shop) -> None:
    shop.migrate()
    run("psql", "--command=ALTER TABLE shop_tag DISABLE TRIGGER ALL")
    result = shop.start("Tag.objects.create(name='hot')")
    said = result.stderr.strip().splitlines()[-1]
    assert "TriggersMissingError: AuditLog leaves shop_tag to triggers" in said
    assert "is another" in shop.start("call_command('auditcapture')").stdout
    assert len(shop.write(INSTALL, "Tag.objects.create(name='hot')")) == 1


def test_a_fixture_of_a_whole_database_is_loaded_while_triggers_are_muted(shop: Shop) -> None:
    before = shop.migrate(*FIRST, "call_command('dumpdata', output='all.json', verbosity=0)")
    begin_anew(shop)
    shop.say(MIGRATE, EMPTY, LOAD, INSTALL)
    assert_goes_on(shop, before)


LOAD = """
from django_signal_kit import muted
with muted("AuditLog"):
    call_command("loaddata", "all.json", verbosity=0)
"""
