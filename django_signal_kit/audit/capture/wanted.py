"""What the triggers of a database should be, as the settings and its tables are now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from django_signal_kit.audit.capture.obstacles import get_databases
from django_signal_kit.audit.capture.pieces import UNREADABLE, Installed, Piece
from django_signal_kit.audit.capture.postgresql.catalog import is_there
from django_signal_kit.audit.capture.specification import Cell, Specification
from django_signal_kit.audit.capture.specifying import sketch, specify
from django_signal_kit.audit.capture.vendors import NAMES, get_catalog, get_triggers
from django_signal_kit.audit.databases import list_tables
from django_signal_kit.wiring.registry import registry


def get_capturing() -> list[Any]:
    """The connected receivers that capture by triggers."""
    return [each for each in registry.receivers if getattr(each, "capture", "") == "triggers"]


def get_captured(receiver: Any) -> list[type[Model]]:
    """The models whose rows triggers record for ``receiver``."""
    models = registry.get_models(receiver)
    return [model for model in models if not model._meta.proxy and not receiver.hears(model)]


def list_wanted(
    using: str, *, makes_kinds: bool = False, tables: Tables | None = None
) -> Iterator[tuple[type[Model], Piece]]:
    """What should be installed in the database ``using``, with the model whose rows it records:
    as far as the tables and columns are there that it names. ``makes_kinds``: content types that
    are not there are made. ``tables``: those to be there, if not those that are."""
    for receiver, model, known in _list_captured(using, tables):
        if not known.has_log():
            # There is nothing yet to write to.
            return
        if known.has_kinds:
            found = specify(receiver, model, using, makes_kind=makes_kinds)
        else:
            found = sketch(receiver, model, using)
        for piece in get_triggers(known.connection.vendor).write(known.narrow(found)):
            yield model, piece.marked()


def list_names(using: str) -> Iterator[tuple[str, str]]:
    """Name and table of what should be installed in the database ``using``. Asks it for its tables
    alone: who writes may not read them all, and may not even see the log."""
    for receiver, model, tables in _list_captured(using):
        for piece in get_triggers(tables.connection.vendor).write(sketch(receiver, model, using)):
            if tables.has(piece.table):
                yield piece.name, piece.table


def _list_captured(
    using: str, tables: Tables | None = None
) -> Iterator[tuple[Any, type[Model], Tables]]:
    """Each receiver with each model that triggers record for it there, if its table is there."""
    receivers = get_capturing()
    if not receivers or connections[using].vendor not in NAMES:
        return
    tables = tables or Tables(connections[using])
    for receiver in receivers:
        for model in get_captured(receiver):
            if using in get_databases(model) and tables.has(model._meta.db_table):
                yield receiver, model, tables


class Tables:
    """Which tables a database has, and which columns: some may still have to be migrated."""

    #: May content types be asked for?
    has_kinds = True

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self.names = {fold(connection, name) for name in connection.introspection.table_names()}

    def has(self, table: str) -> bool:
        if fold(self.connection, table) in self.names:
            return True
        # The list has names without quotes, of tables that are found without a schema. Where there
        # is no schema nobody captures such a table.
        return '"' in table and is_there(self.connection, table)

    def has_log(self) -> bool:
        """Is there a log to write to, and its content types?"""
        return all(map(self.has, list_tables()))

    def narrow(self, specification: Specification) -> Specification:
        """``specification`` without what the database does not have yet."""
        columns = self._list_columns(specification.table)
        return replace(
            specification,
            cells=tuple(cell for cell in specification.cells if self._is_in(columns, cell)),
            text=tuple(
                part if isinstance(part, str) or self._is_in(columns, part) else ""
                for part in specification.text
            ),
            hidden=tuple(cell for cell in specification.hidden if self._is_in(columns, cell)),
            links=tuple(link for link in specification.links if self.has(link.table)),
        )

    def _list_columns(self, table: str) -> set[str]:
        name = self.connection.ops.quote_name(table)
        with self.connection.cursor() as cursor:
            if self.connection.vendor == "mysql":
                # Some are invisible to an asterisk.
                cursor.execute(f"SHOW COLUMNS FROM {name}")
                return {self._fold_column(column[0]) for column in cursor.fetchall()}
            cursor.execute(f"SELECT * FROM {name} WHERE 1 = 0")
            return {self._fold_column(column[0]) for column in cursor.description}

    def _is_in(self, columns: set[str], cell: Cell) -> bool:
        return self._fold_column(cell.column) in columns

    def _fold_column(self, column: str) -> str:
        return column if self.connection.vendor == "postgresql" else column.casefold()


def fold(connection: BaseDatabaseWrapper, table: str) -> str:
    """What is the same for all names by which the database knows ``table``."""
    table = connection.introspection.identifier_converter(table)
    return table.casefold() if connection.features.ignores_table_name_case else table


@dataclass(frozen=True)
class Difference:
    """What is installed in a database, beside what is wanted."""

    #: Wanted, and not there, or there with another checksum.
    missing: list[Piece]
    changed: list[Piece]
    #: There, and not wanted.
    left: list[Installed]
    #: As it should be, as far as this account may see.
    standing: list[Piece]

    def __bool__(self) -> bool:
        return bool(self.missing or self.changed or self.left)


def compare(using: str, *, makes_kinds: bool = False) -> Difference:
    """Asks the database for what is installed, and for the columns of each captured table."""
    wanted = list_wanted(using, makes_kinds=makes_kinds)
    return compare_with(using, (piece for _, piece in wanted), list_installed(using))


def compare_with(
    using: str, wanted: Iterable[Piece], installed: Iterable[Installed]
) -> Difference:
    connection = connections[using]
    # Whoever renames a table takes its triggers along.
    there = {(each.name, fold(connection, each.table)): each for each in installed}
    found = Difference([], [], [], [])
    for piece in wanted:
        known = there.pop((piece.name, fold(connection, piece.table)), None)
        if known is None:
            found.missing.append(piece)
        elif known.checksum not in (piece.checksum, UNREADABLE):
            found.changed.append(piece)
        else:
            found.standing.append(piece)
    found.left.extend(there.values())
    return found


def list_installed(using: str) -> list[Installed]:
    """What the database ``using`` has of ours, whoever has installed it."""
    connection = connections[using]
    if connection.vendor not in NAMES:
        return []
    return list(get_catalog(connection.vendor).list_installed(connection))
