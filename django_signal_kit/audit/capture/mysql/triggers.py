"""The triggers of one table on MariaDB and MySQL."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Any

from django.db import connections

from django_signal_kit.audit.capture.mysql.expressions import (
    REDACTED,
    get_value,
    if_null,
    is_same,
    make_json,
    make_text,
    quote_name,
    quote_text,
    remove_dashes,
    write_bytes,
    write_json,
)
from django_signal_kit.audit.capture.mysql.secrets import declare_documents, hide_secrets
from django_signal_kit.audit.capture.mysql.variables import get_variables
from django_signal_kit.audit.capture.pieces import LABEL, Piece, make_name
from django_signal_kit.audit.capture.specification import Cell, Kind, Link, Specification
from django_signal_kit.rows import values

#: When the row was written, not when its statement began to wait for it; and in UTC by nobody's
#: clock that is put back in autumn.
_NOW = "UTC_TIMESTAMP(6) + INTERVAL TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6)) MICROSECOND"
_END = "']'"
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
    bodies = {"insert": writer.make_insert(), "delete": writer.make_delete()}
    if specification.changing:
        bodies["update"] = writer.make_update()
    return [
        *(
            writer.make_piece(specification.table, event, event.upper(), body)
            for event, body in bodies.items()
        ),
        *(piece for link in specification.links for piece in writer.make_link_pieces(link)),
    ]


class _Writer:
    def __init__(self, specification: Specification) -> None:
        self.specification = specification
        self.variables = get_variables(specification.receiver)
        # MySQL has to drop one before it makes another.
        connection: Any = connections[specification.using]
        self.replaces = connection.mysql_is_mariadb

    def make_piece(self, table: str, name: str, event: str, body: str) -> Piece:
        # A link's triggers are named after its owner: others may have links in the same table.
        name = make_name(self.specification.receiver, self.specification.table, name)
        create = "CREATE OR REPLACE TRIGGER" if self.replaces else "CREATE TRIGGER"
        return Piece(
            name,
            table,
            f"{create} {quote_name(name)} AFTER {event} ON {quote_name(table)} "
            f"FOR EACH ROW {LABEL} BEGIN\n{body}END",
            f"DROP TRIGGER IF EXISTS {quote_name(name)}",
            self.replaces,
        )

    def make_insert(self) -> str:
        def write(name: str, value: str) -> str:
            return _concat(quote_text(f",{name}:[null,"), value, _END)

        entry = self._write_entry("create", "NEW")
        return self._write_body(f"{self._tell_all('NEW', write)}{entry}", self.specification.cells)

    def make_update(self) -> str:
        changes = "".join(map(self._tell_change, self.specification.changing))
        entry = self._write_entry("update", "NEW")
        return self._write_body(
            f"{changes}IF NOT (told <=> '') THEN\n{entry}END IF;\n", self.specification.changing
        )

    def make_delete(self) -> str:
        def write(name: str, value: str) -> str:
            return _concat(quote_text(f",{name}:["), value, "',null]'")

        entry = self._write_entry("delete", "OLD")
        return self._write_body(f"{self._tell_all('OLD', write)}{entry}", self.specification.cells)

    def make_link_pieces(self, link: Link) -> Iterator[Piece]:
        added = self._write_link(link, "m2m_add", "added", "NEW")
        removed = self._write_link(link, "m2m_remove", "removed", "OLD")
        both = (self._get_owner(link), _get_target(link))
        is_changed = f"NOT ({' AND '.join(map(is_same, both))})"
        for event, body in (
            ("INSERT", added),
            ("DELETE", removed),
            ("UPDATE", f"IF {is_changed} THEN\n{removed}{added}END IF;\n"),
        ):
            name = f"{link.name}_{event.lower()}"
            yield self.make_piece(link.table, name, event, self._write_body(body))

    # What there is to tell, as statements that add it to "told"

    def _tell_all(self, row: str, write: Callable[[str, str], str]) -> str:
        """What a row has, or had."""
        statements = []
        for has_document, cells in groupby(self.specification.cells, _has_document):
            if has_document:
                statements += [self._tell_document(cell, row, write) for cell in cells]
            else:
                statements.append(_add(*(_write_cell(cell, row, write) for cell in cells)))
        return "".join(statements)

    def _tell_document(self, cell: Cell, row: str, write: Callable[[str, str], str]) -> str:
        told = _add(write(_write_name(cell), "new_document"))
        return (
            f"SET new_document = {get_value(cell, row)};\n"
            f"IF new_document IS NOT NULL THEN\n{self._hide('new_document')}{told}END IF;\n"
        )

    def _tell_change(self, cell: Cell) -> str:
        """What an update has made of a column."""
        if _has_document(cell):
            old, new = (f"COALESCE({name}, 'null')" for name in ("old_document", "new_document"))
            before = (
                f"SET old_document = {get_value(cell, 'OLD')};\n"
                f"SET new_document = {get_value(cell, 'NEW')};\n"
                f"{self._hide('old_document')}{self._hide('new_document')}"
            )
        else:
            old, new, before = make_json(cell, "OLD"), make_json(cell, "NEW"), ""
        told = _add(quote_text(f",{_write_name(cell)}:["), old, "','", new, _END)
        return f"IF NOT ({is_same(cell)}) THEN\n{before}{told}END IF;\n"

    def _hide(self, variable: str) -> str:
        return hide_secrets(variable, REDACTED, self.specification.secrets)

    # Entries

    def _write_body(self, statements: str, cells: Iterable[Cell] = ()) -> str:
        """``cells``: those of which the statements tell."""
        documents = ""
        if any(map(_has_document, cells)):
            documents = declare_documents(
                ("old_document", "new_document"), self.specification.secrets
            )
        # Not if the receiver is muted.
        return (
            f"DECLARE told LONGTEXT CHARACTER SET utf8mb4 DEFAULT '';\n"
            f"{documents}IF COALESCE(LENGTH({self.variables.unit}), 1) THEN\n{statements}END IF;\n"
        )

    def _write_entry(self, action: str, row: str) -> str:
        text = self._write_text(row)
        # A NULL in it has made NULL of it all, and the log has no place for that.
        changes = _concat("'{'", "SUBSTR(told, 2)", "'}'")
        return self._insert(action, make_text(self.specification.key, row), text, changes)

    def _write_link(self, link: Link, action: str, verb: str, row: str) -> str:
        specification, owner = self.specification, self._get_owner(link)
        # Not by the name of its table, which may be that of a row of the trigger.
        text, key = self._write_text("owner"), get_value(specification.key, "owner")
        changes = _concat(
            quote_text(f"{{{json.dumps(link.name)}:{{{json.dumps(verb)}:["),
            make_json(_get_target(link), row),
            "']}}'",
        )
        entry = self._insert(action, make_text(owner, row), "COALESCE(told, '')", changes)
        # Any other way to read it would lock the owner.
        return (
            f"SET told = NULL;\nSELECT {text} INTO told "
            f"FROM {quote_name(specification.table)} AS owner "
            f"WHERE {key} = {get_value(owner, row)};\n{entry}"
        )

    def _write_text(self, row: str) -> str:
        text = _concat("''", *(_write_part(part, row) for part in self.specification.text))
        for cell in self.specification.hidden:
            text = f"REPLACE({text}, {write_bytes(cell, row)}, {quote_text(values.REDACTED)})"
        return text

    def _get_owner(self, link: Link) -> Cell:
        return Cell("", link.owner_column, self.specification.key.kind)

    def _insert(self, action: str, key: str, text: str, changes: str) -> str:
        specification, log, told = self.specification, self.specification.log, self.variables
        actor_id = told.actor_id
        if log.actor_kind is Kind.UUID:
            actor_id = remove_dashes(actor_id)
        values = {
            "at": _NOW,
            "action": quote_text(action),
            "content_type_id": str(specification.content_type_id),
            "object_pk": key,
            "object_text": text,
            "changes": changes,
            "actor_id": actor_id,
            "actor_text": f"COALESCE({told.actor_text}, '')",
            "context": f"COALESCE({told.context}, {quote_text(_BY_DATABASE)})",
            "unit": told.unit,
            "using": quote_text(specification.using),
        }
        columns = ", ".join(quote_name(log.columns[name]) for name in values)
        listed = ",\n".join(values.values())
        return f"INSERT INTO {quote_name(log.table)} ({columns}) VALUES (\n{listed}\n);\n"


def _has_document(cell: Cell) -> bool:
    return cell.kind is Kind.JSON and not cell.is_secret


def _write_name(cell: Cell) -> str:
    return json.dumps(cell.name)


def _write_cell(cell: Cell, row: str, write: Callable[[str, str], str]) -> str:
    return if_null("''", cell, row, write(_write_name(cell), write_json(cell, row)))


def _add(*parts: str) -> str:
    return f"SET told = {_concat('told', *parts)};\n"


def _get_target(link: Link) -> Cell:
    return Cell("", link.target_column, link.target_kind)


def _write_part(part: str | Cell, row: str) -> str:
    return quote_text(part) if isinstance(part, str) else make_text(part, row)


def _concat(*parts: str) -> str:
    return f"CONCAT({', '.join(parts)})"
