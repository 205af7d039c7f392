"""Who writes rows, and who migrates: with the rights that the page says, and no others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from tests.audit.capture.deployed import MIGRATE, Shop, get_name
from tests.audit.capture.shops import shop as shop

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite knows no accounts"),
]

PAGE = Path(__file__).parents[3] / "docs" / "topics" / "captured-databases.md"
HOST = "@'127.0.0.1'" if connection.vendor == "mysql" else ""
ENTRIES = "signal_kit_audit_auditentry"


def read_page(number: int) -> list[str]:
    """The statements of a block of the page, for the database of the test."""
    title = "PostgreSQL" if connection.vendor == "postgresql" else "MariaDB"
    section = re.split(rf"^### {title}.*$", PAGE.read_text(encoding="utf-8"), flags=re.M)[1]
    block = re.findall(r"^```sql\n(.*?)^```$", section, flags=re.M | re.S)[number]
    # Other tests may have such accounts at the same time.
    block = re.sub(r"\bshop_(owner|app)\b", lambda found: get_account(found[1]), block)
    block = re.sub(r"(DATABASE|ON|FROM) shop\b", rf"\1 {get_name()}", block)
    block = block.replace("'shop'", f"'{get_name()}'")
    lines = (line for line in block.splitlines() if not line.startswith("--"))
    return [each.strip() for each in "\n".join(lines).split(";") if each.strip()]


def get_account(name: str) -> str:
    return f"{get_name()}_{name}"


def run(*statements: str) -> list[Any]:
    """As the administrator, anywhere."""
    with connection.cursor() as cursor:
        for each in statements:
            cursor.execute(each)
        return list(cursor.fetchall()) if cursor.description else []


def use(shop: Shop, name: str) -> None:
    """Deploy with this account."""
    shop.settings = f'DATABASES["default"]["USER"] = "{get_account(name)}"\n'


@pytest.fixture
def accounts(shop: Shop) -> Iterator[Shop]:
    drop_accounts()
    run(f"DROP DATABASE {get_name()}", *read_page(0))
    yield shop
    run(f"DROP DATABASE {get_name()}")
    drop_accounts()


def drop_accounts() -> None:
    kind = "USER" if connection.vendor == "mysql" else "ROLE"
    run(*(f"DROP {kind} IF EXISTS {get_account(name)}{HOST}" for name in ("app", "owner")))


def test_the_owner_migrates_and_the_application_writes(accounts: Shop) -> None:
    shop = accounts
    use(shop, "owner")
    shop.say(MIGRATE)
    shop.say(GRANTING.format(statements=read_page(1)))
    use(shop, "app")
    said = shop.say(WRITING, DENIED)
    assert said.splitlines() == ["denied"] * said.count("\n") != []
    use(shop, "owner")
    entries = shop.write("last = 0")
    assert [(each["action"], each["text"]) for each in entries] == [
        ("create", "tea"),
        ("create", "hot"),
        ("m2m_add", "tea"),
        ("update", "pot"),
        ("m2m_remove", "pot"),
        ("delete", "pot"),
    ]
    assert all(each["context"] == {"reason": "any"} for each in entries)


@pytest.mark.skipif(connection.vendor != "mysql", reason="PostgreSQL shows all")
def test_who_may_not_see_what_triggers_do_is_told_so(accounts: Shop) -> None:
    shop = accounts
    use(shop, "owner")
    check = "call_command('check', databases=['default'])"
    shop.say(MIGRATE, GRANTING.format(statements=read_page(1)))
    assert "signal_kit.W03" not in shop.start(check).stderr
    use(shop, "app")
    said = shop.start(check).stderr
    assert "signal_kit.W033" in said
    assert "signal_kit.W031" not in said
    # That there are none it sees all the same.
    use(shop, "owner")
    shop.say("call_command('auditcapture', drop=True)")
    use(shop, "app")
    assert "TriggersMissingError" in shop.start("Tag.objects.create(name='hot')").stderr


@pytest.mark.skipif(connection.vendor != "mysql", reason="who owns a table may do all with it")
def test_without_the_right_to_make_triggers_nobody_migrates(accounts: Shop) -> None:
    shop = accounts
    run(f"REVOKE TRIGGER ON {get_name()}.* FROM {get_account('owner')}{HOST}")
    use(shop, "owner")
    said = shop.start(MIGRATE).stderr
    assert "Triggers are made by an account that has the right TRIGGER on each table." in said
    run(f"GRANT TRIGGER ON {get_name()}.* TO {get_account('owner')}{HOST}")
    assert len(shop.migrate("Product.objects.create(name='tea')")) == 1


GRANTING = """
from django.db import connection
with connection.cursor() as cursor:
    for each in {statements!r}:
        cursor.execute(each)
        if connection.vendor == "mysql" and each.startswith("SELECT"):
            for (grant,) in cursor.fetchall():
                cursor.execute(grant)
"""
WRITING = """
from django.db import connection
from django_signal_kit import context
with context(reason="any"):
    tea = Product.objects.create(name="tea")
    tea.tags.create(name="hot")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE shop_product SET name = 'pot'")
    tea.tags.clear()
    tea.delete()
"""
DENIED = """
from django.db import DatabaseError, connection
from django_signal_kit.audit.capture.wanted import list_installed
statements = [
    "SELECT * FROM signal_kit_audit_auditentry",
    "INSERT INTO signal_kit_audit_auditentry (action) VALUES ('create')",
    "UPDATE signal_kit_audit_auditentry SET action = 'create'",
    "DELETE FROM signal_kit_audit_auditentry",
    "DROP TABLE signal_kit_audit_auditentry",
    "TRUNCATE TABLE shop_tag",
    *(each.drop for each in list_installed("default")),
]
if connection.vendor == "postgresql":
    statements += [
        "ALTER TABLE shop_tag DISABLE TRIGGER ALL",
        "SET session_replication_role = replica",
    ]
for each in statements:
    try:
        with connection.cursor() as cursor:
            cursor.execute(each)
    except DatabaseError:
        print("denied")
    else:
        print(each)
"""
