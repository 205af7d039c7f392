"""Which triggers of ours a MariaDB or MySQL database has."""

from __future__ import annotations

from typing import Any

from django_signal_kit.audit.capture.mysql.expressions import quote_name
from django_signal_kit.audit.capture.pieces import PREFIX, UNREADABLE, Installed, read_checksum


def list_installed(connection: Any) -> list[Installed]:
    # An underscore is no pattern here, and a backslash may be none either.
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT trigger_name, event_object_table, action_statement "
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
                UNREADABLE if body is None else read_checksum(_to_text(body)),
                f"DROP TRIGGER IF EXISTS {quote_name(name)}",
            )
            for name, table, body in cursor.fetchall()
        ]


def _to_text(body: str | bytes) -> str:
    return body.decode() if isinstance(body, bytes) else body
