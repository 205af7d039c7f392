"""Triggers follow the tables through every migration, and go when nobody asks for them."""

from __future__ import annotations

import re

import pytest
from django.db import connection

from tests.audit.capture.deployed import CAPTURING, MIGRATE, Shop
from tests.audit.capture.shops import ADD_STOCK, FIRST, STOCKED, TAG
from tests.audit.capture.shops import shop as shop

pytestmark = pytest.mark.django_db(transaction=True)


def told(entries: list[dict[str, object]]) -> list[tuple[object, ...]]:
    return [(each["action"], each["text"], each["changes"]) for each in entries]


def test_the_first_migration_installs_them(shop: Shop) -> None:
    entries = shop.migrate(
        "tea = Product.objects.create(name='tea')",
        "tea.tags.add(Tag.objects.create(name='hot'))",
        "sql('UPDATE shop_product SET price = 2')",
        "tea.tags.clear()",
        "tea.delete()",
    )
    assert told(entries) == [
        ("create", "tea", {"id": [None, 1], "name": [None, "tea"], "price": [None, "1.50"]}),
        ("create", "hot", {"id": [None, 1], "name": [None, "hot"]}),
        ("m2m_add", "tea", {"tags": {"added": [1]}}),
        ("update", "tea", {"price": ["1.50", "2.00"]}),
        ("m2m_remove", "tea", {"tags": {"removed": [1]}}),
        ("delete", "tea", {"id": [1, None], "name": ["tea", None], "price": ["2.00", None]}),
    ]


def test_what_has_been_done_to_them_is_said_by_migrate(shop: Shop) -> None:
    """Or it would say, last of all, that there was nothing to do."""
    migrate = MIGRATE.replace("verbosity=0", "verbosity=1, skip_checks=True")
    said = shop.say(migrate)
    count = {"postgresql": 14, "sqlite": 9, "mysql": 9}[connection.vendor]
    assert said.splitlines()[-1] == f"Triggers of the audit log: {count} installed."
    assert "Triggers" not in shop.say(migrate)
    options = {**CAPTURING["OPTIONS"], "redact": ["price"], "exclude": ["shop.Tag"]}
    shop.receivers = [{**CAPTURING, "OPTIONS": options}]
    said = shop.say(migrate).splitlines()[-1]
    assert re.fullmatch(r"Triggers of the audit log: \d replaced, \d dropped\.", said)


CHECKED = "call_command('migrate', skip_checks=False{})"


def test_migrate_does_not_send_anybody_to_itself(shop: Shop) -> None:
    """What it is about to mend nobody has to be told, unless it is not."""
    shop.start("call_command('migrate', 'shop')")
    for arguments in (", plan=True", ", check_unapplied=True", ", app_label='shop'"):
        assert "W012" in shop.start(CHECKED.format(arguments)).stderr
    assert "W012" not in shop.start(CHECKED.format(", run_syncdb=True")).stderr

    options = {**CAPTURING["OPTIONS"], "exclude_fields": ["price"]}
    shop.receivers = [{**CAPTURING, "OPTIONS": options}]
    assert "W031" in shop.start(CHECKED.format(", plan=True")).stderr
    assert "W031" not in shop.start(CHECKED.format(", app_label='shop'")).stderr
    # They have been replaced.
    assert "W031" not in shop.start(CHECKED.format(", plan=True")).stderr


@pytest.mark.parametrize(
    ("old", "new", "operation", "write", "changes"),
    [
        (
            "    tags =",
            "    stock = models.IntegerField(default=0)\n    tags =",
            'migrations.AddField("product", "stock", models.IntegerField(default=0))',
            "Product.objects.update(stock=5)",
            {"stock": [0, 5]},
        ),
        (
            "price = models.DecimalField(max_digits=8, decimal_places=2",
            "price = models.DecimalField(max_digits=9, decimal_places=3",
            'migrations.AlterField("product", "price", models.DecimalField(max_digits=9, '
            'decimal_places=3, default="1.50"))',
            "Product.objects.update(price=2)",
            {"price": ["1.500", "2.000"]},
        ),
        (
            "price",
            "cost",
            'migrations.RenameField("product", "price", "cost")',
            "Product.objects.update(cost=2)",
            {"cost": ["1.50", "2.00"]},
        ),
        (
            '    price = models.DecimalField(max_digits=8, decimal_places=2, default="1.50")\n',
            "",
            'migrations.RemoveField("product", "price")',
            "Product.objects.update(name='pot')",
            {"name": ["tea", "pot"]},
        ),
        (
            "class Product",
            "class Item",
            'migrations.RenameModel("Product", "Item")',
            "Item.objects.update(price=2)",
            {"price": ["1.50", "2.00"]},
        ),
        (
            "    def __str__(self):\n        return self.name\n\nclass Product",
            "    class Meta:\n        db_table = 'labels'\n\nclass Product",
            'migrations.AlterModelTable("tag", "labels")',
            "Product.objects.update(price=2)",
            {"price": ["1.50", "2.00"]},
        ),
    ],
    ids=["add", "alter", "rename", "remove", "rename the model", "rename a table"],
)
def test_a_change_of_the_table_is_followed(
    shop: Shop, old: str, new: str, operation: str, write: str, changes: object
) -> None:
    shop.migrate("Product.objects.create(name='tea').tags.create(name='hot')")
    shop.change(FIRST.replace(old, new), operation)
    model = "Item" if "Item" in new else "Product"
    update, *others = shop.migrate(
        write,
        f"{model}.objects.get().tags.create(name='cold')",
        f"{model}.objects.all().delete()",
    )
    assert (update["action"], update["changes"]) == ("update", changes)
    actions = [each["action"] for each in others]
    assert actions[:2] == ["create", "m2m_add"]
    assert actions[-1] == "delete"


def test_what_a_migration_of_rows_writes_is_recorded(shop: Shop) -> None:
    shop.migrate("Product.objects.create(name='tea')")
    shop.change(
        FIRST,
        "migrations.RunPython(fill)",
        "def fill(apps, editor):\n    apps.get_model('shop', 'Product').objects.update(price=3)\n",
    )
    (entry,) = shop.write(MIGRATE)
    assert entry["changes"] == {"price": ["1.50", "3.00"]}


FILL = """
def fill(apps, editor):
    Product = apps.get_model("shop", "Product")
    Product.objects.update(cost=3)
    Product.objects.create(name="pot", cost=4)
    Product.objects.filter(name="tea").delete()

"""


def test_what_is_written_while_columns_change_is_recorded_where_that_can_be(shop: Shop) -> None:
    shop.migrate("Product.objects.create(name='tea').tags.create(name='hot')")
    shop.change(
        FIRST.replace("price", "cost"),
        'migrations.RenameField("product", "price", "cost"), migrations.RunPython(fill)',
        FILL,
    )
    entries = shop.migrate("Product.objects.update(cost=5)")
    assert told(entries) == [("update", "pot", {"cost": ["4.00", "5.00"]})]
    during = shop.write("last = 0")[3:-1]
    if connection.vendor == "postgresql":
        assert [(each["action"], each["changes"]) for each in during] == [
            ("update", {"cost": ["1.50", "3.00"]}),
            ("create", {"id": [None, 2], "name": [None, "pot"], "cost": [None, "4.00"]}),
            ("m2m_remove", {"tags": {"removed": [1]}}),
            ("delete", {"id": [1, None], "name": ["tea", None], "cost": ["3.00", None]}),
        ]
    else:
        # Until the end of a migration that changes their columns nobody hears these tables.
        assert during == []


def test_a_model_that_goes_takes_its_own_along(shop: Shop) -> None:
    shop.migrate()
    shop.change(TAG, 'migrations.DeleteModel("Product")')
    assert told(shop.migrate("Tag.objects.create(name='hot')")) == [
        ("create", "hot", {"id": [None, 1], "name": [None, "hot"]})
    ]


def test_backwards_they_follow_too(shop: Shop) -> None:
    shop.change(STOCKED, ADD_STOCK)
    shop.migrate()
    # The code still has the column, which the database has no more.
    (entry,) = shop.write(
        "call_command('migrate', 'shop', '0001', verbosity=0)",
        "sql(\"INSERT INTO shop_product (name, price) VALUES ('tea', 3)\")",
    )
    assert entry["changes"] == {"id": [None, 1], "name": [None, "tea"], "price": [None, "3.00"]}


def test_they_follow_the_settings(shop: Shop) -> None:
    shop.migrate()
    options = CAPTURING["OPTIONS"]
    shop.receivers = [{**CAPTURING, "OPTIONS": {**options, "exclude_fields": ["price"]}}]
    result = shop.start("call_command('check', databases=['default'], fail_level='WARNING')")
    assert "signal_kit.W031" in result.stderr
    assert "are others (on shop_product" in result.stderr
    # Until they are migrated, those of the other settings record.
    (entry,) = shop.write("Product.objects.create(name='tea')")
    assert entry["changes"] == {"id": [None, 1], "name": [None, "tea"], "price": [None, "1.50"]}
    (entry,) = shop.migrate("Product.objects.create(name='tea')")
    assert entry["changes"] == {"id": [None, 2], "name": [None, "tea"]}

    shop.receivers = [{**CAPTURING, "OPTIONS": {**options, "capture": "python"}}]
    (entry,) = shop.migrate(
        "Product.objects.create(name='tea')", "sql('DELETE FROM shop_product')"
    )
    assert entry["action"] == "create"

    shop.receivers = []
    assert shop.migrate("Product.objects.create(name='tea')") == []


def test_a_write_that_nobody_would_record_fails(shop: Shop) -> None:
    shop.migrate()
    result = shop.start(
        "call_command('auditcapture', drop=True)", "Product.objects.create(name='tea')"
    )
    said = result.stderr.strip().splitlines()[-1]
    assert said == (
        "django_signal_kit.exceptions.TriggersMissingError: AuditLog leaves shop_product, "
        "shop_product_tags and shop_tag to triggers, and the database 'default' has none there, "
        "so that no change would be recorded. Run: migrate --database default, or auditcapture "
        "--install --database default."
    )
    assert (
        len(
            shop.write(
                "call_command('auditcapture', install=True, stdout=StringIO())",
                "Product.objects.create(name='tea')",
            )
        )
        == 1
    )


@pytest.mark.skipif(connection.vendor == "mysql", reason="rolls back no change of a table")
def test_a_migration_that_fails_leaves_a_shop_that_can_be_migrated(shop: Shop) -> None:
    shop.migrate("Product.objects.create(name='tea')")
    shop.change(
        STOCKED,
        f"{ADD_STOCK} migrations.RunPython(fail)",
        "def fail(apps, editor):\n    raise LookupError\n",
    )
    assert shop.start(MIGRATE).returncode != 0
    name = "shop/migrations/0002_step.py"
    shop.files[name] = shop.files[name].replace("raise LookupError", "pass")
    (entry,) = shop.migrate("Product.objects.update(stock=5)")
    assert entry["changes"] == {"stock": [0, 5]}
