"""Entries of the audit log on their way into its table.

They are collected as plain tuples with their JSON already made: what an instance holds may be
changed in place before they are written, and a thousand of them are one INSERT.
"""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.db import (
    DEFAULT_DB_ALIAS,
    DatabaseError,
    IntegrityError,
    connections,
    router,
    transaction,
)
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model
from django.utils import timezone

from django_signal_kit.exceptions import EntryRefusedError, LogTableMissingError, Misconfigured
from django_signal_kit.rows.inserting import insert
from django_signal_kit.rows.values import say
from django_signal_kit.signals import audit_entries_created
from django_signal_kit.units.journal import get_journal

_MAX_SIZE = 4_000_000

encode = json.JSONEncoder(separators=(",", ":")).encode


class Circumstances(NamedTuple):
    """What all entries of one write have in common; ``context`` is JSON."""

    at: datetime.datetime
    actor_id: Any
    actor_text: str
    context: str
    unit: UUID | None
    using: str


class Entry(NamedTuple):
    """The columns of the log's table, but for its key; ``changes`` and ``context`` are JSON."""

    at: datetime.datetime
    action: str
    content_type_id: Any
    object_pk: str
    object_text: str
    changes: str
    actor_id: Any
    actor_text: str
    context: str
    unit: UUID | None
    using: str


def get_entry_model() -> Any:
    """The model of the log: SIGNAL_KIT_AUDIT_ENTRY_MODEL, or the kit's own.

    Through the app registry: the audit app need not be installed for the kit to be imported.
    """
    label = getattr(settings, "SIGNAL_KIT_AUDIT_ENTRY_MODEL", "signal_kit_audit.AuditEntry")
    return apps.get_model(label, require_ready=False)


def has_log() -> bool:
    """Is there an audit log: the kit's own app, or a model in its place?"""
    return bool(
        getattr(settings, "SIGNAL_KIT_AUDIT_ENTRY_MODEL", "")
        or apps.is_installed("django_signal_kit.audit")
    )


def check_entry_model() -> None:
    """Raise Misconfigured if the setting names no model of the log."""
    try:
        get_entry_model()
    except (LookupError, ValueError) as error:
        label = getattr(settings, "SIGNAL_KIT_AUDIT_ENTRY_MODEL", "")
        raise Misconfigured(
            "E011",
            f"SIGNAL_KIT_AUDIT_ENTRY_MODEL is {label!r}: {error}.",
            "Give the label of an installed model that subclasses AbstractAuditEntry.",
        ) from error


def get_kind(model: type[Model], using: str) -> Any:
    """The content type of ``model`` in the database ``using``, from Django's cache."""
    kinds = apps.get_model("contenttypes", "ContentType")._default_manager
    return kinds.db_manager(using).get_for_model(model)


def find_kind(model: type[Model], using: str) -> Any:
    """:func:`get_kind` for who only reads: None if there is none yet."""
    meta = model._meta.concrete_model._meta  # type: ignore[union-attr]
    kinds = apps.get_model("contenttypes", "ContentType")._default_manager.db_manager(using)
    return kinds.filter(app_label=meta.app_label, model=meta.model_name).first()


def get_circumstances(
    actor: Any,
    context: str,
    unit: UUID | None,
    using: str,
    at: datetime.datetime | None = None,
) -> Circumstances:
    """Of a write that happens now, or has happened ``at``; ``actor`` is a user, anything else that
    has a name, or None."""
    actor_text = "" if actor is None else say(actor)[:255]
    actor_id = get_user_key(actor)
    return Circumstances(at or timezone.now(), actor_id, actor_text, context, unit, using)


def get_known(actor: Any) -> Any:
    """``actor``, or None for an anonymous user."""
    try:
        return None if actor.is_anonymous is True else actor
    except Exception:
        # Anything may be given as an actor.
        return actor


def get_user_key(actor: Any) -> Any:
    """The key of a user; None for anything else: the key of a row of another model would name
    somebody else."""
    if actor is None:
        return None
    try:
        user_model = get_user_model()
    except ImproperlyConfigured:
        # There are no users here.
        return None
    return getattr(actor, user_model._meta.pk.attname) if isinstance(actor, user_model) else None


#: Databases that have the tables that an entry needs.
_with_tables: set[str] = set()
#: Those that lacked them, and until when that is believed.
_without_tables: dict[str, float] = {}
_BELIEVED = 60  # seconds


def get_log_alias(using: str) -> str:
    """The database of the entries about rows in the database ``using``: which one a router says,
    else that of the rows, so that both commit together, else the default."""
    if using == DEFAULT_DB_ALIAS and not router.routers:
        return using
    model = get_entry_model()
    alias = ask_router(model, using)
    if alias == using != DEFAULT_DB_ALIAS and not _is_known_to_have_tables(using):
        return router.db_for_write(model)
    return alias


def ask_router(model: Any, using: str) -> str:
    """Where entries about rows in the database ``using`` go: there, if routers have nothing to
    say."""
    return router.db_for_write(model, instance=_make_hint(model, using))


@cache
def _make_hint(model: Any, using: str) -> Model:
    # Where a router has nothing to say, Django leaves an instance in its database.
    hint: Model = model()
    hint._state.db = using
    return hint


def _is_known_to_have_tables(using: str) -> bool:
    """Asks once; if they are not there, again after a minute: they may have been migrated."""
    if using in _with_tables:
        return True
    now = time.monotonic()
    if now < _without_tables.get(using, 0):
        return False
    if has_tables(using):
        _with_tables.add(using)
        return True
    _without_tables[using] = now + _BELIEVED
    return False


def has_tables(using: str) -> bool:
    """Are the tables of the log and of content types in this database? Asks it."""
    introspection = connections[using].introspection
    names = map(introspection.identifier_converter, list_tables())
    return set(names).issubset(introspection.table_names())


def list_tables() -> list[str]:
    """The tables that an entry needs: of the log, and of content types."""
    models = (get_entry_model(), apps.get_model("contenttypes", "ContentType"))
    return [model._meta.db_table for model in models]


def list_missing_tables(using: str, models: Iterable[type[Model]]) -> list[str]:
    """Those tables of ``models`` that are not in this database. Asks it."""
    connection = connections[using]
    names = connection.introspection.table_names()
    return [
        table
        for model in models
        if connection.introspection.identifier_converter(table := model._meta.db_table)
        not in names
        # One in a schema of its own is not in that list.
        and not _can_be_read(table, connection)
    ]


def _can_be_read(table: str, connection: BaseDatabaseWrapper) -> bool:
    try:
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            cursor.execute(f"SELECT 1 FROM {connection.ops.quote_name(table)} WHERE 1 = 0")
    except DatabaseError:
        return False
    return True


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
