"""Runs the shop's ``manage.py`` with triggers in its database.

The triggers note every change of a row, and are rolled back with it: a record of what happened
that owes nothing to Django's signals.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

MANAGE = Path(__file__).parents[2] / "example_project" / "manage.py"
# What receivers write by themselves, and the log leaves out.
STAMPS = ("created_at", "updated_at", "updated_by_id", "product_count")


def watch(sender: Any, using: str, **kwargs: Any) -> None:
    from django.db import connections

    if sender.label != "shop":
        return
    with connections[using].cursor() as cursor:
        cursor.execute(
            "CREATE TABLE IF NOT EXISTS watched "
            "(place TEXT, verb TEXT, pk TEXT, says_more INTEGER, is_later INTEGER)"
        )
        for model in sender.get_models(include_auto_created=True):
            if model.__name__ != "Destination":
                for statement in get_triggers(model):
                    cursor.execute(statement)


def get_triggers(model: Any) -> list[str]:
    table = model._meta.db_table
    columns = [field.column for field in model._meta.concrete_fields]
    differs = " OR ".join(f"OLD.{c} IS NOT NEW.{c}" for c in columns if c not in STAMPS)
    is_later = "NEW.updated_at > OLD.updated_at" if "updated_at" in columns else "1"
    made = {
        "create": f"AFTER INSERT ON {table} BEGIN INSERT INTO watched VALUES "
        f"('{table}', 'create', NEW.id, 1, 1)",
        "update": f"AFTER UPDATE ON {table} BEGIN INSERT INTO watched VALUES "
        f"('{table}', 'update', NEW.id, {differs}, {is_later})",
        "delete": f"AFTER DELETE ON {table} BEGIN INSERT INTO watched VALUES "
        f"('{table}', 'delete', OLD.id, 1, 1)",
    }
    return [f"CREATE TRIGGER watch_{table}_{verb} {rest}; END" for verb, rest in made.items()]


if __name__ == "__main__":
    from django.db.models.signals import post_migrate

    post_migrate.connect(watch)
    sys.path[0] = str(MANAGE.parent)
    sys.argv[0] = str(MANAGE)
    runpy.run_path(str(MANAGE), run_name="__main__")
