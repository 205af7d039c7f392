"""Migrations write as they do without the kit, and nobody is told of it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.test.utils import modify_settings, override_settings

from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.current import get_muted
from django_signal_kit.receivers import AuditLog, LastModified, MigrationActions
from tests.apps.testapp.models import Tag
from tests.conftest import as_entry
from tests.projects import KIT, Project

pytestmark = pytest.mark.django_db(transaction=True)

MODELS = """
from django.db import models

class Label(models.Model):
    name = models.CharField(max_length=20)

class Plan(models.Model):
    name = models.CharField(max_length=20)
    labels = models.ManyToManyField(Label)
    updated_at = models.DateTimeField(null=True)
"""

FIRST = """
from django.db import migrations, models

class Migration(migrations.Migration):
    operations = [
        migrations.CreateModel("Label", [
            ("id", models.BigAutoField(primary_key=True)),
            ("name", models.CharField(max_length=20)),
        ]),
        migrations.CreateModel("Plan", [
            ("id", models.BigAutoField(primary_key=True)),
            ("name", models.CharField(max_length=20)),
            ("labels", models.ManyToManyField("plans.Label")),
            ("updated_at", models.DateTimeField(null=True)),
        ]),
    ]
"""

SECOND = """
from django.db import migrations

def fill(apps, schema_editor):
    from plans.models import Label, Plan
    {body}

def empty(apps, schema_editor):
    from plans.models import Label, Plan
    Plan.objects.all().delete()

class Migration(migrations.Migration):
    atomic = {atomic}
    dependencies = [("plans", "0001_initial")]
    operations = [migrations.RunPython(fill, empty)]
"""


@pytest.fixture
def plans(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """``plans(body)``: installs an app whose second migration does that."""
    package = tmp_path / "plans"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        overrides: list[Any] = []

        def install(*lines: str, atomic: bool = True, later: str = "") -> Any:
            body = "\n    ".join(lines)
            for path, text in {
                "__init__.py": "",
                "models.py": MODELS + later,
                "migrations/__init__.py": "",
                "migrations/0001_initial.py": FIRST,
                "migrations/0002_fill.py": SECOND.format(body=body, atomic=atomic),
            }.items():
                file = package / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, encoding="utf-8")
            log = {"models": ["plans.*", "testapp.*", "auth.*", "contenttypes.*"]}
            entries = [
                as_entry((AuditLog, {**log, "bulk": "all"})),
                as_entry((LastModified, {"models": ["plans.Plan"]})),
            ]
            for override in (
                modify_settings(INSTALLED_APPS={"append": "plans"}),
                override_settings(SIGNAL_KIT={"RECEIVERS": entries}),
            ):
                override.enable()
                overrides.append(override)
            AuditEntry.objects.all().delete()
            return apps.get_model("plans.Plan")

        yield install
        if overrides:
            call_command("migrate", "plans", "zero", verbosity=0)
        for override in reversed(overrides):
            override.disable()
    for name in [name for name in sys.modules if name.partition(".")[0] == "plans"]:
        del sys.modules[name]
    apps.all_models.pop("plans", None)


def migrate(*args: str) -> None:
    call_command("migrate", "plans", *args, verbosity=0)


WRITES = {
    "save": ["Plan.objects.create(name='free')"],
    "bulk_create": ["Plan.objects.bulk_create([Plan(name='free'), Plan(name='paid')])"],
    "update": ["Plan.objects.create(name='x')", "Plan.objects.update(name='free')"],
    "bulk_update": [
        "plan = Plan.objects.create(name='x')",
        "plan.name = 'free'",
        "Plan.objects.bulk_update([plan], ['name'])",
    ],
    "upsert": [
        "Plan.objects.update_or_create(name='free')",
        "Plan.objects.update_or_create(name='free')",
    ],
    "delete": ["Plan.objects.create(name='x').delete()", "Plan.objects.create(name='free')"],
    "link": [
        "plan = Plan.objects.create(name='free')",
        "plan.labels.add(Label.objects.create(name='new'))",
        "plan.labels.clear()",
    ],
    "link first": ["Label.objects.create(name='new').plan_set.create(name='free')"],
    "batch": [
        "from django_signal_kit import batch",
        "with batch():",
        "    Plan.objects.create(name='x')",
        "    Plan.objects.bulk_create([Plan(name='y')])",
        "    Plan.objects.update(name='free')",
    ],
    "on_commit": [
        "from django.db import transaction",
        "with transaction.atomic():",
        "    transaction.on_commit(lambda: Plan.objects.create(name='late'))",
        "    Plan.objects.create(name='free')",
    ],
    "permissions": [
        "from django.apps import apps as installed",
        "from django.contrib.auth.management import create_permissions",
        "from django.contrib.contenttypes.models import ContentType",
        "ContentType.objects.get_for_model(Plan)",
        "create_permissions(installed.get_app_config('plans'), verbosity=0)",
        "Plan.objects.create(name='free')",
    ],
}


@pytest.mark.parametrize("atomic", [True, False])
@pytest.mark.parametrize("write", WRITES)
def test_what_a_migration_writes_through_real_models_is_written_and_told_to_nobody(
    plans: Any, caplog: Any, write: str, atomic: bool
) -> None:
    plan = plans(*WRITES[write], atomic=atomic)
    with caplog.at_level(logging.INFO, "django_signal_kit"):
        migrate()
    assert "free" in plan.objects.values_list("name", flat=True)
    assert plan.objects.filter(updated_at=None).count() == plan.objects.count()
    told = AuditEntry.objects.exclude(content_type__app_label__in=("auth", "contenttypes"))
    assert not told.exists()
    lines = [
        record.getMessage()
        for record in caplog.records
        if record.name == "django_signal_kit.writes"
    ]
    assert len(lines) == 1
    assert "A migration of the database 'default' writes to " in lines[0]
    # And afterwards everything is as before.
    assert get_muted() == frozenset()
    plan.objects.create(name="new")
    assert AuditEntry.objects.filter(object_text__startswith="Plan object").count() == 1
    assert plan.objects.get(name="new").updated_at is not None


def test_nothing_is_said_where_a_migration_writes_nothing(plans: Any, caplog: Any) -> None:
    plans("apps.get_model('plans.Plan').objects.create(name='free')")
    with caplog.at_level(logging.INFO, "django_signal_kit"):
        migrate()
    assert caplog.records == []


def test_a_migration_that_fails_leaves_hearing_on(plans: Any) -> None:
    plan = plans("Plan.objects.create(name='x')", "raise ZeroDivisionError")
    with pytest.raises(ZeroDivisionError):
        migrate()
    Tag.objects.create(name="t")
    assert [entry.object_text for entry in AuditEntry.objects.all()] == ["t"]
    with pytest.raises(ZeroDivisionError):
        migrate()
    assert not plan.objects.exists()


def test_migrations_that_are_taken_back_are_not_heard_either(plans: Any) -> None:
    plan = plans("Plan.objects.create(name='x')")
    migrate()
    migrate("0001")
    assert not plan.objects.exists()
    assert not AuditEntry.objects.filter(action="delete").exists()


def test_an_executor_of_ones_own(plans: Any) -> None:
    plan = plans("Plan.objects.create(name='free')")
    MigrationExecutor(connection).migrate([("plans", "0002_fill")])
    assert plan.objects.count() == 1
    assert not AuditEntry.objects.exists()


def test_a_table_that_lacks_a_column_of_its_class(plans: Any) -> None:
    """An update names its own column alone, and nobody may read the others."""
    plan = plans("Plan.objects.update(name='free')")
    migrate("0001")
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO plans_plan (name) VALUES ('x')")
    table = plan._meta.db_table
    with connection.schema_editor() as editor:
        editor.remove_field(plan, plan._meta.get_field("updated_at"))
    migrate()
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT name FROM {table}")
        found = list(cursor.fetchall())
    with connection.schema_editor() as editor:
        editor.add_field(plan, plan._meta.get_field("updated_at"))
    assert found == [("free",)]


def test_what_other_threads_write_meanwhile_is_heard(plans: Any) -> None:
    plans(
        "import threading",
        "from django.db import connections",
        "from tests.apps.testapp.models import Tag",
        "def write():",
        "    Tag.objects.create(name='theirs')",
        "    connections.close_all()",
        "Plan.objects.create(name='ours')",
        "thread = threading.Thread(target=write)",
        "thread.start()",
        "thread.join()",
        atomic=False,
    )
    migrate()
    assert [entry.object_text for entry in AuditEntry.objects.all()] == ["theirs"]


def test_what_is_to_be_ensured_after_the_migrations_is(plans: Any) -> None:
    plan = plans("Plan.objects.create(name='free')")
    ensured = {"model": "plans.Plan", "lookup": {"name": "ensured"}}
    entries = [
        as_entry((AuditLog, {"models": ["plans.*"]})),
        as_entry((MigrationActions, {"ensure": [ensured]})),
    ]
    with override_settings(SIGNAL_KIT={"RECEIVERS": entries}):
        migrate()
        assert {*plan.objects.values_list("name", flat=True)} == {"free", "ensured"}
        # It is made through a model of the migrations, as ever.
        assert not AuditEntry.objects.exists()


# On an empty database

EMPTY = {
    "shop/__init__.py": "",
    "shop/models.py": """
from django.db import models

class Product(models.Model):
    name = models.CharField(max_length=100)
""",
    "shop/migrations/__init__.py": "",
    "shop/migrations/0001_initial.py": """
from django.db import migrations, models

def fill(apps, schema_editor):
    from django.apps import apps as installed
    from django.contrib.auth.management import create_permissions
    from django.contrib.contenttypes.models import ContentType
    from shop.models import Product
    ContentType.objects.get_for_model(Product)
    create_permissions(installed.get_app_config("shop"), verbosity=0)
    Product.objects.create(name="tea")

class Migration(migrations.Migration):
    dependencies = [("auth", "__first__"), ("contenttypes", "0002_remove_content_type_name")]
    run_before = [("signal_kit_audit", "0001_initial")]
    operations = [
        migrations.CreateModel("Product", [
            ("id", models.BigAutoField(primary_key=True)),
            ("name", models.CharField(max_length=100)),
        ]),
        migrations.RunPython(fill),
    ]
""",
}

EVERYTHING = [
    {"RECEIVER": f"{KIT}.receivers.AuditLog", "OPTIONS": {"models": ["__all__"], "bulk": "all"}},
    {"RECEIVER": f"{KIT}.receivers.InstanceMonitor", "OPTIONS": {"models": ["__all__"]}},
]


def make(path: Path, settings: str = "") -> Project:
    names = ["django.contrib.contenttypes", "django.contrib.auth", "shop", KIT, f"{KIT}.audit"]
    return Project(path, EMPTY, names, settings, RECEIVERS=EVERYTHING)


POSTGRES = """
import psycopg
SERVER = {{"host": "127.0.0.1", "user": "postgres", "dbname": "postgres"}}
with psycopg.connect(**SERVER, autocommit=True) as made:
    made.execute("DROP DATABASE IF EXISTS {name}")
    made.execute("CREATE DATABASE {name}")
DATABASES = {{"default": {{
    "ENGINE": "django.db.backends.postgresql",
    "HOST": "127.0.0.1",
    "USER": "postgres",
    "NAME": "{name}",
}}}}
"""


def get_settings() -> str:
    name = f"{connection.settings_dict['NAME']}_empty"
    return POSTGRES.format(name=name) if connection.vendor == "postgresql" else ""


@pytest.fixture
def _dropped() -> Iterator[None]:
    yield
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {connection.settings_dict['NAME']}_empty")


@pytest.mark.usefixtures("_dropped")
@pytest.mark.skipif(connection.vendor == "mysql", reason="the project is for the other two")
def test_all_migrations_of_an_empty_database(tmp_path: Path) -> None:
    printed = make(tmp_path, get_settings()).run(
        """
from django.core.management import call_command
call_command("migrate", verbosity=0)
from django_signal_kit.audit.models import AuditEntry
from shop.models import Product
print(Product.objects.count(), AuditEntry.objects.filter(content_type__app_label="shop").count())
Product.objects.create(name="pot")
print(AuditEntry.objects.filter(content_type__app_label="shop").count())
call_command("flush", interactive=False, verbosity=0)
Product.objects.create(name="pot")
print(AuditEntry.objects.filter(content_type__app_label="shop").count())
"""
    )
    assert printed.splitlines() == ["1 0", "1", "1"]


@pytest.mark.usefixtures("_dropped")
@pytest.mark.skipif(connection.vendor == "mysql", reason="the project is for the other two")
def test_the_migrations_of_one_app_before_those_of_the_log(tmp_path: Path) -> None:
    result = make(tmp_path, get_settings()).start(
        """
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db.models.signals import post_migrate

def note(sender, **kwargs):
    ContentType.objects.get_or_create(app_label="own", model=sender.label)
    if sender.label == "shop":
        ContentType.objects.create(app_label="own", model=f"run {ContentType.objects.count()}")

post_migrate.connect(note)
call_command("migrate", "contenttypes", verbosity=0)
print(ContentType.objects.filter(app_label="own").count())
call_command("migrate", "auth", verbosity=0)
call_command("migrate", verbosity=0)
from django_signal_kit.audit.models import AuditEntry
print(AuditEntry.objects.filter(action="create").values_list("object_text", flat=True))
"""
    )
    assert result.returncode == 0, result.stderr
    first, last = result.stdout.splitlines()
    assert first == "5"
    # Of the last run alone.
    assert last.count("run ") == 1
    said = [line for line in result.stderr.splitlines() if "eceivers of models" in line]
    *before, during = said
    sentence = (
        "Receivers of models are not told of what is written to contenttypes.ContentType around "
        "the migrations of the database 'default': the table signal_kit_audit_auditentry is not "
        "there yet."
    )
    assert before == [sentence] * 2
    assert during.startswith("A migration of the database 'default' writes to ")


def test_without_the_app_of_the_log(tmp_path: Path) -> None:
    names = ["django.contrib.contenttypes", "django.contrib.auth", "shop", KIT]
    files = {**EMPTY}
    name = "shop/migrations/0001_initial.py"
    files[name] = files[name].replace('("signal_kit_audit", "0001_initial")', "")
    entry = {
        "RECEIVER": f"{KIT}.receivers.Normalize",
        "OPTIONS": {"models": ["shop.Product"], "fields": {"name": ["strip"]}},
    }
    printed = Project(tmp_path, files, names, RECEIVERS=[entry]).run(
        """
from django.core.management import call_command
call_command("migrate", verbosity=0)
from shop.models import Product
print([Product.objects.get().name, Product.objects.create(name=" pot ").name])
"""
    )
    assert printed.splitlines() == ["['tea', 'pot']"]
