"""The programs by which an administrator reaches a shop's database."""

from __future__ import annotations

import os
import shutil
import subprocess

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
        if os.environ.get("SIGNAL_KIT_REQUIRE_SERVICES") and command[0] != "sqlite3":
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
        run("sqlite3", "-bail", given=given, database=str(shop.directory / "shop.sqlite3"))
    elif connection.vendor == "postgresql":
        run("psql", "--quiet", "--set=ON_ERROR_STOP=1", *options, given=given, **environment)
    else:
        run("mysql", *options, given=given, **environment)
