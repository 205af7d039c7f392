"""A connection is set up before anything else, and its session always knows who is acting."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection, connections

from django_signal_kit import context
from django_signal_kit.databases.actor import ActorSession
from django_signal_kit.receivers import ConnectionSetup
from django_signal_kit.wiring.registry import registry
from tests.apps.testapp.models import Tag
from tests.databases.sessions import (
    VENDOR,
    ask,
    only_servers,
    only_sqlite,
    who,
)
from tests.threads import in_threads

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "other"]),
    pytest.mark.usefixtures("new_connections"),
]

# Settings of each vendor, how to read them, and what is read.
SETTINGS: dict[str, Any] = {
    "sqlite": {"foreign_keys": True, "busy_timeout": 4321, "cache_size": -777},
    "postgresql": {"statement_timeout": "31s", "application_name": "a 'shop'", "jit": False},
    "mysql": {"innodb_lock_wait_timeout": 7, "sql_safe_updates": False, "lc_messages": "de_DE"},
}
READ_SETTINGS = {
    "sqlite": (
        ["PRAGMA foreign_keys", "PRAGMA busy_timeout", "PRAGMA cache_size"],
        [1, 4321, -777],
    ),
    "postgresql": (
        ["SHOW statement_timeout", "SHOW application_name", "SHOW jit"],
        ["31s", "a 'shop'", "off"],
    ),
    "mysql": (
        [f"SELECT @@{name}" for name in SETTINGS["mysql"]],
        [7, 0, "de_DE"],
    ),
}[VENDOR]

# Settings and SQL


def test_the_settings_of_its_vendor_are_in_force(wire: Any) -> None:
    wire((ConnectionSetup, SETTINGS | {VENDOR: SETTINGS[VENDOR]}))
    sql, expected = READ_SETTINGS
    assert [ask(line) for line in sql] == expected


def test_without_it_they_are_not() -> None:
    sql, expected = READ_SETTINGS
    assert [ask(line) for line in sql][-1] != expected[-1]


def test_statements_are_run_by_alias_in_their_order(wire: Any) -> None:
    wire(
        (
            ConnectionSetup,
            {"sql": {"other": ["CREATE TEMP TABLE a (b)", "INSERT INTO a VALUES ('100%s')"]}},
        )
    )
    assert ask("SELECT b FROM a", "other") == "100%s"
    with pytest.raises(DatabaseError):
        ask("SELECT b FROM a")


def test_only_the_databases_that_are_named_are_set_up(wire: Any) -> None:
    wire((ConnectionSetup, {"databases": ["default"], "sqlite": {"cache_size": -777}}))
    assert ask("PRAGMA cache_size", "other") != -777


def test_a_connection_that_makes_test_databases_is_left_alone(wire: Any) -> None:
    receiver = wire((ConnectionSetup, {**SETTINGS, "sql": {"default": ["nonsense"]}}))
    other = connection.copy(alias="__no_db__")
    receiver.connection_created(connection=other)
    assert other.execute_wrappers == []


def test_each_thread_and_each_new_connection_is_set_up(wire: Any) -> None:
    wire((ConnectionSetup, SETTINGS))
    sql, expected = READ_SETTINGS

    def read() -> list[Any]:
        return [ask(line) for line in sql]

    assert in_threads(read) == [expected]
    for _ in range(2):
        assert read() == expected
        connections.close_all()


def test_the_settings_survive_a_rollback_where_django_does_not_commit(wire: Any) -> None:
    wire((ConnectionSetup, SETTINGS))
    sql, expected = READ_SETTINGS
    connection.settings_dict["AUTOCOMMIT"] = False
    try:
        connection.ensure_connection()
        connection.rollback()
        assert [ask(line) for line in sql] == expected
        connection.rollback()
    finally:
        connection.settings_dict["AUTOCOMMIT"] = True


def test_set_up_by_a_subclass(wire: Any) -> None:
    wire(Unlike)
    assert who() == ""
    with context(actor="ann"):
        assert who() == "the ann"


class Unlike(ConnectionSetup):
    actor_variable = "app.actor"

    def get_actor_value(self, actor: Any) -> str:
        return f"the {super().get_actor_value(actor)}"


# What fails


def test_a_statement_that_fails_is_named_with_its_alias_and_closes_the_connection(
    wire: Any,
) -> None:
    wire((ConnectionSetup, {"sql": {"default": ["SELECT 1", "SELECT nonsense"]}}))
    for _ in range(2):
        with pytest.raises(DatabaseError) as error:
            Tag.objects.count()
        text = "The connection 'default' cannot be set up: 'SELECT nonsense' failed: "
        assert str(error.value).startswith(text)
        assert connection.connection is None


@only_servers
def test_a_setting_that_fails_is_named_with_its_value(wire: Any) -> None:
    name = {"postgresql": "statement_timeout", "mysql": "innodb_lock_wait_timeout"}[VENDOR]
    wire((ConnectionSetup, {VENDOR: {name: "soon"}}))
    with pytest.raises(DatabaseError) as error:
        Tag.objects.count()
    assert "'default' cannot be set up" in str(error.value)
    assert name in str(error.value)
    assert "'soon'" in str(error.value)


def test_a_failure_that_is_logged_leaves_the_connection(wire: Any, caplog: Any) -> None:
    wire((ConnectionSetup, {"sql": {"default": ["SELECT nonsense"]}, "on_error": "log"}))
    assert Tag.objects.count() == 0
    assert "ConnectionSetup failed in connection_created" in caplog.text


@only_sqlite
def test_a_journal_mode_that_sqlite_refuses_is_an_error(wire: Any, tmp_path: Any) -> None:
    file = tmp_path / "db.sqlite3"
    connections["other"].close()
    before = connections["other"].settings_dict["NAME"]
    wire((ConnectionSetup, {"databases": ["other"], "sqlite": {"journal_mode": "wal"}}))
    try:
        connections["other"].settings_dict["NAME"] = str(file)
        ask("SELECT 1", "other")
        assert ask("PRAGMA journal_mode", "other") == "wal"
        connections["other"].close()
        file.unlink()
        file.touch()
        connections["other"].settings_dict["NAME"] = f"file:{file}?mode=ro"
        with pytest.raises(DatabaseError, match="'other' cannot be set up: 'PRAGMA journal_mode"):
            ask("SELECT 1", "other")
    finally:
        connections["other"].close()
        connections["other"].settings_dict["NAME"] = before


# Bad input


@pytest.mark.parametrize(
    ("options", "id", "told"),
    [
        ({"databases": ["defualt"]}, "E033", "names the database 'defualt', which is not in "),
        ({"sql": {"othr": []}}, "E033", "Did you mean 'other'?"),
        ({"sql": {"other": "SET x"}}, "E034", "has 'SET x' for 'other'. Give a list"),
        ({"sql": {"other": [5]}}, "E034", "has [5] for 'other'. Give a list"),
        ({"sqlite": {"jurnal_mode": "wal"}}, "E034", "Did you mean 'journal_mode'?"),
        ({"sqlite": {"journal_mode": "wall"}}, "E034", "Did you mean 'wal'?"),
        ({"sqlite": {"cache_size": "1; DROP"}}, "E034", "which cannot be the value of a pragma"),
        ({"sqlite": {"cache_size": 1.5}}, "E034", "which cannot be the value of a pragma"),
        ({"mysql": {"a = 1, b": 1}}, "E034", "has 'a = 1, b', which is no name of a setting"),
        ({"mysql": {5: 1}}, "E034", "has 5, which is no name of a setting"),
        ({"postgresql": {"jit": None}}, "E034", "sets 'jit' to None, of type NoneType. Give a st"),
        ({"actor_variable": "actor"}, "E034", "such as 'app.actor'"),
        ({"actor_variable": "app.a; --"}, "E034", "is 'app.a; --'. Give two names"),
        ({"sqlitte": {}}, "E006", "Did you mean 'sqlite'?"),
        ({"sqlite": "wal"}, "E007", "It has to be a dict"),
    ],
)
def test_bad_options_are_told(wire: Any, options: Any, id: str, told: str) -> None:
    with pytest.raises(ImproperlyConfigured) as error:
        wire((ConnectionSetup, options))
    assert f"signal_kit.{id}" in str(error.value)
    assert told in str(error.value)


def test_it_hears_new_connections_and_nothing_else(wire: Any) -> None:
    wire((ConnectionSetup, {"sqlite": {"foreign_keys": True}}))
    assert [known.signal_name for known in registry.connections] == ["connection_created"]
    connection.ensure_connection()
    assert not [
        wrapper for wrapper in connection.execute_wrappers if isinstance(wrapper, ActorSession)
    ]
