"""The last exceptions that receivers have raised, without secrets."""

from __future__ import annotations

import hashlib
import threading
import traceback
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from time import time
from typing import Any

from django.conf import global_settings, settings

from django_signal_kit.conf import conf
from django_signal_kit.rows.cleansing import cleanse, find_secrets, hide_named
from django_signal_kit.rows.values import to_text

#: Kinds of errors that a process remembers.
MOST = 20
_LONGEST_MESSAGE = 500
#: What is more is not searched for secrets, and not told.
_LONGEST_TEXT = 20_000
_LONGEST_TRACEBACK = 8000
#: A shorter one is not looked for in a text: it would be found everywhere.
_SHORTEST = 4
_PLAIN = {*dir(global_settings)} - {
    *("EMAIL_HOST_PASSWORD", "SECRET_KEY", "SECRET_KEY_FALLBACKS"),
}


class Failures:
    """The latest of one process, those that are alike as one. Threads may share it."""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        # What is collected as garbage meanwhile may call a receiver.
        self._lock = threading.RLock()
        #: Id -> what is told of it, the latest last.
        self._found: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def note(self, receiver: str, where: str, error: Exception) -> None:
        """Never raises."""
        with suppress(Exception):
            id = _identify(receiver, where, error)
            with self._lock:
                found = self._found.get(id)
            if found is None:
                found = {"receiver": receiver, "where": where, "count": 0, **describe(error)}
            with self._lock:
                found = self._found.setdefault(id, found)
                found["count"] += 1
                found["at"] = time()
                self._found.move_to_end(id)
                while len(self._found) > MOST:
                    self._found.popitem(last=False)

    def read(self) -> dict[str, dict[str, Any]]:
        with self._lock:
            return {id: dict(found) for id, found in self._found.items()}


def describe(error: BaseException) -> dict[str, str]:
    """What may be told of an exception: its ``exception`` (the dotted path of its class),
    ``message`` and ``traceback``."""
    secrets = list(_find_secrets())
    lines = [
        # A frame shows code, where a name stands for no value.
        cleanse(line, secrets) if line.startswith("  File ") else hide(line, secrets)
        for line in traceback.format_exception(error, limit=-50)
    ]
    return {
        "exception": get_path(type(error)),
        "message": tell_message(error, secrets),
        "traceback": to_text("".join(lines))[-_LONGEST_TRACEBACK:],
    }


def tell_message(error: BaseException, secrets: list[Any] | None = None) -> str:
    """What an exception says, without secrets, and not too much of it. Never raises: some raise
    when they are asked."""
    try:
        known = list(_find_secrets()) if secrets is None else secrets
        return to_text(hide(str(error)[:_LONGEST_TEXT], known))[:_LONGEST_MESSAGE]
    except Exception:
        return "(what it says cannot be told)"


def get_path(cls: type) -> str:
    return (
        cls.__qualname__
        if cls.__module__ == "builtins"
        else f"{cls.__module__}.{cls.__qualname__}"
    )


def hide(text: str, secrets: list[Any]) -> str:
    """``text`` without what it says by the name of a secret, and without the secrets of the
    settings."""
    return cleanse(hide_named(text[-_LONGEST_TEXT:], tuple(conf.REDACT)), secrets)


def _find_secrets() -> Iterator[Any]:
    """Those of the settings."""
    told: list[Any] = []
    for name in filter(str.isupper, dir(settings)):
        value = getattr(settings, name, None)
        # Of Django's own the names say it of few: AUTH_USER_MODEL is none.
        told.append(value if name in _PLAIN else {name: value})
    for secret in find_secrets(told, tuple(conf.REDACT)):
        for each in secret if isinstance(secret, list | tuple) else [secret]:
            if isinstance(each, str) and len(each) >= _SHORTEST:
                yield each


def _identify(receiver: str, where: str, error: BaseException) -> str:
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    code = None if last is None else (last.tb_frame.f_code.co_filename, last.tb_lineno)
    told = repr((receiver, where, get_path(type(error)), code))
    return hashlib.sha256(told.encode(errors="replace")).hexdigest()[:16]
