"""The table of the log in one part a month, on PostgreSQL.

Months are those of UTC. What was there before is one part, ``…_history``; what falls into a month
for which nobody has made a part goes to ``…_default``, so that no entry is ever refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from django_signal_kit.audit.sealing.seal import note_pruned
from django_signal_kit.audit.upkeep.conversion import convert
from django_signal_kit.audit.upkeep.months import get_month, make_aware
from django_signal_kit.audit.upkeep.table import PartitionError, Table

_LOCK_ID = 0x51674B17
_PRUNED_AT_ONCE = 100_000

_PARTS = """
    SELECT c.relname,
        substring(pg_get_expr(c.relpartbound, c.oid) FROM 'FROM \\(''([^'']+)''\\)')::timestamptz,
        substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \\(''([^'']+)''\\)')::timestamptz
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = %s::regclass ORDER BY 3, 1
"""


@dataclass(frozen=True)
class Part:
    """A table that holds the entries from ``start`` on and before ``end``. The one for all that
    fit nowhere else has neither; the one of the time before has no ``start``."""

    name: str
    start: datetime | None
    end: datetime | None

    def covers(self, start: datetime, end: datetime) -> bool:
        return self.end is not None and end <= self.end and (self.start or start) <= start


class Partitions(Table):
    """The parts of the table of the log in the database ``using``. Raises PartitionError if that
    is no PostgreSQL."""

    def get_parts(self) -> list[Part]:
        """The parts, the earliest first, the one for the rest last."""
        return [
            Part(name, make_aware(start), make_aware(end))
            for name, start, end in self.fetch(_PARTS, self.path)
        ]

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Raises PartitionError if another process is at it."""
        # Not waiting: an index that is built concurrently waits for whoever waits.
        if not self.fetch("SELECT pg_try_advisory_lock(%s)", _LOCK_ID)[0][0]:
            raise PartitionError("Another process is at the parts of the log. Try again later.")
        try:
            yield
        finally:
            self.fetch("SELECT pg_advisory_unlock(%s)", _LOCK_ID)

    def convert(self, now: datetime) -> None:
        """Put a partitioned table in the place of the plain one, which becomes its first part.

        No row is copied. Writers wait while the rows are checked, which is one reading of the
        table; the index of the new key is built before that. Raises PartitionError if something
        would be lost, such as a foreign key to the entries.
        """
        convert(self, now)

    def make(self, now: datetime, months: int) -> list[str]:
        """Make the parts of this month and of as many ``months`` ahead that are not there yet.
        Returns their names. Entries that the default part holds for them move there."""
        made = []
        for ahead in range(months + 1):
            start, end = get_month(now, ahead), get_month(now, ahead + 1)
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
        with self.transaction():
            self._note_pruned(part)
            self.execute(f"DROP TABLE {self.quote(part.name)}")

    def _note_pruned(self, part: Part) -> None:
        """Tell the seals which entries go with the part."""
        table, last = self.quote(part.name), 0
        while True:
            sql = f"SELECT {self.pk} FROM {table} WHERE {self.pk} > %s"
            sql += f" ORDER BY {self.pk} LIMIT {_PRUNED_AT_ONCE}"
            ids = [row[0] for row in self.fetch(sql, last)]
            if not ids or not note_pruned(self.model, ids, self.using):
                return
            last = ids[-1]

    def _make_part(self, start: datetime, end: datetime) -> str:
        name = self.get_name(f"{start:%Y%m}")
        part, default = self.quote(name), self.quote(self.get_name("default"))
        span = f"{self.at} >= '{start.isoformat()}' AND {self.at} < '{end.isoformat()}'"
        with self.transaction():
            # Nobody may add to the default part what is about to move. Other parts stay open.
            self.execute(f"LOCK TABLE {default} IN ACCESS EXCLUSIVE MODE")
            self.execute(
                f"CREATE TABLE {part} (LIKE {self.path} INCLUDING ALL EXCLUDING IDENTITY)"
            )
            self.execute(
                f"WITH moved AS (DELETE FROM {default} WHERE {span} RETURNING *)"
                f" INSERT INTO {part} SELECT * FROM moved"
            )
            self.execute(
                f"ALTER TABLE {self.path} ATTACH PARTITION {part}"
                f" FOR VALUES FROM ('{start.isoformat()}') TO ('{end.isoformat()}')"
            )
        return name
