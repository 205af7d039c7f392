"""The ``sql_mode`` in which triggers are made, which they keep wherever they run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: What does not fit into the log fails. In another one "" may be NULL, or the syntax be Oracle's.
PLAIN = "STRICT_TRANS_TABLES"


@contextmanager
def in_plain_mode(connection: Any) -> Iterator[None]:
    """Whatever the session is set to has no say in the block."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@sql_mode")
        (mode,) = cursor.fetchone()
        cursor.execute("SET sql_mode = %s", [PLAIN])
        try:
            yield
        finally:
            cursor.execute("SET sql_mode = %s", [mode])
