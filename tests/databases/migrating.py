"""What ``migrate`` sends, and what it leaves."""

from __future__ import annotations

import io
from typing import Any

from django.core.management.sql import emit_post_migrate_signal
from django.db import connection
from django.db.migrations import Migration

from django_signal_kit.databases.objects import get_memory

VENDOR = connection.vendor
PLAN = [(Migration("0001_initial", "testapp"), False)]
CLERKS = {"Clerks": ["testapp.change_product", "testapp.view_tag"]}
VIEW = {
    "name": "tag_names",
    "create": "CREATE VIEW tag_names AS SELECT name FROM testapp_tag WHERE name LIKE '%a%'",
    "drop": "DROP VIEW IF EXISTS tag_names",
}
ON_TOP = {
    "name": "tag_count",
    "create": "CREATE VIEW tag_count AS SELECT COUNT(*) AS n FROM tag_names",
    "drop": "DROP VIEW IF EXISTS tag_count",
}
TRIGGER = {
    "name": "tag_upper",
    "create": {
        "sqlite": "CREATE TRIGGER tag_upper AFTER INSERT ON testapp_tag BEGIN "
        "UPDATE testapp_tag SET name = upper(name) WHERE id = NEW.id; END",
        "mysql": "CREATE OR REPLACE TRIGGER tag_upper BEFORE INSERT ON testapp_tag FOR EACH ROW "
        "SET NEW.name = upper(NEW.name)",
        "postgresql": "CREATE TRIGGER tag_upper BEFORE INSERT ON testapp_tag FOR EACH ROW "
        "EXECUTE FUNCTION tag_upper_f()",
    },
    "drop": {
        "sqlite": "DROP TRIGGER IF EXISTS tag_upper",
        "mysql": "DROP TRIGGER IF EXISTS tag_upper",
        "postgresql": "DROP TRIGGER IF EXISTS tag_upper ON testapp_tag",
    },
}
FUNCTION = {
    "name": "tag_upper_f",
    "create": {
        "postgresql": "CREATE FUNCTION tag_upper_f() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN NEW.name := upper(NEW.name); RETURN NEW; END $$"
    },
    "drop": {"postgresql": "DROP FUNCTION IF EXISTS tag_upper_f()"},
}


def migrated(using: str = "default", **kwargs: Any) -> str:
    """What is said while Django tells every app that it has been migrated."""
    out = io.StringIO()
    emit_post_migrate_signal(1, False, using, stdout=out, **kwargs)
    return out.getvalue()


def read(sql: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return [row[0] for row in cursor.fetchall()]


def get_sql(queries: Any) -> list[str]:
    return [query["sql"] for query in queries]


def get_memory_names() -> list[str]:
    return list(get_memory().objects.order_by("pk").values_list("name", flat=True))


def drop_objects() -> None:
    """Drop what is made of these here, and what the kit remembers of it."""
    with connection.cursor() as cursor:
        tables = connection.introspection.table_names(cursor)
        for entry in (ON_TOP, VIEW, TRIGGER, FUNCTION):
            drop = entry["drop"]
            sql = drop if isinstance(drop, str) else drop.get(VENDOR)
            if sql:
                cursor.execute(sql)
    if get_memory()._meta.db_table in tables:
        with connection.schema_editor() as editor:
            editor.delete_model(get_memory())
