"""What is wrong with the configuration, in one sentence that start-up and the checks share."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured


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
