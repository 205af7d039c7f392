"""What a connection to SQLite tells its triggers.

They ask ``char()`` without arguments: a function of SQLite's own, which gives "" wherever nobody
overloads it, and so in each other program. A packet is there while a statement runs that came
through Django's cursors; what is written past them is that of another program.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from django_signal_kit.audit.capture.packets import Message, Packets, get_shared_id
from django_signal_kit.audit.entries import get_entry_model
from django_signal_kit.units.journal import is_in_transaction
from django_signal_kit.units.locking import lock_before_reading

# Of the statement that runs here: threads may share a connection.
_slip: ContextVar[_Slip | None] = ContextVar("signal_kit_slip", default=None)
# Whoever asks what to tell here.
_asking: ContextVar[Carrier | None] = ContextVar("signal_kit_asking", default=None)
# Statements that set off no trigger.
_QUIET = (
    *("SELECT", "BEGIN", "SAVEPOINT", "RELEASE", "ROLLBACK", "COMMIT", "PRAGMA", "EXPLAIN"),
    *("CREATE", "DROP", "ALTER"),
)
_LONGEST = max(map(len, _QUIET))


class _Slip:
    """The packet of one statement, written when a trigger asks for it: most set off none."""

    __slots__ = ("connection", "message", "packet")

    def __init__(self, connection: BaseDatabaseWrapper, message: Message) -> None:
        self.connection = connection
        self.message = message
        self.packet = ""

    def write(self) -> str:
        self.packet = self.message.encode(get_shared_id(self.connection).hex)
        return self.packet


def _read() -> str:
    slip = _slip.get()
    return "" if slip is None else slip.packet or slip.write()


class Carrier:
    """Wraps the statements of a connection, so that each has its packet with it."""

    def __init__(self, packets: Packets) -> None:
        self.packets = packets
        # What was told last, and the state and the unit of work that it is for.
        self._told: tuple[Any, Any, Message | None] = ((None, None), None, None)

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
        asking = _asking.get()
        if asking is self and is_quiet:
            # The actor is read for a write, which would fail if another came in between.
            lock_before_reading(context["connection"], get_entry_model())
        if asking is not None or is_quiet:
            return execute(sql, params, many, context)
        connection = context["connection"]
        message = self.packets.find_message(connection) or self._get_message(connection)
        token = _slip.set(_Slip(connection, message))
        try:
            return execute(sql, params, many, context)
        finally:
            _slip.reset(token)

    def _get_message(self, connection: BaseDatabaseWrapper) -> Message:
        if not is_in_transaction(connection):
            return self._ask(connection)
        state: Any = self.packets.get_state()
        unit = get_shared_id(connection)
        (scope, muted), told_in, message = self._told
        if message is None or unit != told_in or state[0] is not scope or state[1] != muted:
            message = self._ask(connection)
            self._told = state, unit, message
        return message

    def _ask(self, connection: BaseDatabaseWrapper) -> Message:
        token = _asking.set(self)
        try:
            # Whoever is asked for the actor may have to read him, or even to make him.
            return self.packets.ask(connection)
        finally:
            _asking.reset(token)


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
            raw.create_function("char", 0, _read)
            raw.execute("PRAGMA recursive_triggers = ON")


def stop(connection: BaseDatabaseWrapper) -> None:
    """Let it carry nothing: what it writes is told as that of another program."""
    carrier = _find_carrier(connection)
    if carrier is not None:
        connection.execute_wrappers.remove(carrier)


def _find_carrier(connection: BaseDatabaseWrapper) -> Carrier | None:
    wrappers = connection.execute_wrappers
    return next((each for each in wrappers if isinstance(each, Carrier)), None)
