"""What may fail without harming anyone."""

from __future__ import annotations

from types import TracebackType

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_signal_kit.units.failures import report_failure
from django_signal_kit.units.journal import Flusher, get_journal


class Isolation:
    """A savepoint, where there is a transaction, round what may fail without harming anyone."""

    def __init__(
        self, receiver: Flusher, signal_name: str, connection: BaseDatabaseWrapper
    ) -> None:
        self.receiver = receiver
        self.signal_name = signal_name
        self.connection = connection

    def __enter__(self) -> None:
        self.atomic: transaction.Atomic | None = None
        self.journal = get_journal(self.connection)
        self.mark = self.journal.mark()
        if self.connection.in_atomic_block and not self.connection.needs_rollback:
            self.atomic = transaction.atomic(self.connection.alias)
            self.atomic.__enter__()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if exc is not None:
            self.journal.cut(self.mark)
        if self.atomic is not None:
            self.atomic.__exit__(exc_type, exc, traceback)
        if not isinstance(exc, Exception):
            return False
        report_failure(self.receiver, self.signal_name, exc)
        return True
