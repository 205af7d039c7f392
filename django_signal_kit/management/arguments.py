"""Arguments that several commands take, and their types."""

from __future__ import annotations

import os
from argparse import Action, ArgumentParser, ArgumentTypeError
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connections
from django.db.models import Model
from django.utils import timezone

from django_signal_kit.durations import Duration, parse_duration
from django_signal_kit.exceptions import did_you_mean


def duration(value: Any) -> Duration:
    """A length of time in words; from code a Duration, or a timedelta of whole hours, too."""
    if isinstance(value, timedelta):
        hours, rest = divmod(value, timedelta(hours=1))
        value = f"{hours}h" if hours > 0 and not rest and hours < 10**6 else str(value)
    if isinstance(value, Duration):
        return value
    try:
        return parse_duration(_as_text(value))
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def positive(value: Any) -> int:
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ArgumentTypeError(f"{value!r} is no whole number above 0.")
    return value


def moment(value: Any) -> datetime:
    """A day, or a day and a time, in the current time zone unless it names its own."""
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    try:
        found = value if isinstance(value, datetime) else datetime.fromisoformat(_as_text(value))
    except ValueError:
        raise ArgumentTypeError(
            f"{value!r} is no moment. Write 2026-01-31 or 2026-01-31T18:00."
        ) from None
    if settings.USE_TZ:
        return timezone.make_aware(found) if timezone.is_naive(found) else found
    return timezone.make_naive(found) if timezone.is_aware(found) else found


def label(value: Any) -> str:
    """The label of a model, or a pattern; from code the model itself, too."""
    return value._meta.label if _is_model(value) else _as_text(value)


def _is_model(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Model)


def typed(command: BaseCommand, options: Mapping[str, Any]) -> dict[str, Any]:
    """``options`` as the command line would have given them.

    ``call_command()`` hands on keywords as they are: texts that no type has read, values that
    none of the choices is. Raises CommandError, which names the option and the value.
    """
    found = dict(options)
    for action in command.create_parser("manage.py", _get_name(command))._actions:
        if action.dest in found:
            found[action.dest] = _convert(action, found[action.dest])
    return found


def _convert(action: Action, value: Any) -> Any:
    if value is None or value == action.default:
        return action.default
    if action.nargs == 0:
        if value not in (True, False):
            raise CommandError(f"{_get_option(action)} is {value!r}. Give True or False.")
        return bool(value)
    # An option that may be given several times, or has several values.
    is_plural = action.nargs in ("*", "+", "...") or isinstance(action.nargs, int)
    if isinstance(action.default, list) or is_plural:
        values = [value] if isinstance(value, str | type) else value
        if not isinstance(values, Iterable):
            raise CommandError(f"{_get_option(action)} is {value!r}. Give a list of texts.")
        return [_convert_one(action, one) for one in values]
    return _convert_one(action, value)


def _convert_one(action: Action, value: Any) -> Any:
    convert = action.type if callable(action.type) else _as_text
    try:
        # Of a number that has a type already int() would make another one.
        found = convert(_as_text(value)) if convert is int else convert(value)
    except ArgumentTypeError as error:
        raise CommandError(f"{_get_option(action)}: {error}") from error
    except (TypeError, ValueError) as error:
        raise CommandError(f"{_get_option(action)} is {value!r}, which is no number.") from error
    if action.choices is not None and found not in action.choices:
        known = [str(choice) for choice in action.choices]
        guess = did_you_mean(found, known)
        raise CommandError(f"{_get_option(action)} is {value!r}. {guess}")
    return found


def _as_text(value: Any) -> str:
    """What a command line would have: a text, a number, a path, a UUID."""
    if isinstance(value, str | int | os.PathLike | UUID) and not isinstance(value, bool):
        return str(value)
    raise ArgumentTypeError(f"{value!r} is no text, but of the type {type(value).__name__}.")


def _get_option(action: Action) -> str:
    return action.option_strings[-1] if action.option_strings else action.dest


def _get_name(command: BaseCommand) -> str:
    return type(command).__module__.rpartition(".")[2]


def add_using(parser: ArgumentParser, what: str) -> None:
    parser.add_argument("--using", choices=tuple(connections), help=f"The database of the {what}.")


def add_models(parser: ArgumentParser, what: str = "entries about these") -> None:
    parser.add_argument(
        "--model",
        type=label,
        nargs="+",
        action="extend",
        default=[],
        metavar="app.Model",
        help=f'Only {what}; "app.*" is all models of an app.',
    )
