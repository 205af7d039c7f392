"""Packets that travel with the first write of a transaction, in one round trip with it.

The setting ``signal_kit.context`` holds a packet until the transaction ends: behind a pooler
another client has the session then. A rollback, to a savepoint too, takes it back. A short write
that is a transaction by itself has its packet in a comment after it, where triggers read it: a
second statement would cost the server more than that. Cursors of the driver do this, below
whatever wraps Django's: there it is one statement, as it was given.
"""

from __future__ import annotations

import binascii
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from django_signal_kit.audit.capture.packets import Packets, get_shared_id
from django_signal_kit.audit.capture.postgresql.bodies import AFTER_PACKET, BEFORE_PACKET
from django_signal_kit.audit.capture.postgresql.statements import quote
from django_signal_kit.audit.capture.postgresql.verbs import (
    ends_transaction,
    is_read,
    is_short_write,
)

try:
    from psycopg import Pipeline
except ImportError:
    # Django takes psycopg 2 as well.
    Pipeline = None  # type: ignore[assignment,misc]

_IDLE = 0  # Of libpq: no transaction is open.
# Of PostgreSQL.
_TERMINATION = "2D000"  # Invalid transaction termination.
_SYNTAX_ERROR = "42601"
# Not SET LOCAL, of which pg_stat_statements would keep each packet.
_TELLING = "SELECT pg_catalog.set_config('signal_kit.context', %s, true)"
# Messages of errors show the line that they are about.
_NEXT = ";\n"
_BEFORE, _AFTER = map(len, f"{_TELLING}{_NEXT}".split("%s"))
_BEGINNING = _TELLING[:_BEFORE].encode()
# After the end of the statement, which may end in a comment: pg_stat_statements keeps nothing of
# it. The quotes are those that drivers put round a text.
_REMARK = f"{BEFORE_PACKET[:-1]}%s{AFTER_PACKET[1:]}"


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


def _may_go_alone(error: Any, query: Any) -> bool:
    """Did a procedure want to commit, which it may if nothing else comes with it? It has done
    nothing yet, and nobody can tell its triggers who it is. Or is ``query`` none that can be run?
    The error shall quote it alone, and not what is told."""
    code = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if code == _SYNTAX_ERROR:
        return error.diag.context is None and query.__class__ is str and ";" not in query
    return code == _TERMINATION


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
        if unit == sent[0] and scope is sent[1] and muted == sent[2] and status != _IDLE:
            return None
        self._is_asking = True
        try:
            packet = self.packets.make(connection, unit).encode()
        finally:
            self._is_asking = False
        return packet, (unit, scope, muted)

    def note(self, told: tuple[Any, ...]) -> None:
        self._sent = told


def _tell(packet: str) -> str:
    """The statement that tells ``packet``."""
    return _TELLING.replace("%s", quote(packet))


def _encode(packet: str) -> str:
    """As what can stand in a comment, in quotes."""
    return binascii.b2a_base64(packet.encode(), newline=False).decode()


@cache
def _derive(own: Any, driver: str) -> Any:
    """The class of cursors that carry packets, from the one that they would have."""
    return type(f"Carrying{own.__name__}", (_MIXINS[driver], own), {})


class CursorOfPsycopg:
    """What comes before the methods of a cursor of psycopg 3."""

    carrier: Carrier
    connection: Any
    _query: Any

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        run = super().execute  # type: ignore[misc]
        if is_read(query):
            if query.__class__ is str and ends_transaction(query):
                self.carrier.forget()
            return run(query, params, **options)
        status = self.connection.pgconn.transaction_status
        found = self.carrier.get_packet(status)
        if found is None:
            return run(query, params, **options)
        try:
            self._run_told(found[0], query, params, options)
        except Exception as error:
            now = self.connection.pgconn.transaction_status
            if not status == now == _IDLE or not _may_go_alone(error, query):
                raise
        else:
            self.carrier.note(found[1])
            return self
        return run(query, params, **options)

    def _run_told(self, packet: str, query: Any, params: Any, options: dict[str, Any]) -> None:
        run = super().execute  # type: ignore[misc]
        pgconn = self.connection.pgconn
        is_plain = query.__class__ is str and not options and not pgconn.pipeline_status
        if is_plain and (params is None or hasattr(self, "mogrify")):
            # The driver sends texts.
            if self._is_alone and is_short_write(query, params):
                self._run_remarked(packet, query, params)
            else:
                self._run_after_telling(packet, query, params)
        elif is_plain and Pipeline.is_supported():
            # The server takes the values, and but one statement at once.
            with self.connection.pipeline():
                self.connection.cursor().execute(_tell(packet))
                run(query, params)
        else:
            with self._tell_first(packet):
                run(query, params, **options)

    @property
    def _is_alone(self) -> bool:
        """Is what is run next a transaction by itself?"""
        raw = self.connection
        return raw.autocommit and raw.pgconn.transaction_status == _IDLE  # type: ignore[no-any-return]

    def _run_remarked(self, packet: str, query: str, params: Any) -> None:
        run = super().execute  # type: ignore[misc]
        code = _encode(packet)
        remark = _REMARK.replace("%s", f"'{code}'")
        try:
            if params.__class__ in (tuple, list):
                # The driver keeps how it takes a text apart: it has to be the same each time.
                run(f"{query}{_REMARK}", (*params, code))
            else:
                text = query if params is None else self.mogrify(query, params)  # type: ignore[attr-defined]
                run(text + remark)
        finally:
            # Django reads from there what was run, and what has failed.
            if self._query is not None:
                self._query.query = self._query.query.removesuffix(remark.encode())

    def _run_after_telling(self, packet: str, query: str, params: Any) -> None:
        run = super().execute  # type: ignore[misc]
        telling = ""
        try:
            if params.__class__ in (tuple, list):
                run(f"{_TELLING}{_NEXT}{query}", (packet, *params))
            else:
                text = query if params is None else self.mogrify(query, params)  # type: ignore[attr-defined]
                telling = f"{_tell(packet)}{_NEXT}"
                run(telling + text)
        finally:
            sent = self._query
            if sent is not None and sent.query.startswith(_BEGINNING):
                length = len(telling.encode()) or _BEFORE + len(sent.params[0]) + _AFTER
                sent.query = sent.query[length:]
        # From the result of the setting to that of the write.
        self.nextset()  # type: ignore[attr-defined]

    def executemany(self, query: Any, params_seq: Any, **options: Any) -> None:
        run = super().executemany  # type: ignore[misc]
        with self._tell_if_needed(query):
            run(query, params_seq, **options)

    @contextmanager
    def copy(self, statement: Any, params: Any = None, **options: Any) -> Iterator[Any]:
        start = super().copy  # type: ignore[misc]
        with self._tell_if_needed(statement), start(statement, params, **options) as copy:
            yield copy

    @contextmanager
    def _tell_if_needed(self, query: Any) -> Iterator[None]:
        found = None
        if not is_read(query):
            found = self.carrier.get_packet(self.connection.pgconn.transaction_status)
        with self._tell_first(found[0]) if found else nullcontext():
            yield
        if found:
            self.carrier.note(found[1])

    @contextmanager
    def _tell_first(self, packet: str) -> Iterator[None]:
        """By a statement of its own, in the transaction of what follows."""
        raw = self.connection
        with raw.transaction() if self._is_alone else nullcontext():
            raw.cursor().execute(_tell(packet))
            yield


class CursorOfPsycopg2:
    """What comes before the methods of a cursor of psycopg 2, which sends texts always."""

    carrier: Carrier
    connection: Any

    def execute(self, query: Any, vars: Any = None) -> Any:
        run = super().execute  # type: ignore[misc]
        if is_read(query):
            if query.__class__ is str and ends_transaction(query):
                self.carrier.forget()
            return run(query, vars)
        status = self.connection.get_transaction_status()
        found = self._get_packet()
        if found is None:
            return run(query, vars)
        text = query if vars is None else self.mogrify(query, vars)  # type: ignore[attr-defined]
        text = self._to_text(text)
        if status == _IDLE and self.connection.autocommit and is_short_write(query, vars):
            text += _REMARK.replace("%s", f"'{_encode(found[0])}'")
        else:
            text = f"{_tell(found[0])}{_NEXT}{text}"
        try:
            result = run(text)
        except Exception as error:
            now = self.connection.get_transaction_status()
            if not status == now == _IDLE or not _may_go_alone(error, query):
                raise
        else:
            self.carrier.note(found[1])
            return result
        return run(query, vars)

    def executemany(self, query: Any, vars_list: Any) -> Any:
        run = super().executemany  # type: ignore[misc]
        found = None if is_read(query) else self._get_packet()
        if found is None:
            return run(query, vars_list)
        # Each of them may be a transaction.
        telling = _tell(found[0]).replace("%", "%%")
        return run(f"{telling}{_NEXT}{self._to_text(query)}", vars_list)

    def copy_expert(self, sql: Any, *args: Any, **kwargs: Any) -> Any:
        start = super().copy_expert  # type: ignore[misc]
        found = None if is_read(sql) else self._get_packet()
        if found is None:
            return start(sql, *args, **kwargs)
        with self._tell_first(found[0]):
            result = start(sql, *args, **kwargs)
        self.carrier.note(found[1])
        return result

    def _get_packet(self) -> tuple[str, tuple[Any, ...]] | None:
        if getattr(self, "name", None):
            # One of the server's, which reads.
            return None
        return self.carrier.get_packet(self.connection.get_transaction_status())

    def _to_text(self, query: Any) -> str:
        if isinstance(query, bytes):
            return query.decode()
        return query if isinstance(query, str) else query.as_string(self)

    @contextmanager
    def _tell_first(self, packet: str) -> Iterator[None]:
        run = super().execute  # type: ignore[misc]
        raw = self.connection
        is_alone = raw.autocommit and raw.get_transaction_status() == _IDLE
        if is_alone:
            run("BEGIN")
        try:
            run(_tell(packet))
            yield
        except BaseException:
            if is_alone:
                run("ROLLBACK")
            raise
        if is_alone:
            run("COMMIT")


_MIXINS: dict[str, Any] = {"psycopg": CursorOfPsycopg, "psycopg2": CursorOfPsycopg2}
