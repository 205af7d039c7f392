"""The programs by which an administrator reaches a shop's database."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing

import pytest
from django.db import connection

from tests.audit.capture.deployed import Shop, get_name

_ACCOUNT = {
    "postgresql": ["--host=127.0.0.1", "--username=postgres"],
    "mysql": ["--host=127.0.0.1", "--user=root"],
    "sqlite": [],
}


def run(*command: str, given: bytes = b"", database: str = "", **environment: str) -> bytes:
    """A program of the database's own, on the shop's database; what it prints."""
    if shutil.which(command[0]) is None:
        if os.environ.get("SIGNAL_KIT_REQUIRE_SERVICES"):
            pytest.fail(f"{command[0]} is not here: tests/services.sh installs it.")
        pytest.skip(f"{command[0]} is not here.")
    done = subprocess.run(
        [*command, *_ACCOUNT[connection.vendor], database or get_name()],
        input=given,
        capture_output=True,
        timeout=120,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def feed(shop: Shop, given: bytes, *options: str, **environment: str) -> None:
    """Have the client of the database run SQL as it comes."""
    if connection.vendor == "sqlite":
        name = str(shop.directory / "shop.sqlite3")
        if shutil.which("sqlite3"):
            run("sqlite3", "-bail", given=given, database=name)
        else:
            with closing(sqlite3.connect(name)) as database:
                database.executescript(given.decode())
    elif connection.vendor == "postgresql":
        run("psql", "--quiet", "--set=ON_ERROR_STOP=1", *options, given=given, **environment)
    else:
        run("mysql", *options, given=given, **environment)
