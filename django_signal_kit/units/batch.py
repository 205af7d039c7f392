"""``with batch():`` makes many writes one unit of work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ContextDecorator
from types import TracebackType
from typing import Any

from django.core.exceptions import SynchronousOnlyOperation
from django.db import DEFAULT_DB_ALIAS

from django_signal_kit.units.unit import UnitOfWork


class batch(ContextDecorator):  # noqa: N801
    """Make many writes one unit of work: ``with batch():``, or as a decorator.

    Opens a transaction on the database ``using`` (default: ``"default"``) unless one is open, and
    flushes once when the outermost block ends: what goes before the commit in the same
    transaction, the rest after the commit. An exception rolls all of it back; inside a user's own
    ``atomic()`` it marks that transaction for rollback if something has been written.

    Synchronous, as ``atomic()`` is: under a running event loop it raises
    ``SynchronousOnlyOperation``. Call the whole function through ``sync_to_async``.
    """

    def __init__(self, using: str | Callable[..., Any] | None = None) -> None:
        if callable(using):
            raise TypeError("batch needs its brackets as a decorator: write @batch().")
        self.using = using or DEFAULT_DB_ALIAS
        self._units: list[UnitOfWork] = []

    def _recreate_cm(self) -> batch:
        return batch(self.using)

    def __enter__(self) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise SynchronousOnlyOperation(
                "batch() is synchronous, as atomic() is: tasks of one event loop share their "
                "connection. Move the block into a function and call it through sync_to_async()."
            )
        unit = UnitOfWork(self.using, atomic=True, is_block=True)
        unit.__enter__()
        self._units.append(unit)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._units.pop().__exit__(exc_type, exc, traceback)
