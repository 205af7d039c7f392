"""With ``migrate`` itself, in a project of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import KIT, Project

pytestmark = pytest.mark.django_db(transaction=True)


FILES = {
    "shop/__init__.py": "",
    "shop/models.py": """
from django.db import models

class Product(models.Model):
    name = models.CharField(max_length=100)
    slug = models.CharField(max_length=60, default="")

class Order(models.Model):
    number = models.IntegerField()
""",
    "shop/migrations/__init__.py": "",
    "shop/migrations/0001_initial.py": """
from django.db import migrations, models

class Migration(migrations.Migration):
    initial = True
    operations = [migrations.CreateModel("Product", [
        ("id", models.BigAutoField(primary_key=True)),
        ("name", models.CharField(max_length=50)),
    ])]
""",
    "shop/migrations/0002_order.py": """
from django.db import migrations, models

class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial")]
    operations = [
        migrations.AddField("product", "slug", models.CharField(max_length=60, default="")),
        migrations.AlterField("product", "name", models.CharField(max_length=100)),
        migrations.CreateModel("Order", [
            ("id", models.BigAutoField(primary_key=True)),
            ("number", models.IntegerField()),
        ]),
    ]
""",
}
# The kit comes first, so that its receivers are called before those of Django.
APPS = [
    KIT,
    "django.contrib.sites",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "shop",
]
OPTIONS = {
    "ensure": [
        {"model": "shop.Product", "lookup": {"name": "Tea"}, "defaults": {"slug": "tea"}},
        {"model": "shop.Order", "lookup": {"number": 1}},
    ],
    "groups": {"Clerks": ["shop.change_product", "shop.view_order", "auth.view_user"]},
    "sites": {1: "shop.example"},
    "sql": [
        {
            "name": "slugs",
            "create": "CREATE VIEW slugs AS SELECT slug FROM shop_product",
            "drop": "DROP VIEW IF EXISTS slugs",
        },
        {
            "name": "numbered",
            "create": "CREATE TRIGGER numbered AFTER INSERT ON shop_order BEGIN "
            "UPDATE shop_product SET slug = 'ordered'; END",
            "drop": "DROP TRIGGER IF EXISTS numbered",
        },
    ],
    "consistency": [{"name": "slugs", "sql": "SELECT * FROM slugs WHERE slug = ''"}],
    "consistency_before": [
        {"name": "names", "model": "shop.Product", "filter": {"name": "wrong"}}
    ],
    "sql_drop_first": True,
}
SITES = """
DATABASES["default"]["NAME"] = "db.sqlite3"
SITE_ID = 1
"""

HELP = """
import io
from django.core.management import call_command
from django.db import connection

def read(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()

def migrate(*words, **options):
    out = io.StringIO()
    call_command("migrate", *words, stdout=out, **options)
    return [line.strip()[:70] for line in out.getvalue().splitlines() if "Left out" in line]

def objects():
    return [name for name, in read(
        "SELECT name FROM sqlite_master WHERE type IN ('view', 'trigger') ORDER BY name")]

def tables():
    return [name for name, in read("SELECT name FROM sqlite_master WHERE type = 'table'")]

def perms():
    return [code for code, in read(
        "SELECT codename FROM auth_group_permissions g JOIN auth_permission p "
        "ON p.id = g.permission_id ORDER BY codename")]
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(
        tmp_path,
        FILES,
        APPS,
        SITES,
        RECEIVERS=[
            {"RECEIVER": "django_signal_kit.receivers.MigrationActions", "OPTIONS": OPTIONS}
        ],
    )


def test_migrate_plan_writes_nothing_and_migrate_of_a_fresh_database_makes_everything(
    project: Project,
) -> None:
    printed = project.run(
        HELP
        + """
migrate("--plan")
print(tables())
print(migrate())
print(read("SELECT name, slug FROM shop_product"), read("SELECT number FROM shop_order"))
print(perms(), objects())
print(read("SELECT id, domain, name FROM django_site"))
from django.contrib.sites.models import Site
print(Site.objects.get_current().domain)
print(read("SELECT domain FROM django_site"), migrate("--plan"))
before = read("SELECT * FROM signal_kit_sql_object")
print(migrate(), before == read("SELECT * FROM signal_kit_sql_object"))
"""
    )
    assert printed.splitlines() == [
        "[]",
        "[]",
        "[('Tea', 'tea')] [(1,)]",
        "['change_product', 'view_order', 'view_user'] ['numbered', 'slugs']",
        "[(1, 'shop.example', 'shop.example')]",
        "shop.example",
        "[('shop.example',)] []",
        "[] True",
    ]


def test_a_part_of_the_migrations_backwards_and_forwards_again(project: Project) -> None:
    printed = project.run(
        HELP
        + """
print(*migrate("contenttypes"), sep="\\n")
print("--")
print(*migrate("shop", "0001"), sep="\\n")
print(objects())
print("--")
print(migrate(), objects(), perms())
read("DELETE FROM shop_order")
print("--")
print(len(migrate("shop", "0001")), "shop_order" in tables())
print(len(migrate("shop", "zero")), "shop_product" in tables())
print(migrate(), objects(), perms(), read("SELECT slug FROM slugs"))
"""
    )
    parts = [part.strip().splitlines() for part in printed.split("--")]
    assert all("Left out" in line for line in parts[0])
    assert len(parts[0]) >= 4
    assert all("Left out" in line for line in parts[1][:-1])
    everything = "['change_product', 'view_order', 'view_user']"
    assert parts[2] == [f"[] ['numbered', 'slugs'] {everything}"]
    assert parts[3][0].endswith("False")
    assert parts[3][1].endswith("False")
    assert parts[3][2] == f"[] ['numbered', 'slugs'] {everything} [('tea',)]"


def test_wrong_data_stop_migrate_before_the_first_migration(project: Project) -> None:
    printed = project.run(
        HELP
        + """
from django.core.management import CommandError
migrate("shop", "0001")
read("INSERT INTO shop_product (name) VALUES ('wrong')")
try:
    migrate()
except CommandError as error:
    print(error)
print("shop_order" in tables())
"""
    )
    assert "The data check 'names' found 1 row that is wrong" in printed
    assert printed.splitlines()[-1] == "False"


def test_the_database_of_tests_has_it_too(project: Project) -> None:
    printed = project.run(
        HELP
        + """
from django.test.utils import get_runner, setup_test_environment
from django.test import TestCase, TransactionTestCase
import sys, types, unittest

class Quick(TestCase):
    def test_rows(self):
        assert perms() == ["change_product", "view_order", "view_user"]
        assert objects() == ["numbered", "slugs"]

class Slow(TransactionTestCase):
    def test_one(self):
        read("DELETE FROM auth_group_permissions")
    def test_two(self):
        assert len(perms()) == 3

from django.test.runner import DiscoverRunner
runner = DiscoverRunner(verbosity=0, interactive=False)
setup_test_environment()
old = runner.setup_databases()
loader = unittest.defaultTestLoader
suite = unittest.TestSuite(loader.loadTestsFromTestCase(case) for case in (Quick, Slow))
result = unittest.TextTestRunner(stream=sys.stdout).run(suite)
runner.teardown_databases(old)
print(result.wasSuccessful(), result.testsRun)
"""
    )
    assert printed.splitlines()[-1] == "True 3", printed
