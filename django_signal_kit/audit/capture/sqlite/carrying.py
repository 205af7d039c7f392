"""What a connection to SQLite tells its triggers.

They ask ``char()`` without arguments: a function of SQLite's own, which gives "" wherever nobody
overloads it, and so in each other program. A packet is there while a statement runs that came
through Django's cursors; what is written past them is that of another program.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper

from django_signal_kit.audit.capture.packets import Packets, get_shared_id
from django_signal_kit.audit.entries import get_entry_model
from django_signal_kit.units.journal import is_in_transaction
from django_signal_kit.units.locking import lock_before_reading

# Of the statement that runs here: threads may share a connection.
_packet: ContextVar[str] = ContextVar("signal_kit_packet", default="")
# Whoever makes a packet here.
_maker: ContextVar[Carrier | None] = ContextVar("signal_kit_maker", default=None)
# Statements that set off no trigger.
_QUIET = (
    *("SELECT", "BEGIN", "SAVEPOINT", "RELEASE", "ROLLBACK", "COMMIT", "PRAGMA", "EXPLAIN"),
    *("CREATE", "DROP", "ALTER"),
)
_LONGEST = max(map(len, _QUIET))


class Carrier:
    """Wraps the statements of a connection, so that each has its packet with it."""

    def __init__(self, packets: Packets) -> None:
        self.packets = packets
        # The last packet, and the state and the unit of work that it is for.
        self._made: tuple[Any, Any, str] = ((None, None), None, "")

    def __call__(
        self,
        execute: Callable[..., Any],
        sql: str,
        params: Any,
        many: bool,
        context: dict[str, Any],
    ) -> Any:
        start = sql.lstrip()[:_LONGEST]
        is_quiet = start.startswith(_QUIET) or start.upper().startswith(_QUIET)
        maker = _maker.get()
        if maker is self and is_quiet:
            # The actor is read for a write, which would fail if another came in between.
            lock_before_reading(context["connection"], get_entry_model())
        if maker is not None or is_quiet:
            return execute(sql, params, many, context)
        token = _packet.set(self._get_packet(context["connection"]))
        try:
            return execute(sql, params, many, context)
        finally:
            _packet.reset(token)

    def _get_packet(self, connection: BaseDatabaseWrapper) -> str:
        if not is_in_transaction(connection):
            # A unit of its own.
            return self._make(connection, get_shared_id(connection))
        state: Any = self.packets.get_state()
        unit = get_shared_id(connection)
        (scope, muted), made_for, packet = self._made
        if unit != made_for or state[0] is not scope or state[1] != muted:
            packet = self._make(connection, unit)
            self._made = state, unit, packet
        return packet

    def _make(self, connection: BaseDatabaseWrapper, unit: UUID) -> str:
        token = _maker.set(self)
        try:
            # Whoever is asked for the actor may have to read him, or even to make him.
            return self.packets.make(connection, unit).encode()
        finally:
            _maker.reset(token)


def start(connection: BaseDatabaseWrapper, packets: Packets) -> None:
    """Let ``connection`` carry ``packets`` from now on; again whenever it has been opened anew.

    Turns ``recursive_triggers`` on, without which ``INSERT OR REPLACE`` deletes rows and nobody
    hears of it; a trigger of the project that writes to its own table then sets off itself.
    """
    carrier = _find_carrier(connection)
    if carrier is None:
        # Not last: whoever puts a wrapper there for a while takes the last one away again.
        connection.execute_wrappers.insert(0, Carrier(packets))
    else:
        carrier.packets = packets
    raw = connection.connection
    if raw is not None:
        with connection.wrap_database_errors:
            raw.create_function("char", 0, _packet.get)
            raw.execute("PRAGMA recursive_triggers = ON")


def stop(connection: BaseDatabaseWrapper) -> None:
    """Let it carry nothing: what it writes is told as that of another program."""
    carrier = _find_carrier(connection)
    if carrier is not None:
        connection.execute_wrappers.remove(carrier)


def _find_carrier(connection: BaseDatabaseWrapper) -> Carrier | None:
    wrappers = connection.execute_wrappers
    return next((each for each in wrappers if isinstance(each, Carrier)), None)
