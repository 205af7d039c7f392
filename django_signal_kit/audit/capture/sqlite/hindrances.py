"""What a database or a connection may have that triggers of the log cannot do with."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.checks import CheckMessage, Error, Warning
from django.db.backends.base.base import BaseDatabaseWrapper

from django_signal_kit.audit.capture.pieces import PREFIX
from django_signal_kit.exceptions import join


def find_hindrances(connection: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    """Asks the database."""
    if not trusts_schema(connection):
        yield Error(
            f"Connections to {connection.alias!r} have trusted_schema=OFF, so that a trigger may "
            f"not ask who writes: each write that is to be recorded fails.",
            hint="Take PRAGMA trusted_schema out of the option 'init_command', or have a SQLite "
            "that was not built with SQLITE_TRUSTED_SCHEMA=0.",
            id="signal_kit.E072",
        )
    if names := list_recursive(connection):
        yield Warning(
            f"Triggers of the project's own in {connection.alias!r} name the table that they are "
            f"on, and with recursive_triggers=ON, which capture='triggers' needs, may set off "
            f"themselves: {join(names, most=5)}.",
            hint="Give each a WHEN that is false for what it writes itself.",
            id="signal_kit.W029",
        )


def trusts_schema(connection: BaseDatabaseWrapper) -> bool:
    """May a trigger call a function of this process?"""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA trusted_schema")
        # A SQLite older than 3.31 does not know it, and trusts.
        return cursor.fetchone() in ((1,), None)


def list_recursive(connection: BaseDatabaseWrapper) -> list[str]:
    """Names of triggers that are none of ours, have no WHEN, and write to their own table."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name"
        )
        found = cursor.fetchall()
    return [
        name
        for name, table, sql in found
        if not name.startswith(PREFIX) and _writes_to(table, sql)
    ]


def _writes_to(table: str, sql: str) -> bool:
    head, _, body = sql.partition("BEGIN")
    return " WHEN " not in head.upper() and table.casefold() in body.casefold()
