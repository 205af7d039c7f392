"""What is wrong with the configuration, in one sentence that start-up and the checks share; and
with the rows of a bulk write."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from traceback import walk_tb
from types import TracebackType
from typing import Any

from django.core.checks import CheckMessage, Error
from django.core.exceptions import (
    NON_FIELD_ERRORS,
    ImproperlyConfigured,
    ValidationError,
)
from django.db import DatabaseError

_KIT = __name__.partition(".")[0]
_INNER = (f"{_KIT}.", "django.", "importlib")


class Misconfigured(ImproperlyConfigured):
    """A mistake in the settings or in a receiver class.

    ``id`` is the id of the system check that reports it (``"signal_kit.E001"``), ``msg`` says what
    is wrong and ``hint`` what to do about it.
    """

    def __init__(self, id: str, msg: str, hint: str) -> None:
        self.id = f"signal_kit.{id}"
        self.msg = msg
        self.hint = hint
        super().__init__(" ".join(part for part in (msg, hint, f"({self.id})") if part))

    def as_check(self) -> CheckMessage:
        return Error(self.msg, hint=self.hint, id=self.id)


class TriggersMissingError(DatabaseError):
    """Nobody would record a write: the triggers of the audit log are not there. Raised to whoever
    writes first."""

    def __init__(self, using: str, tables: str) -> None:
        self.using = using
        super().__init__(
            f"AuditLog leaves {tables} to triggers, and the database {using!r} has none there, so "
            f"that no change would be recorded. Run: migrate --database {using}, or auditcapture "
            f"--install --database {using}."
        )


class LogTableMissingError(DatabaseError):
    """An entry cannot be written, because the table of the audit log is not there. Raised to
    whoever writes the row, in the place of what the database says."""

    def __init__(self, using: str, table: str) -> None:
        self.using = using
        self.table = table
        super().__init__(f"{say_missing(using, table)} Run: migrate --database {using}")


class EntryRefusedError(DatabaseError):
    """The table of the audit log refuses an entry. Raised to whoever writes the row, and no
    IntegrityError: whoever catches one of those takes it for a fault of his own row, and some try
    again without end (a new session does)."""

    def __init__(self, using: str, table: str, error: DatabaseError) -> None:
        self.using = using
        self.table = table
        reason = " ".join(str(error).split()).rstrip(".")
        super().__init__(
            f"The table {table!r} of the audit log in the database {using!r} refuses an entry: "
            f"{reason}. If its numbers are behind its rows, as after a restore, run what "
            f"sqlsequencereset prints for its app."
        )


def say_missing(using: str, table: str) -> str:
    return f"The database {using!r} has no table {table!r} for the audit log."


def is_told_by(function: Callable[..., Any], error: BaseException) -> bool:
    """Has ``function`` itself raised ``error``?"""
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    return frames[-1].f_code is getattr(function, "__code__", None)


def find_cause(problems: Iterable[Misconfigured]) -> BaseException | None:
    """The exception behind the problems that came out of a module of the project, such as one that
    cannot be imported, from there on. The way through Django and the kit helps nobody."""
    for problem in problems:
        cause = problem.__cause__
        trace = None if cause is None else cause.__traceback__
        while trace is not None and _get_module(trace).startswith(_INNER):
            trace = trace.tb_next
        if cause is not None and trace is not None:
            return cause.with_traceback(trace)
    return None


def _get_module(trace: TracebackType) -> str:
    return trace.tb_frame.f_globals.get("__name__") or ""


class FlushFailedError(Exception):
    """Raised by ``flush()`` when some of its items have failed and the others are done.

    ``items`` are those that failed, as ``flush()`` got them. In a task they alone are tried again;
    of any other exception all items are. ``__cause__`` is one of the failures.
    """

    def __init__(self, items: Sequence[Any], message: str = "") -> None:
        self.items = list(items)
        super().__init__(message or f"{len(self.items)} of the collected items failed.")


class NotJSONError(TypeError):
    """What was collected for a task is not JSON, so that no queue could keep it. Raised by
    ``collect()``, before anything is flushed."""


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


def is_of_kit(thing: Any) -> bool:
    """Is this class, function or method one of the kit's own?"""
    module = getattr(thing, "__module__", None) or ""
    return module == _KIT or module.startswith(f"{_KIT}.")


def tell_class(cls: type) -> str:
    """A class as a message names it: by its dotted path, which finds it among several of a name.
    One of the kit's by its name alone, as the documentation has it."""
    return cls.__qualname__ if is_of_kit(cls) else f"{cls.__module__}.{cls.__qualname__}"


def did_you_mean(word: object, known: Iterable[str], otherwise: str = "") -> str:
    """``"Did you mean 'x'?"`` if a known word is near, else ``otherwise`` or the list of them."""
    choices = sorted(set(known))
    near = [choice for choice in choices if _fold(choice) == _fold(str(word))]
    near = near or get_close_matches(str(word), choices, n=1, cutoff=0.6)
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


def _fold(word: str) -> str:
    """Without capitals and underscores: ``"createdField"`` is ``"created_field"``."""
    return word.replace("_", "").casefold()
