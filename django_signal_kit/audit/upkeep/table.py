"""The table of the log on PostgreSQL, and SQL about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections, router, transaction
from django.db.backends.utils import truncate_name

from django_signal_kit.audit.entries import get_entry_model

# Whoever waits for the lock of a table lets all that come after him wait, too.
_LOCK_TIMEOUT = "10s"


class PartitionError(Exception):
    """Why the table cannot be made a partitioned one, and what to do about it."""


class Table:
    """The table of the log in the database ``using``. Raises PartitionError if that is no
    PostgreSQL."""

    def __init__(self, using: str | None = None) -> None:
        self.model: Any = get_entry_model()
        self.using = using or router.db_for_write(self.model)
        self.connection = connections[self.using]
        if self.connection.vendor != "postgresql":
            raise PartitionError(
                f"The database {self.using!r} is {self.connection.display_name}; only the tables "
                f"of PostgreSQL are partitioned here. Use pruneauditlog."
            )
        self.name = self.model._meta.db_table
        #: The name as SQL has it.
        self.path = self.quote(self.name)
        self.pk = self.quote(self.model._meta.pk.column)
        self.at = self.quote(self.model._meta.get_field("at").column)

    def is_partitioned(self) -> bool:
        found = self.fetch("SELECT relkind FROM pg_class WHERE oid = to_regclass(%s)", self.path)
        if not found:
            raise PartitionError(f"There is no table {self.name}. Run migrate.")
        return bool(found[0][0] == "p")

    def get_name(self, suffix: str) -> str:
        """Of what belongs to the table, as long as a name may be."""
        return truncate_name(f"{self.name}_{suffix}", self.connection.ops.max_name_length())

    def quote(self, name: str) -> str:
        return self.connection.ops.quote_name(name)

    def execute(self, sql: str) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(sql)

    def fetch(self, sql: str, *params: Any) -> list[Any]:
        with self.connection.cursor() as cursor:
            # A mapping stands for all parameters.
            cursor.execute(sql, params[0] if params and isinstance(params[0], dict) else params)
            return list(cursor.fetchall())

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One in which no statement waits long for a lock."""
        with transaction.atomic(self.using):
            self.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
            yield
