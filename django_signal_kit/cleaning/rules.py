"""A rule: what only the database can say of a row.

It is asked of many rows at once: one query says whether any of them breaks it, and only if one
does, they are halved until it is found. What is wrong with a single row Django itself says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError

#: How many rows are asked for in one query.
CHUNK = 200


class Row:
    """An instance that is to be written, and what has been found out about it."""

    __slots__ = ("errors", "exclude", "freed", "instance", "position")

    def __init__(self, position: int, instance: Any, exclude: set[str]) -> None:
        self.position = position
        self.instance = instance
        #: Names of the fields that are not written, or are wrong already.
        self.exclude = exclude
        #: Names of unique fields that another receiver frees before the row is written.
        self.freed: Set[str] = frozenset()
        self.errors: dict[str, list[ValidationError]] = {}

    def add(self, error: ValidationError, field: str = NON_FIELD_ERRORS) -> None:
        """A dict of errors is about the fields that it names."""
        if hasattr(error, "error_dict"):
            error.update_error_dict(self.errors)
        else:
            self.errors.setdefault(field, []).extend(error.error_list)
        self.exclude.update(self.errors.keys() - {NON_FIELD_ERRORS})


class Rule:
    """Asked of rows that are to be written to the database ``using``."""

    chunk = CHUNK

    def __init__(self, using: str) -> None:
        self.using = using

    def concerns(self, row: Row) -> bool:
        """Whether the row has all the values that the rule is about."""
        raise NotImplementedError

    def is_broken(self, rows: Sequence[Row]) -> bool:
        """Whether one of ``rows`` at least may break it; asked by one query."""
        raise NotImplementedError

    def get_error(self, row: Row) -> ValidationError | None:
        """What is wrong with a row, of which ``is_broken()`` is true."""
        raise NotImplementedError

    def get_field(self, error: ValidationError) -> str:
        """The field to which the error belongs."""
        return NON_FIELD_ERRORS

    def apply(self, rows: Sequence[Row]) -> None:
        """Give each row that breaks the rule its error."""
        concerned = [row for row in rows if self.concerns(row)]
        for start in range(0, len(concerned), self.chunk):
            for row in self._find(concerned[start : start + self.chunk]):
                error = self.get_error(row)
                if error is not None:
                    row.add(error, self.get_field(error))

    def _find(self, rows: Sequence[Row]) -> Iterator[Row]:
        if not self.is_broken(rows):
            return
        if len(rows) == 1:
            yield rows[0]
            return
        half = len(rows) // 2
        yield from self._find(rows[:half])
        yield from self._find(rows[half:])
