"""The table of the audit log, as entries are written into it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import apps
from django.db import DatabaseError, IntegrityError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from django_signal_kit.audit.databases import get_log_alias
from django_signal_kit.audit.entries import Entry, get_entry_model
from django_signal_kit.exceptions import EntryRefusedError, LogTableMissingError
from django_signal_kit.rows.inserting import insert
from django_signal_kit.signals import audit_entries_created
from django_signal_kit.units.journal import get_journal

# Characters in a statement.
_MAX_SIZE = 4_000_000


def _is_missing(error: DatabaseError) -> bool:
    """Does the database say that there is no such table?"""
    cause = error.__cause__
    code = getattr(cause, "sqlstate", getattr(cause, "pgcode", None))
    return code == "42P01" or error.args[:1] == (1146,) or "no such table" in str(error)


def _is_about(error: DatabaseError, table: str) -> bool:
    """Does the database refuse a row of ``table``? The COMMIT that goes along with the entries may
    say that of a row of another."""
    told = getattr(getattr(error.__cause__, "diag", None), "table_name", None)
    return isinstance(error, IntegrityError) and told in (None, table)


class Log:
    """The table of the log, in whichever database it is for the rows."""

    def __init__(self) -> None:
        self.model = get_entry_model()
        # Has it the kit's columns and no others? Then rows can be written as they are.
        key = self.model._meta.auto_field
        names = {field.attname for field in self.model._meta.concrete_fields}
        self._is_plain = key is not None and names == {key.attname, *Entry._fields}
        # Through the app registry: a subclass of a receiver may be imported before the models are.
        self._content_types = apps.get_model("contenttypes", "ContentType")._default_manager

    def get_content_type_id(self, model: type[Model], using: str) -> Any:
        """The key, in the log's database, of the content type of ``model``, whose row is in the
        database ``using``."""
        alias, manager = get_log_alias(using), self._content_types
        if manager._db != alias:
            self._content_types = manager = manager.db_manager(alias)
        return manager.get_for_model(model).pk

    def write(self, entries: Sequence[Entry], *, may_commit: bool = False) -> None:
        """Insert the entries, in one statement or as many as the database's limits force, and send
        ``audit_entries_created`` if anybody listens.

        ``may_commit``: nobody does anything between this and the end of the transaction.
        """
        usings = {entry.using for entry in entries}
        if len(usings) == 1:
            self._write(entries, get_log_alias(usings.pop()), may_commit=may_commit)
            return
        by_alias: dict[str, list[Entry]] = {}
        for entry in entries:
            by_alias.setdefault(get_log_alias(entry.using), []).append(entry)
        for alias, some in by_alias.items():
            self._write(some, alias, may_commit=False)

    def _write(self, entries: Sequence[Entry], alias: str, *, may_commit: bool) -> None:
        try:
            self._insert(entries, alias, may_commit=may_commit)
        except DatabaseError as error:
            if _is_missing(error):
                raise LogTableMissingError(alias, self.model._meta.db_table) from error
            if _is_about(error, self.model._meta.db_table):
                raise EntryRefusedError(alias, self.model._meta.db_table, error) from error
            raise

    def _insert(self, entries: Sequence[Entry], alias: str, *, may_commit: bool) -> None:
        if self._is_plain and not audit_entries_created.has_listeners(self.model):
            connection = connections[alias]
            parts = list(_split(entries))
            for number, some in enumerate(parts, start=1):
                rows = _prepare(self.model, some, connection)
                is_last = may_commit and number == len(parts) and get_journal(connection).is_last
                insert(self.model, Entry._fields, rows, connection, is_last=is_last)
            return
        made = [_make(self.model, entry) for entry in entries]
        made = self.model._base_manager.using(alias).bulk_create(made)
        audit_entries_created.send(sender=self.model, entries=made, using=alias)


def _make(model: type[Model], entry: Entry) -> Model:
    """An instance of the log's model."""
    values = entry._asdict()
    values["changes"] = json.loads(entry.changes)
    values["context"] = json.loads(entry.context)
    return model(**values)


def _split(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """Parts that a server takes at once: MariaDB refuses a statement of more than 16 MB."""
    size = start = 0
    for position, entry in enumerate(entries):
        length = len(entry.changes) + len(entry.context) + len(entry.object_text)
        size += length
        if size > _MAX_SIZE and position > start:
            yield entries[start:position]
            size, start = length, position
    yield entries[start:]


def _prepare(
    model: type[Model], entries: Sequence[Entry], connection: BaseDatabaseWrapper
) -> list[Sequence[Any]]:
    """Rows with their values as the database takes them. The texts, JSON too, are so already."""
    rows: list[Sequence[Any]] = []
    last = None
    for entry in entries:
        # Mostly those of one write, one after the other, and of one actor.
        if (
            last is None
            or entry.at is not last.at
            or entry.unit is not last.unit
            or entry.actor_id is not last.actor_id
        ):
            last = entry
            at = connection.ops.adapt_datetimefield_value(entry.at)
            actor_id = _prepare_actor(model, entry.actor_id, connection)
            unit: Any = entry.unit
            if unit is not None and not connection.features.has_native_uuid_field:
                unit = unit.hex
        rows.append((at, *entry[1:6], actor_id, *entry[7:9], unit, entry.using))
    return rows


def _prepare_actor(model: type[Model], actor_id: Any, connection: BaseDatabaseWrapper) -> Any:
    if actor_id is None or actor_id.__class__ is int:
        return actor_id
    field: Any = model._meta.get_field("actor")
    return field.get_db_prep_save(actor_id, connection)
