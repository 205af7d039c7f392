"""Tells the database session who is acting, before the first statement that he causes.

A value that was set in a transaction of PostgreSQL goes with a rollback, of a savepoint too. So
it is set for that transaction alone there (``set_config(…, true)``), and what was set outside of
any transaction is what the session has afterwards, whichever way the transaction ends.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from django.contrib.auth import get_user
from django.contrib.sessions.backends.base import SessionBase
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import Error

from django_signal_kit.current import get_scope, peek_actor

# Whoever looks up the actor causes statements of his own.
_asking: ContextVar[bool] = ContextVar("signal_kit_asking_actor", default=False)
_SIGNING_IN = frozenset((get_user.__code__, SessionBase._get_session.__code__))  # type: ignore[attr-defined]

# Of libpq: no transaction is open; the open one has failed, and takes no statement any more.
_IDLE, _IN_ERROR = 0, 3


class ActorSession:
    """What one connection's session knows of the actor; an ``execute_wrapper`` that keeps it true.

    ``get_value(actor)`` gives the text to set. A new connection knows nobody (``""``), unless it
    comes from a pool: then what it knows is unknown, ``None``.
    """

    def __init__(
        self,
        owner: object,
        connection: BaseDatabaseWrapper,
        variable: str,
        get_value: Callable[[Any], str],
        is_live: Callable[[], bool],
    ) -> None:
        self.owner = owner
        self.raw = connection.connection
        self.variable = variable
        self.get_value = get_value
        self.is_live = is_live
        self.value: str | None = None if getattr(connection, "pool", None) else ""
        #: The value outside of a transaction, while another one is set in it.
        self.settled = self.value
        self.is_local = False
        self._asked = 0
        self._set: Callable[[BaseDatabaseWrapper, str], None] = {
            "postgresql": self._set_postgresql,
            "mysql": self._set_mysql,
        }.get(connection.vendor, self._keep)
        if connection.vendor == "sqlite":
            name = get_plain_name(variable)
            connection.connection.create_function(name, 0, lambda: self.value)

    def __call__(
        self,
        execute: Callable[..., Any],
        sql: Any,
        params: Any,
        many: bool,
        context: dict[str, Any],
    ) -> Any:
        value = self._get_current()
        if self.is_local or value != self.value:
            self._follow(context["connection"], sql, value)
        return execute(sql, params, many, context)

    def _get_current(self) -> str:
        actor = peek_actor()
        if actor is None or _asking.get():
            return ""
        if callable(actor):
            scope = id(get_scope())
            if scope != self._asked and _is_signing_in():
                # This very statement finds out who it is. To ask now would run it twice.
                return ""
            self._asked = scope
        token = _asking.set(True)
        try:
            actor = actor() if callable(actor) else actor
            return "" if actor is None else self.get_value(actor)
        finally:
            _asking.reset(token)

    def _follow(self, connection: BaseDatabaseWrapper, sql: Any, value: str) -> None:
        if connection.connection is not self.raw:
            # Another one is being opened. Who follows the actor there will begin anew.
            return
        if self.is_local and _get_status(connection) == _IDLE:
            self.value, self.is_local = self.settled, False
        if isinstance(sql, str) and sql.lstrip()[:8].upper() == "ROLLBACK":
            if self.is_local:
                self.value = None
        elif value != self.value and not connection.needs_rollback:
            if self.is_live():
                self._set(connection, value)
            elif self in connection.execute_wrappers:
                # Its receiver is wired no more, which happens in tests only.
                connection.execute_wrappers.remove(self)

    def _set_postgresql(self, connection: BaseDatabaseWrapper, value: str) -> None:
        status = _get_status(connection)
        if status == _IN_ERROR:
            return
        is_local = status != _IDLE or not connection.connection.autocommit
        self._run(
            connection, "SELECT set_config(%s, %s, %s)", (self.variable, value, is_local), value
        )
        self.is_local = is_local
        if not is_local:
            self.settled = value

    def _set_mysql(self, connection: BaseDatabaseWrapper, value: str) -> None:
        # A rollback leaves the variables of a user alone.
        name = get_plain_name(self.variable)
        self._run(connection, f"SET @{name} = %s", (value,), value)

    def _keep(self, connection: BaseDatabaseWrapper, value: str) -> None:
        self.value = value

    def _run(
        self, connection: BaseDatabaseWrapper, sql: str, params: tuple[Any, ...], value: str
    ) -> None:
        """Past Django's cursor: it is neither wrapped, nor logged, nor counted."""
        try:
            with connection.wrap_database_errors:
                cursor = connection.connection.cursor()
                try:
                    cursor.execute(sql, params)
                finally:
                    cursor.close()
        except Error as error:
            raise type(error)(
                f"The connection {connection.alias!r} cannot be told who is acting: {sql!r} with "
                f"{list(params)!r} failed: {error}"
            ) from error
        self.value = value


def get_plain_name(variable: str) -> str:
    """``"app.actor"`` -> ``"app_actor"``."""
    return re.sub(r"\W", "_", variable, flags=re.ASCII)


def _get_status(connection: BaseDatabaseWrapper) -> int:
    status: int = connection.connection.info.transaction_status
    return status


def _is_signing_in() -> bool:
    """Does the statement belong to Django's look-up of the request's session or user?"""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code in _SIGNING_IN:
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False
