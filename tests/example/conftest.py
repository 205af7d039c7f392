"""The demo, run once in a process of its own, and the shop that it leaves running."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import django_signal_kit

EXAMPLE = Path(__file__).parents[2] / "example_project"
PACKAGE = Path(django_signal_kit.__file__).parents[1]
STRICT = (sys.executable, "-X", "dev", "-W", "error")


def get_environment(var: Path) -> dict[str, str]:
    """What the shop's processes see: nothing of the settings of these tests."""
    environment = {key: value for key, value in os.environ.items() if "DJANGO" not in key}
    return environment | {
        "PYTHONPATH": str(PACKAGE),
        "PYTHONUNBUFFERED": "1",
        "SHOP_VAR": str(var),
        "COLUMNS": "80",
    }


def run_manage(var: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*STRICT, str(EXAMPLE / "manage.py"), *arguments],
        cwd=cwd,
        env=get_environment(var),
        capture_output=True,
        text=True,
        timeout=120,
    )


@dataclass
class Shop:
    """``var`` is the folder of the running shop, ``kept`` a copy from the end of the demo."""

    var: Path
    kept: Path
    output: str
    url: str
    password: str

    @property
    def figures(self) -> dict[str, Any]:
        return json.loads((self.kept / "figures.json").read_text())

    def ask(self, sql: str, *values: Any, live: bool = False) -> list[Any]:
        """The rows that SQLite has, without Django in between."""
        folder = self.var if live else self.kept
        with closing(sqlite3.connect(folder / "db.sqlite3")) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute(sql, values).fetchall()


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("shop")
    var, kept, log = folder / "var", folder / "kept", folder / "output.txt"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    watched = Path(__file__).with_name("watched.py")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*STRICT, str(watched), "demo", "--serve", "--port", str(port)],
            cwd=folder,
            env=get_environment(var),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(process, log, port)
        text = log.read_text(encoding="utf-8")
        shutil.copytree(var, kept, ignore=shutil.ignore_patterns("db.sqlite3*"))
        with (
            closing(sqlite3.connect(var / "db.sqlite3")) as live,
            closing(sqlite3.connect(kept / "db.sqlite3")) as copy,
        ):
            live.backup(copy)
        password = re.search(r"^Log in: keeper (\S+)$", text, re.MULTILINE)
        assert password is not None, text
        yield Shop(var, kept, text, f"http://127.0.0.1:{port}", password[1])
    finally:
        process.terminate()
        process.wait(30)


def wait_for(process: subprocess.Popen[bytes], log: Path, port: int) -> None:
    """Until the shop answers. Fails with what the demo printed if it never does."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail(f"The demo does not serve its shop:\n{log.read_text(encoding='utf-8')}")
