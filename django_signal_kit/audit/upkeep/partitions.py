"""The table of the log in one part a month, on PostgreSQL.

Months are those of UTC. What was there before is one part, ``…_history``; what falls into a month
for which nobody has made a part goes to ``…_default``, so that no entry is ever refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import connections, router, transaction
from django.db.backends.utils import truncate_name
from django.utils import timezone

from django_signal_kit.audit.entries import get_entry_model
from django_signal_kit.audit.sealing.seal import note_pruned

# Whoever waits for the lock of a table lets all that come after him wait, too.
_LOCK_TIMEOUT = "10s"
_LOCK_ID = 0x51674B17
_PRUNED_AT_ONCE = 100_000

# What a new table in the old one's place would lack.
_OBSTACLES = """
    SELECT 'the unique index ' || i.indexrelid::regclass FROM pg_index i
        WHERE i.indrelid = %(table)s::regclass AND i.indisunique AND NOT i.indisprimary
    UNION ALL SELECT 'the constraint ' || conname FROM pg_constraint
        WHERE contype IN ('f', 'x') AND %(table)s::regclass IN (conrelid, confrelid)
    UNION ALL SELECT 'the trigger ' || tgname FROM pg_trigger
        WHERE tgrelid = %(table)s::regclass AND NOT tgisinternal
    UNION ALL SELECT DISTINCT 'the view ' || r.ev_class::regclass FROM pg_rewrite r
        JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
        WHERE d.refobjid = %(table)s::regclass
    UNION ALL SELECT 'the publication ' || p.pubname FROM pg_publication p
        JOIN pg_publication_rel r ON r.prpubid = p.oid WHERE r.prrelid = %(table)s::regclass
    UNION ALL SELECT 'row-level security' FROM pg_class
        WHERE oid = %(table)s::regclass AND relrowsecurity
    UNION ALL SELECT 'an owner other than ' || current_user FROM pg_class
        WHERE oid = %(table)s::regclass AND relowner <> current_user::regrole
    UNION ALL SELECT DISTINCT 'a privilege of ' || a.grantee::regrole
        FROM pg_class c, aclexplode(c.relacl) a
        WHERE c.oid = %(table)s::regclass AND a.grantee <> c.relowner
"""

_PARTS = """
    SELECT c.relname,
        substring(pg_get_expr(c.relpartbound, c.oid) FROM 'FROM \\(''([^'']+)''\\)')::timestamptz,
        substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \\(''([^'']+)''\\)')::timestamptz
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = %s::regclass ORDER BY 3, 1
"""


class PartitionError(Exception):
    """Why the table cannot be made a partitioned one, and what to do about it."""


@dataclass(frozen=True)
class Part:
    """A table that holds the entries from ``start`` on and before ``end``. The one for all that
    fit nowhere else has neither; the one of the time before has no ``start``."""

    name: str
    start: datetime | None
    end: datetime | None

    def covers(self, start: datetime, end: datetime) -> bool:
        return self.end is not None and end <= self.end and (self.start or start) <= start


class Partitions:
    """The parts of the table of the log in the database ``using``. Raises PartitionError if that
    is no PostgreSQL."""

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
        self.table = self._quote(self.name)
        self.pk = self._quote(self.model._meta.pk.column)
        self.at = self._quote(self.model._meta.get_field("at").column)

    def is_partitioned(self) -> bool:
        found = self._fetch("SELECT relkind FROM pg_class WHERE oid = to_regclass(%s)", self.table)
        if not found:
            raise PartitionError(f"There is no table {self.name}. Run migrate.")
        return bool(found[0][0] == "p")

    def get_parts(self) -> list[Part]:
        """The parts, the earliest first, the one for the rest last."""
        return [
            Part(name, _make_aware(start), _make_aware(end))
            for name, start, end in self._fetch(_PARTS, self.table)
        ]

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Raises PartitionError if another process is at it."""
        # Not waiting: an index that is built concurrently waits for whoever waits.
        if not self._fetch("SELECT pg_try_advisory_lock(%s)", _LOCK_ID)[0][0]:
            raise PartitionError("Another process is at the parts of the log. Try again later.")
        try:
            yield
        finally:
            self._fetch("SELECT pg_advisory_unlock(%s)", _LOCK_ID)

    def convert(self, now: datetime) -> None:
        """Put a partitioned table in the place of the plain one, which becomes its first part.

        No row is copied. Writers wait while the rows are checked, which is one reading of the
        table; the index of the new key is built before that. Raises PartitionError if something
        would be lost, such as a foreign key to the entries.
        """
        self._check()
        index = self._quote(self._get_name("history_key"))
        # A broken run may have left one that is not valid.
        self._execute(f"DROP INDEX IF EXISTS {index}")
        self._execute(
            f"CREATE UNIQUE INDEX CONCURRENTLY {index} ON {self.table} ({self.pk}, {self.at})"
        )
        try:
            with self._transaction():
                self._execute(f"LOCK TABLE {self.table} IN ACCESS EXCLUSIVE MODE")
                self._replace(index, now)
        except BaseException:
            self._execute(f"DROP INDEX IF EXISTS {index}")
            raise

    def make(self, now: datetime, months: int) -> list[str]:
        """Make the parts of this month and of as many ``months`` ahead that are not there yet.
        Returns their names. Entries that the default part holds for them move there."""
        made = []
        for ahead in range(months + 1):
            start, end = _get_month(now, ahead), _get_month(now, ahead + 1)
            if not any(part.covers(start, end) for part in self.get_parts()):
                made.append(self._make_part(start, end))
        return made

    def drop_before(self, moment: datetime) -> list[str]:
        """Drop the parts whose entries are all older. Returns their names."""
        dropped = []
        for part in self.get_parts():
            if part.end is not None and part.end <= moment:
                self.drop_part(part)
                dropped.append(part.name)
        return dropped

    def drop_part(self, part: Part) -> None:
        """Drop a part with all its entries, in one transaction."""
        with self._transaction():
            self._note_pruned(part)
            self._execute(f"DROP TABLE {self._quote(part.name)}")

    def _note_pruned(self, part: Part) -> None:
        """Tell the seals which entries go with the part."""
        table, last = self._quote(part.name), 0
        while True:
            sql = f"SELECT {self.pk} FROM {table} WHERE {self.pk} > %s"
            sql += f" ORDER BY {self.pk} LIMIT {_PRUNED_AT_ONCE}"
            ids = [row[0] for row in self._fetch(sql, last)]
            if not ids or not note_pruned(self.model, ids, self.using):
                return
            last = ids[-1]

    def _check(self) -> None:
        obstacles = [row[0] for row in self._fetch(_OBSTACLES, {"table": self.table})]
        if obstacles:
            raise PartitionError(
                f"{self.name} has {', '.join(obstacles)}, which a partitioned table in its place "
                f"would lack. Drop it, and make it anew on the partitioned table."
            )

    def _replace(self, index: str, now: datetime) -> None:
        old = self._quote(self._get_name("history"))
        latest = _make_aware(self._fetch(f"SELECT max({self.at}) FROM {self.table}")[0][0])
        end = _get_month(max(latest or now, now), 1)
        indexes = self._fetch(
            "SELECT c.oid::regclass::text, i.indisprimary, c.relname, pg_get_indexdef(c.oid)"
            " FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
            " WHERE i.indrelid = %s::regclass AND i.indexrelid <> %s::regclass",
            self.table,
            index,
        )
        start_id = self._drop_identity()
        self._execute(f"ALTER TABLE {self.table} RENAME TO {old}")
        key = next(self._quote(name) for _, is_primary, name, _ in indexes if is_primary)
        self._execute(f"ALTER TABLE {old} DROP CONSTRAINT {key}")
        self._execute(f"ALTER TABLE {old} ADD PRIMARY KEY USING INDEX {index}")
        self._execute(
            f"CREATE TABLE {self.table} (LIKE {old} INCLUDING ALL EXCLUDING INDEXES)"
            f" PARTITION BY RANGE ({self.at})"
        )
        self._execute(
            f"ALTER TABLE {self.table} ADD CONSTRAINT {key} PRIMARY KEY ({self.pk}, {self.at})"
        )
        if start_id is not None:
            self._execute(
                f"ALTER TABLE {self.table} ALTER {self.pk} ADD GENERATED BY DEFAULT AS IDENTITY"
                f" (START WITH {start_id})"
            )
        for number, (path, is_primary, _, definition) in enumerate(indexes):
            if not is_primary:
                # The new table has the old one's name, so the old definition makes its index, and
                # the one that is there becomes a part of it.
                name = self._quote(self._get_name(f"history_{number}"))
                self._execute(f"ALTER INDEX {path} RENAME TO {name}")
                self._execute(definition)
        self._execute(
            f"ALTER TABLE {self.table} ATTACH PARTITION {old}"
            f" FOR VALUES FROM (MINVALUE) TO ('{end.isoformat()}')"
        )
        default = self._quote(self._get_name("default"))
        self._execute(f"CREATE TABLE {default} PARTITION OF {self.table} DEFAULT")

    def _drop_identity(self) -> int | None:
        """The next key, from the sequence that goes; None if keys are made elsewhere."""
        identity = self._fetch(
            "SELECT 1 FROM pg_attribute WHERE attrelid = %s::regclass AND attname = %s"
            " AND attidentity <> ''",
            self.table,
            self.model._meta.pk.column,
        )
        if not identity:
            return None
        [[next_id]] = self._fetch(
            "SELECT nextval(pg_get_serial_sequence(%s, %s))",
            self.table,
            self.model._meta.pk.column,
        )
        self._execute(f"ALTER TABLE {self.table} ALTER {self.pk} DROP IDENTITY")
        return int(next_id)

    def _make_part(self, start: datetime, end: datetime) -> str:
        name = self._get_name(f"{start:%Y%m}")
        part, default = self._quote(name), self._quote(self._get_name("default"))
        span = f"{self.at} >= '{start.isoformat()}' AND {self.at} < '{end.isoformat()}'"
        with self._transaction():
            # Nobody may add to the default part what is about to move. Other parts stay open.
            self._execute(f"LOCK TABLE {default} IN ACCESS EXCLUSIVE MODE")
            self._execute(
                f"CREATE TABLE {part} (LIKE {self.table} INCLUDING ALL EXCLUDING IDENTITY)"
            )
            self._execute(
                f"WITH moved AS (DELETE FROM {default} WHERE {span} RETURNING *)"
                f" INSERT INTO {part} SELECT * FROM moved"
            )
            self._execute(
                f"ALTER TABLE {self.table} ATTACH PARTITION {part}"
                f" FOR VALUES FROM ('{start.isoformat()}') TO ('{end.isoformat()}')"
            )
        return name

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with transaction.atomic(self.using):
            self._execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
            yield

    def _get_name(self, suffix: str) -> str:
        return truncate_name(f"{self.name}_{suffix}", self.connection.ops.max_name_length())

    def _quote(self, name: str) -> str:
        return self.connection.ops.quote_name(name)

    def _execute(self, sql: str) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(sql)

    def _fetch(self, sql: str, *params: Any) -> list[Any]:
        with self.connection.cursor() as cursor:
            # A mapping stands for all parameters.
            cursor.execute(sql, params[0] if params and isinstance(params[0], dict) else params)
            return list(cursor.fetchall())


def _make_aware(moment: datetime | None) -> datetime | None:
    # Without USE_TZ, what PostgreSQL keeps with a time zone is read without.
    is_naive = moment is not None and timezone.is_naive(moment)
    return timezone.make_aware(moment) if is_naive else moment  # type: ignore[arg-type]


def _get_month(now: datetime, ahead: int) -> datetime:
    """The first moment of a month of UTC, ``ahead`` months after that of ``now``."""
    now = now.astimezone(UTC)
    months = now.year * 12 + now.month - 1 + ahead
    return datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC)
