"""Which triggers of ours a MariaDB or MySQL database has."""

from __future__ import annotations

from typing import Any

from django_signal_kit.audit.capture.mysql.expressions import quote_name
from django_signal_kit.audit.capture.mysql.modes import PLAIN
from django_signal_kit.audit.capture.pieces import PREFIX, UNREADABLE, Installed, read_checksum


def list_installed(connection: Any) -> list[Installed]:
    # An underscore is no pattern here, and a backslash may be none either.
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT trigger_name, event_object_table, action_statement, "
            "CAST(sql_mode AS CHAR) "
            "FROM information_schema.triggers "
            "WHERE trigger_schema = DATABASE() AND LEFT(trigger_name, %s) = %s "
            "ORDER BY event_object_table, trigger_name",
            [len(PREFIX), PREFIX],
        )
        return [
            Installed(
                name,
                table,
                # Bodies are for those who have the right TRIGGER.
                UNREADABLE if body is None else _read(body, mode),
                f"DROP TRIGGER IF EXISTS {quote_name(name)}",
            )
            for name, table, body, mode in cursor.fetchall()
        ]


def _read(body: str | bytes, mode: str) -> str:
    checksum = read_checksum(body.decode() if isinstance(body, bytes) else body)
    # In another mode it does what nobody has tried.
    return checksum if mode == PLAIN or not checksum else f"{checksum} in {mode!r}"
