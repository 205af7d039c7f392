"""The triggers that a database in SQLite has."""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

from django_signal_kit.audit.capture.pieces import PREFIX, Installed, read_checksum
from django_signal_kit.audit.capture.sqlite import quoting


def list_installed(connection: BaseDatabaseWrapper) -> list[Installed]:
    """All of ours, by name."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name, tbl_name, sql FROM sqlite_master "
            "WHERE type = 'trigger' AND substr(name, 1, %s) = %s ORDER BY name",
            [len(PREFIX), PREFIX],
        )
        return [
            Installed(
                name, table, read_checksum(sql), f"DROP TRIGGER IF EXISTS {quoting.name(name)}"
            )
            for name, table, sql in cursor.fetchall()
        ]
