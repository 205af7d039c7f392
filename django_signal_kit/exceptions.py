"""What is wrong with the configuration, in one sentence that start-up and the checks share; and
with the rows of a bulk write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from django.core.checks import CheckMessage, Error
from django.core.exceptions import (
    NON_FIELD_ERRORS,
    ImproperlyConfigured,
    ValidationError,
)
from django.db import DatabaseError


class Misconfigured(ImproperlyConfigured):
    """A mistake in the settings or in a receiver class.

    ``id`` is the id of the system check that reports it (``"signal_kit.E001"``), ``msg`` says what
    is wrong and ``hint`` what to do about it.
    """

    def __init__(self, id: str, msg: str, hint: str) -> None:
        self.id = f"signal_kit.{id}"
        self.msg = msg
        self.hint = hint
        super().__init__(f"{msg} {hint} ({self.id})")

    def as_check(self) -> CheckMessage:
        return Error(self.msg, hint=self.hint, id=self.id)


class LogTableMissingError(DatabaseError):
    """An entry cannot be written, because the table of the audit log is not there. Raised to
    whoever writes the row, in the place of what the database says."""

    def __init__(self, using: str, table: str) -> None:
        self.using = using
        self.table = table
        super().__init__(f"{say_missing(using, table)} Run: migrate --database {using}")


def say_missing(using: str, table: str) -> str:
    return f"The database {using!r} has no table {table!r} for the audit log."


class InvalidRowsError(ValidationError):
    """Rows of one bulk write are not valid, and none of its rows has been written.

    ``errors``: the position of each bad row in the list that was written, from 0 -> its
    ``ValidationError``, with ``message_dict``. ``messages`` has a line for each mistake.
    """

    def __init__(self, errors: Mapping[int, ValidationError]) -> None:
        self.errors = dict(errors)
        super().__init__(
            [
                ValidationError("Row %(position)d: %(what)s", params={"position": n, "what": what})
                for n, error in self.errors.items()
                for what in _say(error)
            ]
        )

    def __reduce__(self) -> tuple[type[InvalidRowsError], tuple[dict[int, ValidationError]]]:
        return InvalidRowsError, (self.errors,)


def _say(error: ValidationError) -> Iterable[str]:
    for field, messages in error.message_dict.items():
        for message in messages:
            yield message if field == NON_FIELD_ERRORS else f"{field}: {message}"


def did_you_mean(word: object, known: Iterable[str], otherwise: str = "") -> str:
    """``"Did you mean 'x'?"`` if a known word is near, else ``otherwise`` or the list of them."""
    choices = sorted(set(known))
    near = get_close_matches(str(word), choices, n=1, cutoff=0.6)
    if not near:
        folded = {choice.casefold(): choice for choice in choices}
        near = [
            folded[match]
            for match in get_close_matches(str(word).casefold(), folded, n=1, cutoff=0.6)
        ]
    if near:
        return f"Did you mean {near[0]!r}?"
    return otherwise or (f"Choose from {', '.join(map(repr, choices))}." if choices else "")


def join(words: Iterable[str], link: str = "and", most: int | None = None) -> str:
    """``"a, b and c"``; of more than ``most`` the first, and how many more there are."""
    found = list(words)
    if most is not None and len(found) > most:
        found[most:], link = [f"{len(found) - most} more"], "and"
    *others, last = found
    return f"{', '.join(others)} {link} {last}" if others else last
