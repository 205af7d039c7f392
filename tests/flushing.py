"""Empties the tables after a transactional test, in far less time than Django's flush takes.

Django empties every table and writes content types and permissions again, which takes longer than
most tests do. Here only tables that have rows are emptied, and content types and permissions stay
where they are, unless a test changed them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management.sql import emit_post_migrate_signal, sql_flush

KEPT = [ContentType, Permission]

# Database alias -> the rows of KEPT as migrations left them.
_left: dict[str, list[list[Any]]] = {}
# Databases whose last flush kept them.
_kept: set[str] = set()


@pytest.fixture(scope="session", autouse=True)
def _flush_only_what_was_written() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("django.core.management.commands.flush.sql_flush", _sql_flush)
        patch.setattr(
            "django.core.management.commands.flush.emit_post_migrate_signal", _emit_post_migrate
        )
        yield


def _sql_flush(style: Any, connection: Any, **options: bool) -> list[str]:
    _kept.discard(connection.alias)
    if any(options.values()):
        return sql_flush(style, connection, **options)
    filled = _get_filled(connection)
    if _left.get(connection.alias) == _read(connection.alias):
        _kept.add(connection.alias)
        filled = [table for table in filled if table not in {m._meta.db_table for m in KEPT}]
    if connection.vendor == "postgresql":
        # Foreign keys are checked at the end of the transaction, so that the order is free.
        return [f"DELETE FROM {connection.ops.quote_name(table)}" for table in filled]
    statements: list[str] = connection.ops.sql_flush(style, filled)
    return statements


def _emit_post_migrate(verbosity: int, interactive: bool, db: str, **kwargs: Any) -> None:
    if db in _kept:
        return
    emit_post_migrate_signal(verbosity, interactive, db, **kwargs)
    _left[db] = _read(db)


def _get_filled(connection: Any) -> list[str]:
    tables = connection.introspection.django_table_names(only_existing=True, include_views=False)
    bare = connection.features.bare_select_suffix
    quote = connection.ops.quote_name
    asked = [
        f"SELECT {position}{bare} WHERE EXISTS (SELECT 1 FROM {quote(table)})"
        for position, table in enumerate(tables)
    ]
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(asked))
        return [tables[position] for (position,) in cursor.fetchall()]


def _read(alias: str) -> list[list[Any]]:
    return [list(model._base_manager.using(alias).order_by("pk").values_list()) for model in KEPT]
