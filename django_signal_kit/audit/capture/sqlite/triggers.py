"""The triggers of a table in SQLite: three for its rows, and three for those of each many-to-many
field, as there are no triggers for statements.

They are dropped with their table, and so by each migration that makes a table anew. One for links
reads the row that owns them, and all write into the log: while a table that they name is missing,
SQLite refuses to rename any other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from django.conf import settings

from django_signal_kit.audit.capture.pieces import MARK, Piece, make_name
from django_signal_kit.audit.capture.specification import Cell, Kind, Link, Specification
from django_signal_kit.audit.capture.sqlite import quoting
from django_signal_kit.audit.capture.sqlite.expressions import (
    get_column,
    get_value,
    key_to_text,
    kind_to_json,
    to_json,
    to_text,
)
from django_signal_kit.rows.values import REDACTED

#: SQLite keeps decimals as floating-point numbers.
_MAX_DIGITS = 15


def find_obstacle(specification: Specification) -> str:
    """Why SQLite cannot record the model, as the end of a sentence; "" if it can."""
    text_cells = [part for part in specification.text if isinstance(part, Cell)]
    for cell in (specification.key, *specification.cells, *text_cells):
        if cell.kind is Kind.DECIMAL and (cell.max_digits or _MAX_DIGITS + 1) > _MAX_DIGITS:
            return (
                f"has the decimal field {cell.name} of more than {_MAX_DIGITS} digits, which "
                f"SQLite rounds"
            )
    if json.dumps(specification.receiver) != f'"{specification.receiver}"':
        return (
            f"is recorded by {specification.receiver!r}, a name that SQLite does not find in JSON"
        )
    zone = settings.DATABASES.get(specification.using, {}).get("TIME_ZONE")
    if specification.use_tz and zone not in (None, "UTC"):
        return f"is in a database that keeps its times as those of {zone}"
    return ""


def write(specification: Specification) -> list[Piece]:
    """The triggers, in the order in which they are made."""
    return [*_write_rows(specification), *_write_links(specification)]


def _write_rows(specification: Specification) -> Iterator[Piece]:
    table = specification.table
    yield _make_piece(
        specification,
        table,
        "insert",
        _insert_entry(specification, "create", "NEW", _tell_row(specification, "NEW")),
    )
    changed = " OR ".join(_is_changed(cell) for cell in specification.changing)
    if changed:
        yield _make_piece(
            specification,
            table,
            "update",
            _insert_entry(specification, "update", "NEW", _tell_changes(specification)),
            when=changed,
        )
    yield _make_piece(
        specification,
        table,
        "delete",
        _insert_entry(specification, "delete", "OLD", _tell_row(specification, "OLD")),
    )


def _write_links(specification: Specification) -> Iterator[Piece]:
    for link in specification.links:
        owner, target = (
            quoting.name(column) for column in (link.owner_column, link.target_column)
        )
        added = _insert_link_entry(specification, link, "m2m_add", "added", "NEW")
        removed = _insert_link_entry(specification, link, "m2m_remove", "removed", "OLD")
        changed = f"OLD.{owner} IS NOT NEW.{owner} OR OLD.{target} IS NOT NEW.{target}"
        for event, body, when in (
            ("insert", added, ""),
            ("update", f"{removed} {added}", changed),
            ("delete", removed, ""),
        ):
            yield _make_piece(specification, link.table, event, body, when=when, link=link.name)


def _make_piece(
    specification: Specification, table: str, event: str, body: str, when: str = "", link: str = ""
) -> Piece:
    name = make_name(specification.receiver, table, f"{link}_{event}" if link else event)
    condition = f" WHEN {when}" if when else ""
    return Piece(
        name,
        table,
        f"CREATE TRIGGER {quoting.name(name)} AFTER {event.upper()} ON {quoting.name(table)}"
        f"{condition} BEGIN {MARK} {body} END",
        f"DROP TRIGGER IF EXISTS {quoting.name(name)}",
    )


# What is told


def _is_changed(cell: Cell) -> str:
    old, new = get_value(cell, "OLD"), get_value(cell, "NEW")
    # A collation of the column may not know capitals from small letters.
    collation = " COLLATE BINARY" if cell.kind is Kind.TEXT else ""
    return f"{old} IS NOT {new}{collation}"


def _tell_row(specification: Specification, row: str) -> str:
    """``{field: [null, value]}`` of what a row is made with, or the other way round."""
    before, after = ("null,", "") if row == "NEW" else ("", ",null")
    return _join(
        f"CASE WHEN {get_value(cell, row)} IS NULL THEN '' ELSE "
        f"{_begin(cell.name, before)} || {to_json(specification, cell, row)} || '{after}]' END"
        for cell in specification.cells
    )


def _tell_changes(specification: Specification) -> str:
    return _join(
        f"CASE WHEN {_is_changed(cell)} THEN {_begin(cell.name)} || "
        f"{to_json(specification, cell, 'OLD')} || ',' || "
        f"{to_json(specification, cell, 'NEW')} || ']' ELSE '' END"
        for cell in specification.changing
    )


def _begin(name: str, rest: str = "") -> str:
    return quoting.text(f",{json.dumps(name, ensure_ascii=False)}:[{rest}")


def _join(parts: Iterator[str]) -> str:
    """An object of all that is not "": NUL is in no text that each database can keep."""
    told = " || ".join(parts) or "''"
    return (
        rf"'{{' || substr(replace(replace({told}, '\\', '\u005c'), '\u0000', '\ufffd'), 2) || '}}'"
    )


def _get_text(specification: Specification, row: str) -> str:
    text = " || ".join(
        quoting.text(part) if isinstance(part, str) else to_text(part, row)
        for part in specification.text or ("",)
    )
    for cell in specification.hidden:
        secret = f"ifnull({get_column(cell, row)}, '')"
        text = f"replace({text}, {secret}, {quoting.text(REDACTED)})"
    return text


# Entries


def _insert_entry(specification: Specification, action: str, row: str, changes: str) -> str:
    key = key_to_text(specification.key, f"{row}.{quoting.name(specification.key.column)}")
    return _insert(specification, action, key, _get_text(specification, row), changes)


def _insert_link_entry(
    specification: Specification, link: Link, action: str, verb: str, row: str
) -> str:
    owner = f"{row}.{quoting.name(link.owner_column)}"
    table, column = quoting.name(specification.table), quoting.name(specification.key.column)
    # Who removes the owner first leaves no name.
    name = specification.label.rpartition(".")[2]
    text = (
        f"coalesce((SELECT {_get_text(specification, table)} FROM {table} "
        f"WHERE {table}.{column} = {owner}), {quoting.text(f'{name} ')} || {owner})"
    )
    target = f"{row}.{quoting.name(link.target_column)}"
    begin = quoting.text(f'{{{json.dumps(link.name, ensure_ascii=False)}:{{"{verb}":[')
    member = kind_to_json(specification, link.target_kind, target)
    changes = f"{begin} || {member} || ']}}}}'"
    return _insert(specification, action, key_to_text(specification.key, owner), text, changes)


def _insert(specification: Specification, action: str, key: str, text: str, changes: str) -> str:
    log = specification.log
    receiver = f'$."{specification.receiver}"'
    actor = f"json_extract(p, {quoting.text(f'{receiver}.actor_id')})"
    if log.actor_kind is Kind.UUID:
        actor = f"replace({actor}, '-', '')"
    zone = "" if specification.use_tz else ", 'localtime'"
    values = {
        # Django writes six digits of a second; SQLite knows three.
        "at": f"strftime('%Y-%m-%d %H:%M:%f000', 'now'{zone})",
        "action": quoting.text(action),
        "content_type_id": str(specification.content_type_id),
        "object_pk": key,
        "object_text": text,
        "changes": changes,
        "actor_id": actor,
        "actor_text": f"coalesce(json_extract(p, {quoting.text(f'{receiver}.actor_text')}), '')",
        "context": f"coalesce(json_extract(p, {quoting.text(f'{receiver}.context')}), "
        '\'{"by":"database"}\')',
        "unit": "json_extract(p, '$.unit')",
        "using": quoting.text(specification.using),
    }
    columns = ", ".join(quoting.name(log.columns[name]) for name in values)
    # The LIMIT keeps SQLite from calling char() wherever p is named.
    return (
        f"INSERT INTO {quoting.name(log.table)} ({columns}) "
        f"SELECT {', '.join(values.values())} FROM (SELECT nullif(char(), '') AS p LIMIT 1) "
        f"WHERE json_type(p, {quoting.text(receiver)}) IS NOT 'false';"
    )
