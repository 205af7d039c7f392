"""What may fail without harming anyone."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_signal_kit.units.failures import report_failure
from django_signal_kit.units.journal import get_journal, is_in_transaction
from django_signal_kit.units.locking import begin
from django_signal_kit.units.pile import Flusher


class Isolation:
    """A savepoint, where there is a transaction, round what may fail without harming anyone."""

    def __init__(
        self,
        receiver: Flusher,
        signal_name: str,
        connection: BaseDatabaseWrapper,
        items: Sequence[Any] = (),
    ) -> None:
        """``items``: what is lost if it fails."""
        self.receiver = receiver
        self.items = items
        self.signal_name = signal_name
        self.connection = connection

    def __enter__(self) -> None:
        connection = self.connection
        self.atomic: transaction.Atomic | None = None
        self.journal = journal = get_journal(connection)
        self.mark = journal.mark()
        self.depth = 0 if journal.unit is None else journal.unit.depth
        if is_in_transaction(connection) and not connection.needs_rollback:
            self.atomic = transaction.atomic(connection.alias)
            begin(self.atomic, connection)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if self.atomic is not None:
            try:
                # What is rolled back with the savepoint is taken back where that is done.
                self.atomic.__exit__(exc_type, exc, traceback)
            except Exception as error:
                exc = exc or error
        elif exc is not None:
            # Nothing is rolled back: neither what the receiver has written, nor what others
            # collected because of it.
            self.journal.drop(self.mark, self.depth, self.receiver)
        if not isinstance(exc, Exception):
            return False
        report_failure(self.receiver, self.signal_name, exc, self.items)
        return True
