"""Which table a statement writes, as its first words say, and whose rows are in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from django.db.models import Model

_SPACE = r"(?:\s|/\*.*?\*/|--[^\n]*\n)"
_NAME = r"(?:\"[^\"]+\"|`[^`]+`|\[[^\]]+\]|[\w$]+)"
_WRITE = re.compile(
    rf"(INSERT|REPLACE|UPDATE|DELETE)"
    rf"(?:{_SPACE}++(?:OR{_SPACE}++\w+|IGNORE|(?:LOW|HIGH)_PRIORITY|QUICK|INTO|FROM|ONLY)\b)*"
    rf"{_SPACE}++(?:({_NAME})\s*\.\s*)?({_NAME})",
    re.IGNORECASE | re.DOTALL,
)
#: Between the schema and the table, as in the name of a table that Django is to quote.
_JOINT = '"."'
_HOMES = {"sqlite": "main", "postgresql": "public"}
_BEFORE = re.compile(f"{_SPACE}*+", re.DOTALL)
#: So much of a statement says which table it writes, from its first word on.
_BEGINNING = 200
_VERBS = frozenset("iIuUdDrR")
_BLANKS = frozenset(" \n\t\r/-")


def find_target(sql: str) -> tuple[str, str] | None:
    """The verb of a statement and the table that it writes; None if it writes none."""
    start = 0
    if sql[:1] in _BLANKS and (before := _BEFORE.match(sql)):
        start = before.end()
    return _parse(sql[start : start + _BEGINNING]) if sql[start : start + 1] in _VERBS else None


@lru_cache(maxsize=1000)
def _parse(beginning: str) -> tuple[str, str] | None:
    match = _WRITE.match(beginning)
    if match is None:
        return None
    names = [name.strip('"`[]') for name in match.groups()[1:] if name is not None]
    return match[1].upper(), _JOINT.join(names).lower()


def fold(table: str) -> str:
    """A table as it is looked up: databases do not mind the case of what is not quoted, and some
    projects name a schema by quotes in the middle: ``'shop"."tag'``."""
    return _JOINT.join(re.split(r'["`]\.["`]', table)).lower()


def find_model(
    tables: Mapping[str, type[Model]], table: str, connection: Any
) -> type[Model] | None:
    """The model of the rows of a table, whose schema may be named although it is the usual one."""
    schema, joint, name = table.rpartition(_JOINT)
    model = tables.get(table)
    if model is None and joint and schema == _get_home(connection):
        model = tables.get(name)
    return model


def _get_home(connection: Any) -> str:
    """The schema of tables that are named without one; for MySQL and MariaDB it is the database.
    What a ``search_path`` of PostgreSQL says else is not asked."""
    vendor = getattr(connection, "vendor", "")
    home = _HOMES.get(vendor) or str(getattr(connection, "settings_dict", {}).get("NAME", ""))
    return home.lower()
