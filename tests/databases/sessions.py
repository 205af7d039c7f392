"""What a session of a database knows, and how to ask it."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection, connections

VENDOR = connection.vendor
ACTOR = {"actor_variable": "app.actor"}
# What a trigger or a policy reads.
READ = {
    "sqlite": "SELECT app_actor()",
    "postgresql": "SELECT current_setting('app.actor', true)",
    "mysql": "SELECT @app_actor",
}[VENDOR]

only_postgresql = pytest.mark.skipif(VENDOR != "postgresql", reason="PostgreSQL has this alone")
only_sqlite = pytest.mark.skipif(VENDOR != "sqlite", reason="SQLite has this alone")
only_servers = pytest.mark.skipif(VENDOR == "sqlite", reason="SQLite has no sessions")


def ask(sql: str, using: str = "default") -> Any:
    with connections[using].cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def who() -> str:
    """Who the database says is acting."""
    return ask(READ) or ""
