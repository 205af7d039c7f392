"""Packets that travel with the first write of a transaction, in one round trip with it.

The setting ``signal_kit.context`` holds a packet until the transaction ends: behind a pooler
another client has the session then. A rollback, to a savepoint too, takes it back. A short write
that is a transaction by itself has its packet in a comment after it, where triggers read it: a
second statement would cost the server more than that. Cursors of the driver do this, below
whatever wraps Django's: there it is one statement, as it was given.
"""

from __future__ import annotations

import weakref
from functools import cache
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from django_signal_kit.audit.capture.packets import Packets, get_shared_id
from django_signal_kit.audit.capture.postgresql.psycopg2 import CursorOfPsycopg2
from django_signal_kit.audit.capture.postgresql.psycopg3 import CursorOfPsycopg
from django_signal_kit.audit.capture.postgresql.telling import IDLE

_MIXINS: dict[str, Any] = {"psycopg": CursorOfPsycopg, "psycopg2": CursorOfPsycopg2}


def start(connection: BaseDatabaseWrapper, packets: Packets) -> None:
    """Let the cursors that ``connection`` makes from now on carry packets."""
    raw = connection.connection
    if raw is not None:
        raw.cursor_factory = Carrier(connection, packets, _get_own_factory(raw))


def stop(connection: BaseDatabaseWrapper) -> None:
    raw = connection.connection
    if raw is not None:
        raw.cursor_factory = _get_own_factory(raw)


def _get_own_factory(raw: Any) -> Any:
    factory = raw.cursor_factory
    return factory.own if isinstance(factory, Carrier) else factory


class Carrier:
    """Makes the cursors of one connection, and knows which packet its transaction has."""

    def __init__(self, connection: BaseDatabaseWrapper, packets: Packets, own: Any) -> None:
        # A pool keeps the driver's connection longer than Django's.
        self._get_connection = weakref.ref(connection)
        self.packets = packets
        self.own = own
        self._make = _derive(own, connection.Database.__name__)  # type: ignore[attr-defined]
        self._is_asking = False
        self.forget()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        cursor = self._make(*args, **kwargs)
        cursor.carrier = self
        return cursor

    def forget(self) -> None:
        """What has been sent is rolled back, or the transaction is over."""
        self._sent: tuple[Any, ...] = (None, None, None)

    def get_packet(self, status: int) -> tuple[str, tuple[Any, ...]] | None:
        """What to tell before a write, and what to note once that is done; None if it has been
        told. ``status``: of the transaction, as libpq says it."""
        connection = self._get_connection()
        if connection is None or self._is_asking:
            # Who is asked for the actor may write, and is nobody yet.
            return None
        unit = get_shared_id(connection)
        scope, muted = self.packets.get_state()
        sent = self._sent
        if unit == sent[0] and scope is sent[1] and muted == sent[2] and status != IDLE:
            return None
        self._is_asking = True
        try:
            packet = self.packets.make(connection, unit).encode()
        finally:
            self._is_asking = False
        return packet, (unit, scope, muted)

    def note(self, told: tuple[Any, ...]) -> None:
        self._sent = told


@cache
def _derive(own: Any, driver: str) -> Any:
    """The class of cursors that carry packets, from the one that they would have."""
    return type(f"Carrying{own.__name__}", (_MIXINS[driver], own), {})
