"""A shop in a database of its own, whose models change from one deployment to the next."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.db import connection

from tests.projects import KIT, Project

_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "shop", KIT, f"{KIT}.audit"]

_SETTINGS = {
    "sqlite": 'DATABASES["default"]["NAME"] = "shop.sqlite3"\n',
    "postgresql": """
DATABASES = {{"default": {{
    "ENGINE": "django.db.backends.postgresql",
    "HOST": "127.0.0.1",
    "USER": "postgres",
    "NAME": "{name}",
}}}}
""",
    "mysql": """
DATABASES = {{"default": {{
    "ENGINE": "django.db.backends.mysql",
    "HOST": "127.0.0.1",
    "USER": "root",
    "NAME": "{name}",
}}}}
""",
}

# Of these only the tables are of interest.
_QUICKLY = """
MIGRATION_MODULES = dict.fromkeys(["contenttypes", "auth", "signal_kit_audit"])
"""

_MODELS = "from django.db import models\n\n"

_MIGRATION = """
from django.db import migrations, models
{before}
class Migration(migrations.Migration):
    initial = {number} == 1
    dependencies = [{dependency}]
    operations = [{operations}]
"""

CAPTURING = {
    "RECEIVER": f"{KIT}.receivers.AuditLog",
    "OPTIONS": {"models": ["shop.*"], "capture": "triggers"},
}


def make_database() -> None:
    if connection.vendor != "sqlite":
        with connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {get_name()}")
            cursor.execute(f"CREATE DATABASE {get_name()}")


def drop_database() -> None:
    if connection.vendor != "sqlite":
        with connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {get_name()}")


def get_name() -> str:
    return f"{connection.settings_dict['NAME']}_shop"


class Shop:
    """Deployed again and again: each time with other models, and with the migration to them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.files = {"shop/__init__.py": "", "shop/migrations/__init__.py": ""}
        self.number = 0
        self.receivers: list[Any] = [CAPTURING]
        self.apps = list(_APPS)
        #: Added to those of the project.
        self.settings = ""

    def change(self, models: str, operations: str, before: str = "") -> None:
        """The code of the next deployment, which nobody has migrated yet."""
        self.number += 1
        name = f"{self.number:04}_step"
        dependency = f'("shop", "{self.number - 1:04}_step")' if self.number > 1 else ""
        self.files["shop/models.py"] = _MODELS + models
        self.files[f"shop/migrations/{name}.py"] = _MIGRATION.format(
            number=self.number, dependency=dependency, operations=operations, before=before
        )

    @property
    def project(self) -> Project:
        settings = _SETTINGS[connection.vendor].format(name=get_name()) + _QUICKLY
        return Project(
            self.directory,
            self.files,
            self.apps,
            settings + self.settings,
            RECEIVERS=self.receivers,
        )

    def migrate(self, *statements: str) -> list[dict[str, Any]]:
        """Migrate, see that what is wanted is installed, and then :meth:`write`."""
        return self._run(_MIGRATING, statements)

    def write(self, *statements: str) -> list[dict[str, Any]]:
        """Run each of these lines of Python, and return the entries that they made."""
        return self._run((), statements)

    def start(self, *statements: str) -> Any:
        return self.project.start("\n".join((*_IMPORTS, *statements)))

    def say(self, *statements: str) -> str:
        """What these lines print; they have to succeed."""
        return self.project.run("\n".join((*_IMPORTS, *statements)))

    def _run(self, before: Sequence[str], statements: Sequence[str]) -> list[dict[str, Any]]:
        code = "\n".join((*_IMPORTS, *before, _COUNTING, *statements, _TELLING))
        return [json.loads(line) for line in self.project.run(code).splitlines()]


_IMPORTS = (
    "from django.core.management import call_command",
    "from io import StringIO",
    "from django_signal_kit.audit.models import AuditEntry",
    "from shop.models import *",
)

#: As a shop is deployed: in one process after the other.
MIGRATE = "call_command('migrate', run_syncdb=True, verbosity=0)"
_MIGRATING = (MIGRATE, "call_command('auditcapture', stdout=StringIO())")

_COUNTING = """
def sql(text, *parameters):
    from django.db import connection
    with connection.cursor() as cursor:
        cursor.execute(text, parameters)
last = max(AuditEntry.objects.values_list("pk", flat=True), default=0)
"""

_TELLING = """
import json
for entry in AuditEntry.objects.filter(pk__gt=last).order_by("pk"):
    print(json.dumps({
        "action": entry.action,
        "model": entry.content_type.model,
        "key": entry.object_pk,
        "text": entry.object_text,
        "changes": entry.changes,
        "context": entry.context,
    }))
"""
