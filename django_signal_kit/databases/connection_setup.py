"""Sets up each new database connection, and tells its session who is acting."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_signal_kit.databases import statements
from django_signal_kit.databases.actor import ActorSession
from django_signal_kit.databases.statements import Statement
from django_signal_kit.exceptions import Misconfigured, did_you_mean
from django_signal_kit.receiver import Receiver
from django_signal_kit.wiring.idle import check_idle
from django_signal_kit.wiring.registry import registry

VENDORS = ("sqlite", "postgresql", "mysql")
VARIABLE = re.compile(r"[A-Za-z_]\w*\.[A-Za-z_]\w*", re.ASCII)


class ConnectionSetup(Receiver):
    """Runs pragmas, settings and SQL on each new connection, before any other statement.

    A connection that cannot be set up is closed again, and the error names its alias and the
    statement.
    """

    #: Aliases of the databases that it sets up; empty for all of ``DATABASES``.
    databases: Sequence[str] = ()
    #: Pragmas of connections to SQLite: ``{"journal_mode": "wal", "foreign_keys": True}``.
    sqlite: Mapping[str, Any] = {}
    #: Settings of sessions of PostgreSQL: ``{"statement_timeout": "30s"}``. One statement for all
    #: on each new connection, and on each that a pool hands out.
    postgresql: Mapping[str, Any] = {}
    #: Session variables of MariaDB and MySQL: ``{"innodb_lock_wait_timeout": 5}``. One statement.
    mysql: Mapping[str, Any] = {}
    #: More SQL, by alias: ``{"default": ["SET …"]}``. A statement each.
    sql: Mapping[str, Sequence[str]] = {}
    #: The session variable that says who is acting, such as ``"app.actor"``; empty for none. One
    #: statement whenever the actor is another than that of the statement before.
    actor_variable: str = ""

    def get_statements(self, connection: BaseDatabaseWrapper) -> list[Statement]:
        """What to run, in order: pairs of SQL and its parameters (a tuple, or None). By default
        what the options say for the connection's vendor and alias."""
        get = statements.GETTERS.get(connection.vendor)
        found = get(getattr(self, connection.vendor)) if get else []
        return found + [(sql, None) for sql in self.sql.get(connection.alias, ())]

    def get_actor_value(self, actor: Any) -> str:
        """The text that the variable gets for an actor, who is not None: by default the key of a
        row, or else ``str()``. Called before each statement, so let it be cheap."""
        value = getattr(actor, "pk", actor)
        return "" if value is None else str(value)

    def should_set_up(self, connection: BaseDatabaseWrapper) -> bool:
        """Whether this connection is set up. By default by its alias; never the one with which
        Django makes and drops test databases."""
        return connection.alias in (self.databases or connections)

    def connection_created(self, connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
        forget(connection, self.name)
        if not self.should_set_up(connection):
            return
        try:
            statements.run(connection, self.get_statements(connection))
            if self.actor_variable:
                follow = ActorSession(
                    self.name,
                    connection,
                    self.actor_variable,
                    self.get_actor_value,
                    lambda: self in registry.receivers,
                )
                # In front: whoever leaves connection.execute_wrapper() takes away the last one.
                connection.execute_wrappers.insert(0, follow)
        except Exception:
            if self.on_error == "raise":
                # Otherwise the next statement would run on a connection that is half set up.
                BaseDatabaseWrapper.close(connection)
            raise

    def check(self) -> None:
        self._check_aliases("databases", self.databases)
        self._check_aliases("sql", self.sql)
        for alias, lines in self.sql.items():
            if not isinstance(lines, list | tuple) or not all(
                isinstance(line, str) for line in lines
            ):
                raise Misconfigured(
                    "E034",
                    f"The option 'sql' of {self.name} has {lines!r} for {alias!r}.",
                    "Give a list of statements, each a string.",
                )
        for vendor in VENDORS:
            self._check_settings(vendor, getattr(self, vendor))
        self._check_pragmas()
        if self.actor_variable and not VARIABLE.fullmatch(self.actor_variable):
            raise Misconfigured(
                "E034",
                f"The option 'actor_variable' of {self.name} is {self.actor_variable!r}.",
                "Give two names with a dot between them, such as 'app.actor'.",
            )
        options = (*VENDORS, "sql", "actor_variable")
        check_idle(self, ConnectionSetup, options, ["get_statements"])

    def _check_aliases(self, option: str, aliases: Sequence[str] | Mapping[str, Any]) -> None:
        for alias in aliases:
            if alias not in connections:
                raise Misconfigured(
                    "E033",
                    f"The option {option!r} of {self.name} names the database {alias!r}, which is "
                    f"not in DATABASES.",
                    did_you_mean(alias, connections),
                )

    def _check_settings(self, vendor: str, settings: Mapping[str, Any]) -> None:
        for name, value in settings.items():
            if not isinstance(name, str) or not statements.NAME.fullmatch(name):
                raise Misconfigured(
                    "E034",
                    f"The option {vendor!r} of {self.name} has {name!r}, which is no name of a "
                    f"setting.",
                    'Write {"name": value}.',
                )
            if not isinstance(value, str | int | float):
                raise Misconfigured(
                    "E034",
                    f"The option {vendor!r} of {self.name} sets {name!r} to {value!r}, of type "
                    f"{type(value).__name__}.",
                    "Give a string, a number, True or False.",
                )

    def _check_pragmas(self) -> None:
        for name, value in self.sqlite.items():
            pragmas = statements.get_pragmas()
            if name not in pragmas:
                raise Misconfigured(
                    "E034",
                    f"The option 'sqlite' of {self.name} has {name!r}, a pragma that SQLite does "
                    f"not know.",
                    did_you_mean(name, pragmas, "See https://sqlite.org/pragma.html."),
                )
            modes = statements.JOURNAL_MODES
            if name == "journal_mode" and str(value).lower() not in modes:
                raise Misconfigured(
                    "E034",
                    f"The option 'sqlite' of {self.name} sets the journal mode to {value!r}.",
                    did_you_mean(value, modes),
                )
            if not statements.PRAGMA_VALUE.fullmatch(str(value)):
                raise Misconfigured(
                    "E034",
                    f"The option 'sqlite' of {self.name} sets {name!r} to {value!r}, which cannot "
                    f"be the value of a pragma.",
                    "Give a word, a whole number, True or False.",
                )


def forget(connection: BaseDatabaseWrapper, name: str) -> None:
    """Take away what followed the actor on an earlier connection of the same alias."""
    connection.execute_wrappers[:] = [
        wrapper
        for wrapper in connection.execute_wrappers
        if not (isinstance(wrapper, ActorSession) and wrapper.owner == name)
    ]
