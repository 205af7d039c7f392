"""``migrate --plan`` tells what it would do to triggers, and does nothing."""

from __future__ import annotations

import json
import re

import pytest
from django.db import connection

from tests.audit.capture.deployed import CAPTURING, MIGRATE, Shop
from tests.audit.capture.shops import ADD_STOCK, FIRST, STOCKED, TAG
from tests.audit.capture.shops import shop as shop

pytestmark = pytest.mark.django_db(transaction=True)

HEADING = "Triggers of the audit log:"
PLAN = "call_command('migrate', plan=True, skip_checks=True{})"
INSTALLED = """
import json
from django_signal_kit.audit.capture.wanted import list_installed
print(json.dumps({each.name: each.checksum for each in list_installed("default")}))
"""


def read(said: str) -> dict[str, set[str]]:
    """Verb -> names, of what a plan says of triggers."""
    found: dict[str, set[str]] = {}
    for line in said.partition(HEADING)[2].splitlines():
        if line:
            told, _, table = line.strip().rpartition(" on ")
            verb, _, name = told.rpartition(" ")
            assert table.startswith(("shop_", "labels"))
            found.setdefault(verb, set()).add(name)
    return found


def plan(shop: Shop, options: str = "") -> dict[str, set[str]]:
    """What a plan says, which has to leave all as it is."""
    said = shop.say(INSTALLED, PLAN.format(options), INSTALLED)
    before, *plan, after = said.splitlines()
    assert before == after
    return read("\n".join(plan))


def follow(shop: Shop, options: str = "", migrate: str = MIGRATE) -> dict[str, set[str]]:
    """The same, which has to come true if the database is migrated; nothing is planned then."""
    said = shop.say(
        *(INSTALLED, PLAN.format(options), INSTALLED),
        *(migrate, INSTALLED, PLAN.format(options)),
    )
    _, before, planned, between, _, after, rest = re.split(r"^(\{.*\})$", said, flags=re.M)
    old, new = json.loads(between), json.loads(after)
    assert old == json.loads(before)
    assert read(rest) == {}
    found = read(planned)
    assert found.get("Install", set()) == new.keys() - old.keys()
    assert found.get("Drop", set()) == old.keys() - new.keys()
    assert found.get("Replace", set()) == {
        name for name in old.keys() & new.keys() if old[name] != new[name]
    }
    assert found.get("Set aside", set()) <= old.keys() & new.keys()
    return found


def test_of_a_database_that_is_empty_all_would_be_installed(shop: Shop) -> None:
    # The tables of the log are made by run_syncdb alone here.
    assert plan(shop) == {}
    assert follow(shop, ", run_syncdb=True").keys() == {"Install"}


@pytest.mark.parametrize(
    ("models", "operation", "verbs"),
    [
        (STOCKED, ADD_STOCK, {"Replace"}),
        (FIRST, 'migrations.RunSQL("SELECT 1"),', set()),
        (
            TAG.replace("class Tag", "class Label")
            + FIRST.removeprefix(TAG).replace("Tag", "Label"),
            'migrations.RenameModel("Tag", "Label"),',
            {"Install", "Drop"},
        ),
        (TAG, 'migrations.DeleteModel("Product"),', {"Drop"}),
    ],
    ids=["add", "sql", "rename", "delete"],
)
def test_what_is_planned_is_what_is_done(
    shop: Shop, models: str, operation: str, verbs: set[str]
) -> None:
    shop.say(MIGRATE)
    shop.change(models, operation)
    planned = follow(shop)
    assert verbs <= planned.keys() <= {*verbs, "Set aside", "Replace"}


def test_what_is_away_meanwhile_is_told(shop: Shop) -> None:
    shop.say(MIGRATE)
    longer = FIRST.replace("max_length=50", "max_length=60")
    shop.change(longer, 'migrations.AlterField("tag", "name", models.CharField(max_length=60)),')
    planned = follow(shop)
    assert planned.keys() == {"Set aside"}
    assert any("shop_tag_insert" in name for name in planned["Set aside"])


def test_a_migration_may_be_named(shop: Shop) -> None:
    shop.change(STOCKED, ADD_STOCK)
    back = "call_command('migrate', 'shop', '{}', verbosity=0)"
    shop.say(MIGRATE)
    options = ", app_label='shop', migration_name='{}'"
    assert "Replace" in follow(shop, options.format("0001"), back.format("0001"))
    assert "Replace" in plan(shop, ", app_label='shop'")
    planned = follow(shop, options.format("zero"), back.format("zero"))
    assert planned.keys() == {"Drop"}


def test_settings_alone_are_enough_for_a_plan(shop: Shop) -> None:
    shop.say(MIGRATE)
    options = CAPTURING["OPTIONS"]
    shop.receivers = [{**CAPTURING, "OPTIONS": {**options, "exclude_fields": ["price"]}}]
    assert follow(shop).keys() == {"Replace"}
    shop.receivers = []
    assert follow(shop).keys() == {"Drop"}
    assert HEADING not in shop.say(PLAN.format(""))


def test_a_check_exits_as_it_does_without_triggers(shop: Shop) -> None:
    shop.say(MIGRATE)
    shop.change(STOCKED, ADD_STOCK)
    result = shop.start(PLAN.format(", check_unapplied=True"))
    assert result.returncode == 1
    assert "Replace" in read(result.stdout)


OWN = """
from django.core.management.commands import migrate

class Command(migrate.Command):
    def handle(self, *args, **options):
        self.stdout.write("Before all else.")
        super().handle(*args, **options)
"""


@pytest.mark.parametrize("place", [0, 10], ids=["before", "after"])
def test_a_command_of_another_app_is_not_hidden(shop: Shop, place: int) -> None:
    shop.files |= dict.fromkeys(("tenants/__init__.py", "tenants/management/__init__.py"), "") | {
        "tenants/management/commands/__init__.py": "",
        "tenants/management/commands/migrate.py": OWN,
    }
    shop.apps.insert(place, "tenants")
    said = shop.say(PLAN.format(", run_syncdb=True"))
    assert "Before all else." in said
    # Which stands first decides whether triggers are told of.
    assert (HEADING in said) == (place > 0)


def test_a_database_is_asked_for_by_name(shop: Shop) -> None:
    if connection.vendor == "sqlite":
        shop.settings = 'DATABASES["second"] = {**DATABASES["default"], "NAME": "second.sqlite3"}'
        assert plan(shop, ", database='second', run_syncdb=True").keys() == {"Install"}
