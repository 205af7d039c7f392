"""The statements of covered writes on one connection, in their order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from django.db.models import Model

Tables: TypeAlias = tuple[type[Model], ...]


class Statements:
    """How many there have been, and which was the last to write each table.

    A table is known by the concrete model whose it is. What is rolled back is not taken back: it
    is an order, and who asks what has been written reads once too often at worst.
    """

    __slots__ = ("_latest", "count")

    def __init__(self) -> None:
        self.count = 0
        self._latest: dict[type[Model], int] = {}

    def note(self, tables: Iterable[type[Model]] = ()) -> int:
        """A statement has written these tables; returns its place in the order. Without tables, a
        place for something else that happens now."""
        self.count = count = self.count + 1
        for table in tables:
            self._latest[table] = count
        return count

    def have_written(self, model: type[Model], since: int) -> bool:
        """Has a table that rows of ``model`` are in been written after the place ``since``?"""
        if self.count == since:
            return False
        latest = self._latest
        return any(latest.get(table, 0) > since for table in get_tables(model))


_tables: dict[type[Model], Tables] = {}


def get_tables(model: type[Model]) -> Tables:
    """The tables that a row of ``model`` is in: its own, and those of multi-table parents."""
    tables = _tables.get(model)
    if tables is None:
        (own,) = get_own_table(model)
        parents = (get_own_table(parent)[0] for parent in own._meta.get_parent_list())
        tables = _tables[model] = (own, *dict.fromkeys(parents))
    return tables


def get_own_table(model: type[Model]) -> Tables:
    """The table of ``model`` itself."""
    return (model._meta.concrete_model,)  # type: ignore[return-value]
