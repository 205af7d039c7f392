"""Arguments that several commands take, and their types."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from datetime import datetime

from django.conf import settings
from django.db import connections
from django.utils import timezone

from django_signal_kit.durations import Duration, parse_duration


def duration(text: str) -> Duration:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise ArgumentTypeError(f"{text!r} is no whole number above 0.")
    return int(text)


def moment(text: str) -> datetime:
    """A day, or a day and a time, in the current time zone unless it names its own."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(
            f"{text!r} is no moment. Write 2026-01-31 or 2026-01-31T18:00."
        ) from None
    if settings.USE_TZ:
        return timezone.make_aware(found) if timezone.is_naive(found) else found
    return timezone.make_naive(found) if timezone.is_aware(found) else found


def add_using(parser: ArgumentParser, what: str) -> None:
    parser.add_argument("--using", choices=tuple(connections), help=f"The database of the {what}.")


def add_models(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        nargs="+",
        action="extend",
        default=[],
        metavar="app.Model",
        help='Only entries about these; "app.*" is all models of an app.',
    )
