"""What ``auditcapture --sql`` prints, run by the client of the database as it comes."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from tests.audit.capture.clients import feed
from tests.audit.capture.deployed import CAPTURING, MIGRATE, Shop, get_name
from tests.audit.capture.shops import FIRST
from tests.audit.capture.shops import shop as shop

pytestmark = pytest.mark.django_db(transaction=True)

SQL = "call_command('auditcapture', sql=True)"
STATUS = "call_command('auditcapture', stdout=StringIO())"
WRITES = (
    "tea = Product.objects.create(name='tea')",
    "tea.tags.create(name='hot')",
    "sql('UPDATE shop_product SET price = 2')",
    "tea.tags.clear()",
    "tea.delete()",
)
TOLD = ["create", "create", "m2m_add", "update", "m2m_remove", "delete"]


def run(shop: Shop, *options: str, **environment: str) -> None:
    """Have the client run what is printed now."""
    feed(shop, shop.say(SQL).encode(), *options, **environment)


def migrate_without(shop: Shop) -> None:
    """The tables are there, and no triggers."""
    wanted, shop.receivers = shop.receivers, []
    shop.say(MIGRATE)
    shop.receivers = wanted


def write(shop: Shop, *statements: str) -> list[dict[str, Any]]:
    """What is told of them by triggers that are as they should be."""
    return shop.write(STATUS, *statements)


def test_the_client_of_the_database_runs_it(shop: Shop) -> None:
    migrate_without(shop)
    run(shop)
    assert [each["action"] for each in write(shop, *WRITES)] == TOLD


def test_it_is_run_where_triggers_are_already_or_are_others_or_too_many(shop: Shop) -> None:
    shop.migrate()
    run(shop)
    options = CAPTURING["OPTIONS"]
    shop.receivers = [
        {**CAPTURING, "OPTIONS": {**options, "exclude": ["shop.Tag"], "redact": ["price"]}}
    ]
    run(shop)
    told = write(shop, *WRITES)
    assert [each["action"] for each in told] == TOLD[1:]
    assert told[2]["changes"] == {"price": ["[redacted]", "[redacted]"]}


ODD = """
class Odd(models.Model):
    größe = models.CharField(max_length=50, db_column="größe '\\\\ ; // $$")
    at = models.DateTimeField(null=True)
    class Meta:
        db_table = "odd 'table' ü ;; :a"
    def __str__(self):
        return f"„{self.größe}“ '\\\\ ;"
"""
CREATE_ODD = """
    migrations.CreateModel("Odd", [
        ("id", models.BigAutoField(primary_key=True)),
        ("größe", models.CharField(max_length=50, db_column="größe '\\\\ ; // $$")),
        ("at", models.DateTimeField(null=True)),
    ], options={"db_table": "odd 'table' ü ;; :a"}),
"""


def test_names_that_mean_something_to_a_client_mean_nothing(shop: Shop) -> None:
    shop.change(FIRST + ODD, CREATE_ODD)
    migrate_without(shop)
    run(shop)
    (entry,) = write(shop, "Odd.objects.create(größe='a')")
    assert (entry["text"], entry["changes"]["größe"]) == ("„a“ '\\ ;", [None, "a"])


SETTINGS = {
    "mysql": (
        "--default-character-set=latin1",
        "--init-command=SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,EMPTY_STRING_IS_NULL'",
    ),
}


@pytest.mark.skipif(connection.vendor == "sqlite", reason="its client sets nothing")
def test_what_a_client_sets_has_no_say(shop: Shop) -> None:
    shop.change(FIRST + ODD, CREATE_ODD)
    shop.settings = {
        "postgresql": "USE_TZ, TIME_ZONE = False, 'Asia/Tokyo'\n",
        "mysql": "TIME_ZONE = 'UTC'\n",
    }[connection.vendor]
    migrate_without(shop)
    run(
        shop,
        *SETTINGS.get(connection.vendor, ()),
        PGOPTIONS="-c TimeZone=America/Lima -c search_path=pg_catalog -c client_encoding=LATIN1",
    )
    (entry,) = write(
        shop,
        "import datetime",
        "Odd.objects.create(größe='', at=datetime.datetime(2026, 1, 1, 12))",
    )
    assert entry["text"] == "„“ '\\ ;"
    assert entry["changes"]["größe"] == [None, ""]
    assert entry["changes"]["at"][1].startswith("2026-01-01T12:00:00")


@pytest.mark.skipif(connection.vendor != "mysql", reason="is about a right of MariaDB")
def test_another_account_makes_what_the_one_that_migrates_may_not(shop: Shop) -> None:
    account = f"{get_name()}_app@'127.0.0.1'"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE OR REPLACE USER {account}")
        cursor.execute(f"GRANT ALL ON {get_name()}.* TO {account}")
        cursor.execute(f"REVOKE TRIGGER ON {get_name()}.* FROM {account}")
    try:
        shop.settings = f'DATABASES["default"]["USER"] = "{get_name()}_app"\n'
        assert "an account that has the right TRIGGER" in shop.start(MIGRATE).stderr
        run(shop)
        assert [each["action"] for each in shop.migrate(*WRITES)] == TOLD
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP USER {account}")
