"""The triggers of one table on MariaDB and MySQL."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator

from django.db import connections

from django_signal_kit.audit.capture.mysql.expressions import (
    get_value,
    is_same,
    make_json,
    make_text,
    quote_name,
    quote_text,
    remove_dashes,
    write_json,
)
from django_signal_kit.audit.capture.mysql.variables import get_variables
from django_signal_kit.audit.capture.pieces import MARK, Piece, make_name
from django_signal_kit.audit.capture.specification import Cell, Kind, Link, Specification

#: When the row was written, not when its statement began to wait for it; and in UTC by nobody's
#: clock that is put back in autumn.
_NOW = "UTC_TIMESTAMP(6) + INTERVAL TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6)) MICROSECOND"
_BY_DATABASE = '{"by":"database"}'


def find_obstacle(specification: Specification) -> str:
    if not specification.use_tz:
        return "keeps times without USE_TZ, of which the database does not know the zone"
    zone = connections.settings[specification.using].get("TIME_ZONE")
    if zone not in (None, "UTC"):
        return f"is in a database with the TIME_ZONE {zone!r}, which does not keep times in UTC"
    return ""


def write(specification: Specification) -> list[Piece]:
    writer = _Writer(specification)
    return [
        writer.make_piece(specification.table, "insert", "INSERT", writer.make_insert()),
        writer.make_piece(specification.table, "update", "UPDATE", writer.make_update()),
        writer.make_piece(specification.table, "delete", "DELETE", writer.make_delete()),
        *(piece for link in specification.links for piece in writer.make_link_pieces(link)),
    ]


class _Writer:
    def __init__(self, specification: Specification) -> None:
        self.specification = specification
        self.variables = get_variables(specification.receiver)

    def make_piece(self, table: str, name: str, event: str, body: str) -> Piece:
        # A link's triggers are named after its owner: others may have links in the same table.
        name = make_name(self.specification.receiver, self.specification.table, name)
        return Piece(
            name,
            table,
            f"CREATE TRIGGER {quote_name(name)} AFTER {event} ON {quote_name(table)}\n"
            f"FOR EACH ROW BEGIN {MARK}\n{body}END",
            f"DROP TRIGGER IF EXISTS {quote_name(name)}",
        )

    def make_insert(self) -> str:
        def write(name: str, cell: Cell) -> str:
            value = write_json(cell, "NEW", self.specification.secrets)
            told = _concat(quote_text(f",{name}:[null,"), value, "']'")
            return f"IF({get_value(cell, 'NEW')} IS NULL, '', {told})"

        return self._write_row("create", "NEW", self._join(self.specification.cells, write))

    def make_update(self) -> str:
        cells = self.specification.changing
        if not cells:
            return ""

        def write(name: str, cell: Cell) -> str:
            old, new = (make_json(cell, row, self.specification.secrets) for row in ("OLD", "NEW"))
            told = _concat(quote_text(f",{name}:["), old, "','", new, "']'")
            return f"IF({is_same(cell)}, '', {told})"

        is_changed = f"NOT ({' AND '.join(map(is_same, cells))})"
        return self._write_row("update", "NEW", self._join(cells, write), is_changed)

    def make_delete(self) -> str:
        def write(name: str, cell: Cell) -> str:
            value = write_json(cell, "OLD", self.specification.secrets)
            told = _concat(quote_text(f",{name}:["), value, "',null]'")
            return f"IF({get_value(cell, 'OLD')} IS NULL, '', {told})"

        return self._write_row("delete", "OLD", self._join(self.specification.cells, write))

    def make_link_pieces(self, link: Link) -> Iterator[Piece]:
        added = self._write_link(link, "m2m_add", "added", "NEW")
        removed = self._write_link(link, "m2m_remove", "removed", "OLD")
        both = (_make_owner(self, link), _make_target(link))
        is_changed = f"NOT ({' AND '.join(map(is_same, both))})"
        for event, body in (
            ("INSERT", added),
            ("DELETE", removed),
            ("UPDATE", f"IF {is_changed} THEN\n{removed}{added}END IF;\n"),
        ):
            yield self.make_piece(link.table, f"{link.name}_{event.lower()}", event, body)

    def _write_row(self, action: str, row: str, changes: str, *conditions: str) -> str:
        key = make_text(self.specification.key, row)
        text = _concat("''", *(_write_part(part, row) for part in self.specification.text))
        return self._write_entry(action, key, text, changes, conditions)

    def _write_link(self, link: Link, action: str, verb: str, row: str) -> str:
        specification = self.specification
        owner = _make_owner(self, link)
        key = make_text(owner, row)
        table = quote_name(specification.table)
        found = _concat("''", *(_write_part(part, table) for part in specification.text))
        # Any other way to read it would lock the owner.
        read = (
            f"SELECT {found} INTO owner_text FROM {table} "
            f"WHERE {get_value(specification.key, table)} = {get_value(owner, row)};"
        )
        changes = _concat(
            quote_text(f"{{{json.dumps(link.name)}:{{{json.dumps(verb)}:["),
            make_json(_make_target(link), row),
            "']}}'",
        )
        entry = self._write_entry(action, key, "COALESCE(owner_text, '')", changes, ())
        return f"BEGIN\nDECLARE owner_text LONGTEXT CHARACTER SET utf8mb4;\n{read}\n{entry}END;\n"

    def _write_entry(
        self, action: str, key: str, text: str, changes: str, conditions: Iterable[str]
    ) -> str:
        specification, log, told = self.specification, self.specification.log, self.variables
        actor_id = told.actor_id
        if log.actor_kind is Kind.UUID:
            actor_id = remove_dashes(actor_id)
        is_told = f"{told.unit} IS NOT NULL"
        values = {
            "at": _NOW,
            "action": quote_text(action),
            "content_type_id": str(specification.content_type_id),
            "object_pk": key,
            "object_text": text,
            "changes": changes,
            "actor_id": f"IF({is_told}, {actor_id}, NULL)",
            "actor_text": f"IF({is_told}, {told.actor_text}, '')",
            "context": f"IF({is_told}, {told.context}, {quote_text(_BY_DATABASE)})",
            "unit": told.unit,
            "using": quote_text(specification.using),
        }
        columns = ", ".join(quote_name(log.columns[name]) for name in values)
        listed = ",\n".join(values.values())
        # Not if the receiver is muted.
        heard = " AND ".join((f"COALESCE(LENGTH({told.unit}), 1)", *conditions))
        return (
            f"IF {heard} THEN\nINSERT INTO {quote_name(log.table)} ({columns}) VALUES (\n"
            f"{listed}\n);\nEND IF;\n"
        )

    def _join(self, cells: Iterable[Cell], write: Callable[[str, Cell], str]) -> str:
        """An object of what is written of each cell, or is empty; each begins with a comma."""
        parts = [write(json.dumps(cell.name), cell) for cell in cells]
        # A NULL in it makes NULL of it all, and the log has no place for that.
        return _concat("'{'", f"SUBSTR({_concat(*parts, quote_text(''))}, 2)", "'}'")


def _make_owner(writer: _Writer, link: Link) -> Cell:
    return Cell("", link.owner_column, writer.specification.key.kind)


def _make_target(link: Link) -> Cell:
    return Cell("", link.target_column, link.target_kind)


def _write_part(part: str | Cell, row: str) -> str:
    return quote_text(part) if isinstance(part, str) else make_text(part, row)


def _concat(*parts: str) -> str:
    return f"CONCAT({', '.join(parts)})"
