"""Which database the entries about a row go to, and whether it has their tables."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import cache
from typing import Any

from django.apps import apps
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from django_signal_kit.audit.entries import get_entry_model

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
