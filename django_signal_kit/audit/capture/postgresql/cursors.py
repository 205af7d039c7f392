"""What the cursors of both drivers have in common to carry packets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django_signal_kit.audit.capture.postgresql.telling import IDLE, may_go_alone
from django_signal_kit.audit.capture.postgresql.verbs import is_read, may_end_transaction

if TYPE_CHECKING:
    from django_signal_kit.audit.capture.postgresql.carrying import Carrier


class CarryingCursor:
    """What comes before the methods of a cursor of the driver."""

    carrier: Carrier
    connection: Any

    def _execute(self, query: Any, params: Any, **options: Any) -> Any:
        try:
            if is_read(query):
                return super().execute(query, params, **options)  # type: ignore[misc]
            return self._write(query, params, options)
        finally:
            if may_end_transaction(query):
                self.carrier.forget()

    def _write(self, query: Any, params: Any, options: dict[str, Any]) -> Any:
        run = super().execute  # type: ignore[misc]
        status = self._get_status()
        found = self._get_packet()
        if found is None:
            return run(query, params, **options)
        try:
            result = self._run_told(found[0], query, params, options)
        except Exception as error:
            if not status == self._get_status() == IDLE or not may_go_alone(error, query):
                raise
        else:
            self.carrier.note(found[1])
            return result
        return run(query, params, **options)

    def _run_told(self, packet: str, query: Any, params: Any, options: dict[str, Any]) -> Any:
        """Run ``query``, and tell ``packet`` along with it. Returns what ``execute()`` does."""
        raise NotImplementedError

    def _get_status(self) -> int:
        """Of the transaction, as libpq says it."""
        raise NotImplementedError

    def _get_packet(self) -> tuple[str, tuple[Any, ...]] | None:
        return self.carrier.get_packet(self._get_status())

    @property
    def _is_alone(self) -> bool:
        """Is what is run next a transaction by itself?"""
        return self.connection.autocommit and self._get_status() == IDLE
