"""Names and texts as SQL has them."""

from __future__ import annotations


def name(identifier: str) -> str:
    """A name of a table, a column or a trigger."""
    return '"' + identifier.replace('"', '""') + '"'


def text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
