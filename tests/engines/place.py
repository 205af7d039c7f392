"""Where a run works: a database of its own, and a broker that can be gone."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.cache.redis_server import RedisServer
from tests.engines.engines import Engine
from tests.engines.gate import Gate

RABBITMQ_PORT = 5672
RABBITMQ = f"amqp://guest:guest@127.0.0.1:{RABBITMQ_PORT}//"

Broker = RedisServer | Gate


@contextmanager
def prepare(
    engine: Engine, settings: str, database: str, scenario: str, folder: Path
) -> Iterator[Broker | None]:
    """Make the place and tell it in the environment, for this process and its children."""
    name = f"signal_kit_engines_{uuid.uuid4().hex[:12]}"
    with ExitStack() as stack:
        databases = {"sqlite": make_sqlite, "postgres": make_postgres}
        found = stack.enter_context(databases[database](name, folder))
        broker = stack.enter_context(start_broker(engine.broker, name, folder))
        os.environ["DJANGO_SETTINGS_MODULE"] = settings
        os.environ["SIGNAL_KIT_ENGINES_PLACE"] = json.dumps(
            {
                "name": name,
                "database": found,
                "scenario": scenario,
                "folder": str(folder),
                "broker": broker and broker.port,
            }
        )
        yield broker


@contextmanager
def make_sqlite(name: str, folder: Path) -> Iterator[dict[str, Any]]:
    yield {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(folder / f"{name}.sqlite3"),
        "OPTIONS": {
            "timeout": 30,
            "transaction_mode": "IMMEDIATE",
            # Nobody pulls the plug of the machine.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF",
        },
    }


@contextmanager
def make_postgres(name: str, folder: Path) -> Iterator[dict[str, Any]]:
    import psycopg

    address = {"host": "127.0.0.1", "user": "postgres"}
    with psycopg.connect(**address, dbname="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            yield {
                "ENGINE": "django.db.backends.postgresql",
                "HOST": address["host"],
                "USER": address["user"],
                "NAME": name,
                "OPTIONS": {"options": "-c synchronous_commit=off"},
            }
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def start_broker(kind: str | None, name: str, folder: Path) -> Iterator[Broker | None]:
    if kind is None:
        yield None
        return
    broker = RedisServer(folder) if kind == "redis" else Gate(RABBITMQ_PORT)
    try:
        yield broker
    finally:
        broker.kill()
        if kind == "rabbitmq":
            delete_queue(name)


def delete_queue(name: str) -> None:
    """The server is not the run's own, and goes on."""
    import kombu

    with kombu.Connection(RABBITMQ) as connection, connection.channel() as channel:
        channel.queue_delete(name)
        channel.exchange_delete(name)
