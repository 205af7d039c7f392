"""Tells the triggers of a session who writes, in the packet of the write itself."""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper

from django_signal_kit.audit.capture.mysql import variables
from django_signal_kit.audit.capture.mysql.hindrances import get_remedy
from django_signal_kit.audit.capture.packets import Packet, Packets, get_shared_id

# Statements that write no row of a model. A SELECT may do so, by a function that it calls: then
# there is nobody who does it, but never somebody else.
_READING = re.compile(
    r"\s*\(*\s*(?:SELECT|SHOW|SET(?!\s+STATEMENT\b)|EXPLAIN|DESC|DESCRIBE|SAVEPOINT|RELEASE"
    r"|ROLLBACK|COMMIT|START|BEGIN(?!\s+NOT\b)|USE|CREATE|ALTER|DROP|RENAME|TRUNCATE|ANALYZE|CHECK|OPTIMIZE|FLUSH|GRANT|REVOKE|KILL|LOCK|UNLOCK)\b",
    re.IGNORECASE,
)
# LOAD DATA LOCAL: the driver sends the file only if nothing else is in the packet.
_LOADING = re.compile(r"(?:\s|/\*.*?\*/|(?:--|#)[^\n]*\n)*LOAD\b", re.IGNORECASE | re.DOTALL)
_MULTI_STATEMENTS = 65536  # CLIENT_MULTI_STATEMENTS of the protocol
_NAME = "_signal_kit_carrier"


def start(connection: BaseDatabaseWrapper, packets: Packets) -> None:
    """Tell triggers what ``packets`` make, from the next write of this connection on."""
    carrier: Carrier | None = getattr(connection, _NAME, None)
    if carrier is None:
        carrier = Carrier(connection, packets)
        setattr(connection, _NAME, carrier)
        create_cursor = partial(_create_cursor, connection.create_cursor, carrier)
        connection.create_cursor = create_cursor  # type: ignore[method-assign]
    carrier.packets = packets


def stop(connection: BaseDatabaseWrapper) -> None:
    """Tell them nothing any more, and have them forget what they know."""
    carrier: Carrier | None = getattr(connection, _NAME, None)
    if carrier is not None:
        delattr(connection, _NAME)
        del connection.create_cursor
        carrier.forget()


class _Told(NamedTuple):
    """What a session has been told."""

    #: Of which receivers.
    names: frozenset[str]
    #: That of the packet and the state it was made in; None if nobody knows.
    unit: str | None = None
    scope: Mapping[str, Any] | None = None
    muted: frozenset[str] = frozenset()
    #: Of the variables that it is known of.
    values: Mapping[str, str | None] = MappingProxyType({})

    def is_of(self, scope: Mapping[str, Any] | None, muted: frozenset[str]) -> bool:
        # Whatever is in a scope may compare as it likes.
        return self.unit is not None and self.scope is scope and self.muted == muted


_NOTHING = _Told(frozenset())


class Carrier:
    """What one connection carries."""

    def __init__(self, connection: BaseDatabaseWrapper, packets: Packets) -> None:
        self.connection = connection
        self.packets = packets
        self._get_session: Callable[[], Any] = lambda: None
        self._told = _NOTHING
        self._is_asking = False

    def run(self, cursor: Any, sql: str | bytes, args: Any) -> Any:
        """Run a statement on the driver's ``cursor``."""
        prepared = self._prepare(sql)
        if prepared is None:
            return cursor.execute(sql, args)
        prefix, told = prepared
        self._begin_telling(told)
        has_many = getattr(self._get_session(), "client_flag", 0) & _MULTI_STATEMENTS
        if has_many and not _LOADING.match(_get_start(sql)):
            prefix = f"{prefix}; "
            both = prefix.encode() + sql if isinstance(sql, bytes) else prefix + sql
            cursor.execute(both, args)
            cursor.nextset()
            # What is logged as the statement.
            cursor._executed = cursor._executed[len(prefix) :]
            found = cursor.rowcount
        else:
            cursor.execute(prefix)
            found = cursor.execute(sql, args)
        self._told = told
        return found

    def run_before(self, cursor: Any, sql: str | bytes) -> None:
        """Say what has to be said before ``sql``, which cannot be run with it."""
        prepared = self._prepare(sql)
        if prepared is not None:
            prefix, told = prepared
            self._begin_telling(told)
            cursor.execute(prefix)
            self._told = told

    def forget(self) -> None:
        """Have the session forget what it has been told."""
        session = self._get_session()
        if self._told.names and session is self.connection.connection is not None:
            with suppress(Exception), session.cursor() as cursor:
                cursor.execute(_forget(self._told.names))
        self._told = _NOTHING

    def _begin_telling(self, told: _Told) -> None:
        # Whether an error comes before or after it nobody knows.
        self._told = _Told(self._told.names | told.names)

    def _prepare(self, sql: str | bytes) -> tuple[str, _Told] | None:
        """The statement that has to be run before ``sql``, and what the session has been told
        then; None if it knows all it has to."""
        if self._get_session() is not self.connection.connection:
            # One that is closed may go, long before the next statement.
            self._get_session, self._told = weakref.ref(self.connection.connection), _NOTHING
        scope, muted = self.packets.get_state()
        is_of = self._told.is_of(scope, muted)
        if self._is_asking or _is_reading(sql):
            # Nobody may be taken for who wrote before.
            if is_of or not self._told.names:
                return None
            return _forget(self._told.names), _NOTHING
        unit = get_shared_id(self.connection)
        if is_of and self._told.unit == unit.hex:
            return None
        packet = self._ask(unit)
        names = frozenset(packet.message.told)
        values = variables.forget(self._told.names - names) | variables.tell(packet)
        known = self._told.values
        told = _Told(names, packet.unit, scope, muted, {**known, **values})
        # Mostly it is but the unit that is another one.
        news = {name: value for name, value in values.items() if known.get(name, known) != value}
        if not news:
            self._told = told
            return None
        return variables.assign(news), told

    def _ask(self, unit: UUID) -> Packet:
        # Whoever is asked may run queries.
        self._is_asking = True
        try:
            return self.packets.make(self.connection, unit)
        finally:
            self._is_asking = False


def _forget(names: Iterable[str]) -> str:
    return variables.assign(variables.forget(names))


class _Cursor:
    """A cursor of the driver whose writes carry what triggers have to know."""

    def __init__(self, cursor: Any, carrier: Carrier) -> None:
        self._cursor = cursor
        self._carrier = carrier
        self._has_failed = False

    def execute(self, query: str | bytes, args: Any = None) -> Any:
        self._has_failed = True
        try:
            found = self._carrier.run(self._cursor, query, args)
        except Exception as error:
            _explain(error)
            raise
        self._has_failed = False
        return found

    def close(self) -> None:
        # A server that was lost in the midst of a packet still owes an answer. Django closes a
        # cursor before it raises the error that it has had.
        try:
            self._cursor.close()
        except Exception:
            if not self._has_failed:
                raise

    def executemany(self, query: str | bytes, args: Any) -> Any:
        with _explaining():
            self._carrier.run_before(self._cursor, query)
            return self._cursor.executemany(query, args)

    def callproc(self, *args: Any) -> Any:
        with _explaining():
            self._carrier.run_before(self._cursor, "CALL")
            return self._cursor.callproc(*args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._cursor)


def _create_cursor(original: Any, carrier: Carrier, name: Any = None) -> Any:
    # Inside of Django's own, which knows what the driver's errors mean.
    cursor = original(name)
    cursor.cursor = _Cursor(cursor.cursor, carrier)
    return cursor


@contextmanager
def _explaining() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        _explain(error)
        raise


def _explain(error: Exception) -> None:
    if remedy := get_remedy(error):
        error.add_note(remedy)


def _is_reading(sql: str | bytes) -> bool:
    return _READING.match(_get_start(sql)) is not None


def _get_start(sql: str | bytes) -> str:
    start = sql[:1000]
    return start.decode("ascii", "replace") if isinstance(start, bytes) else start
