"""What the database changes, noted by triggers.

They are temporary ones of SQLite: no schema changes, and what they write is rolled back with what
they tell of, as the entries of the log are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import Model

from tests.thirdparty.reasons import get_reason

_TABLE = "thirdparty_change"


class Change(NamedTuple):
    """A row that the database has inserted, updated or deleted."""

    table: str
    action: str
    #: The primary key as the database has it; of a link both of its ends.
    key: Any
    #: Column -> old and new value, as SQL, of those that an update has changed.
    columns: dict[str, list[str]]
    #: Why nobody need hear of it; empty if somebody has to.
    reason: str


def install(models: Iterable[type[Model]], fields: Iterable[Any]) -> None:
    """Watch the rows of these models, and the links of these many-to-many fields."""
    connection.ensure_connection()
    connection.connection.create_function("thirdparty_reason", 0, get_reason)
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE TEMP TABLE {_TABLE} (id INTEGER PRIMARY KEY, "
            "tbl, action, pk, columns, reason)"
        )
        for model in models:
            _watch_rows(cursor, model)
        for field in fields:
            _watch_links(cursor, field)


def list_tables() -> set[str]:
    """Those that take triggers: no views, and not the virtual ones of a full-text search."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name FROM sqlite_master "
            "WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'"
        )
        return {name for (name,) in cursor.fetchall()}


def read() -> list[Change]:
    """What has changed and was not rolled back, in order."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT tbl, action, pk, columns, reason FROM {_TABLE} ORDER BY id")
        return [
            Change(table, action, key, _read_columns(columns), reason)
            for table, action, key, columns, reason in cursor.fetchall()
        ]


def forget() -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {_TABLE}")


def unquote(text: str) -> Any:
    """A value of SQLite, as its ``quote()`` writes it: text, or NULL."""
    return None if text == "NULL" else text[1:-1].replace("''", "'")


def _watch_rows(cursor: Any, model: type[Model]) -> None:
    table, pk = model._meta.db_table, model._meta.pk.column
    columns = [field.column for field in model._meta.local_concrete_fields]
    told = " || ".join(
        f"""CASE WHEN OLD."{column}" IS NOT NEW."{column}" THEN """
        f"""json_array('{column}', quote(OLD."{column}"), quote(NEW."{column}")) || char(10) """
        "ELSE '' END"
        for column in columns
    )
    differ = " OR ".join(f'OLD."{column}" IS NOT NEW."{column}"' for column in columns)
    _make_trigger(cursor, table, "insert", f'NEW."{pk}"')
    _make_trigger(cursor, table, "delete", f'OLD."{pk}"')
    _make_trigger(cursor, table, "update", f'NEW."{pk}"', told, f"WHEN {differ}")


def _watch_links(cursor: Any, field: Any) -> None:
    table = field.remote_field.through._meta.db_table
    for action, row in (("insert", "NEW"), ("delete", "OLD")):
        ends = f'{row}."{field.m2m_column_name()}", {row}."{field.m2m_reverse_name()}"'
        _make_trigger(cursor, table, action, f"json_array({ends})")


def _make_trigger(
    cursor: Any, table: str, action: str, key: str, columns: str = "''", when: str = ""
) -> None:
    cursor.execute(
        f'CREATE TEMP TRIGGER "thirdparty_{action}_{table}" AFTER {action} ON main."{table}" '
        f"{when} BEGIN INSERT INTO {_TABLE} (tbl, action, pk, columns, reason) "
        f"VALUES ('{table}', '{action}', {key}, {columns}, thirdparty_reason()); END"
    )


def _read_columns(told: str) -> dict[str, list[str]]:
    return {name: values for name, *values in map(json.loads, told.splitlines())}
