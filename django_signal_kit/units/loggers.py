"""Loggers whose records say in which request and which unit of work they were made.

A record has the name of what it is about, never the value of a column. An error is named by its
class in the message; what it says itself, which may be anything, is in ``exc_info`` alone.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from typing import Any

from django_signal_kit.current import get_scope
from django_signal_kit.units.opened import open_journal


class Logger(logging.LoggerAdapter[logging.Logger]):
    """Adds ``request_id`` and ``unit`` to what is given as ``extra``, unless they are in it."""

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        kwargs["extra"] = {**get_circumstances(), **(kwargs.get("extra") or {})}
        return msg, kwargs


def get_logger(name: str) -> Logger:
    return Logger(logging.getLogger(name), {})


def get_circumstances() -> Mapping[str, str | None]:
    """The request, if ``RequestContextMiddleware`` knows it, and the unit of work: text or None.
    The unit is called as in the audit log."""
    journal = open_journal.get()
    unit = None if journal is None else journal.unit
    return {
        "request_id": (get_scope() or {}).get("request_id"),
        "unit": None if unit is None else str(unit.shared_id),
    }
