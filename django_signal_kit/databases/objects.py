"""Views, functions and triggers, made anew when their SQL has changed.

What was made is remembered in a small table that is made when there is something to remember.
It is no model of an app, so that it needs no migrations, and ``flush`` leaves it alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import Any

from django.apps.registry import Apps
from django.db import connections, models

from django_signal_kit.databases.attempts import Run, atomic_ddl

_REPLACES = re.compile(r"\s*CREATE\s+OR\s+REPLACE\b", re.IGNORECASE)


@dataclass(frozen=True)
class SQLObject:
    name: str
    create: str
    drop: str

    @property
    def checksum(self) -> str:
        return sha256(f"{self.create}\0{self.drop}".encode()).hexdigest()

    @property
    def replaces(self) -> bool:
        """Does its SQL replace what is there by itself?"""
        return _REPLACES.match(self.create) is not None


def get_sql_objects(entries: Sequence[Mapping[str, Any]], vendor: str) -> list[SQLObject]:
    """Those that the vendor's databases have."""
    found = []
    for entry in entries:
        create, drop = (
            text if isinstance(text, str) else text.get(vendor)
            for text in (entry["create"], entry["drop"])
        )
        if create and drop:
            found.append(SQLObject(entry["name"], create, drop))
    return found


@cache
def get_memory() -> Any:
    """The model of the table that says what was made, outside of all apps."""

    class Made(models.Model):
        owner = models.CharField(max_length=150)
        name = models.CharField(max_length=150)
        checksum = models.CharField(max_length=64)
        drop = models.TextField()

        class Meta:
            apps = Apps()
            app_label = "signal_kit"
            db_table = "signal_kit_sql_object"
            constraints = (
                models.UniqueConstraint(fields=["owner", "name"], name="signal_kit_sql_object_u"),
            )

        def __str__(self) -> str:
            return self.name

    return Made


class SQLObjects:
    """The SQL objects of one receiver, ``owner``, in one database."""

    def __init__(self, run: Run, owner: str) -> None:
        self.run = run
        self.owner = owner
        self.connection = connections[run.using]
        self.rows = get_memory().objects.using(run.using).filter(owner=owner)

    def has_table(self) -> bool:
        with self.connection.cursor() as cursor:
            tables = self.connection.introspection.table_names(cursor)
        return get_memory()._meta.db_table in tables

    def drop_all(self) -> None:
        """Drop what was made, the last first."""
        if self.has_table():
            with atomic_ddl(self.run.using):
                for row in self.rows.order_by("-pk"):
                    self.drop(row)

    def sync(self, wanted: Sequence[SQLObject]) -> None:
        """Drop what is wanted no more, and make what is new or has changed, or, after a plan, all
        of it: a table that was made anew has lost its triggers. All or nothing, where the
        database can."""
        if not self.has_table():
            if not wanted:
                return
            with self.connection.schema_editor() as editor:
                editor.create_model(get_memory())
        made = {row.name: row for row in self.rows.order_by("pk")}
        stale = [
            object
            for object in wanted
            if self.run.has_plan
            or object.name not in made
            or made[object.name].checksum != object.checksum
        ]
        names = {object.name for object in wanted}
        gone = [row for name, row in made.items() if name not in names]
        if not stale and not gone:
            return
        with atomic_ddl(self.run.using):
            self.replace(wanted, stale, made, gone)

    def replace(
        self,
        wanted: Sequence[SQLObject],
        stale: Sequence[SQLObject],
        made: Mapping[str, Any],
        gone: Sequence[Any],
    ) -> None:
        dropped = {object.name for object in stale if not object.replaces and object.name in made}
        if dropped:
            # What comes later may need what comes earlier, so it goes first and comes back.
            first = [object.name in dropped for object in wanted].index(True)
            later = [object for object in wanted[first:] if object.name in made]
            dropped |= {object.name for object in later}
            stale = [object for object in wanted if object in stale or object in later]
        doomed = [row for name, row in made.items() if name in dropped] + list(gone)
        for row in sorted(doomed, key=lambda row: row.pk, reverse=True):
            self.drop(row)
        for object in stale:
            with self.run.attempt(f"Making the SQL object {object.name!r}", atomic_ddl):
                self.create(object)

    def create(self, object: SQLObject) -> None:
        self.execute(object.create)
        # Deleted and made again, so that the order of the keys is that of making.
        self.rows.filter(name=object.name).delete()
        get_memory().objects.using(self.run.using).create(
            owner=self.owner, name=object.name, checksum=object.checksum, drop=object.drop
        )
        self.run.say(f"  Made the SQL object {object.name}", verbosity=2)

    def drop(self, row: Any) -> None:
        with self.run.attempt(f"Dropping the SQL object {row.name!r}", atomic_ddl):
            self.execute(row.drop)
            row.delete()
        self.run.say(f"  Dropped the SQL object {row.name}", verbosity=2)

    def execute(self, sql: str) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
