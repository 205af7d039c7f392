"""The demo, run once for all workers, and a shop as it leaves it, served to each."""

from __future__ import annotations

import fcntl
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
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import django_signal_kit
from tests.example.browser import Browser
from tests.ports import get_free_port

EXAMPLE = Path(__file__).parents[2] / "example_project"
PACKAGE = Path(django_signal_kit.__file__).parents[1]
WATCHED = Path(__file__).with_name("watched.py")
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
class Demo:
    """``kept`` is the folder at the end of the demo, ``output`` what it printed."""

    kept: Path
    output: str

    @property
    def figures(self) -> dict[str, Any]:
        return json.loads((self.kept / "figures.json").read_text())

    @property
    def password(self) -> str:
        found = re.search(r"^Log in: keeper (\S+)$", self.output, re.MULTILINE)
        assert found is not None, self.output
        return found[1]

    def get_folder(self, live: bool) -> Path:
        return self.kept

    def ask(self, sql: str, *values: Any, live: bool = False) -> list[Any]:
        """The rows that SQLite has, without Django in between."""
        with closing(sqlite3.connect(self.get_folder(live) / "db.sqlite3")) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute(sql, values).fetchall()


@dataclass
class Shop(Demo):
    """``var`` is the folder of the running shop, and ``url`` where it is. The demo may have been
    run elsewhere: in ``folder``, where it ``told`` of another address."""

    var: Path
    url: str

    @property
    def told(self) -> str:
        return (self.kept / "address.txt").read_text()

    @property
    def folder(self) -> str:
        return (self.kept / "folder.txt").read_text()

    def get_folder(self, live: bool) -> Path:
        return self.var if live else self.kept


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Whoever comes first runs the demo, which goes on to serve the shop. Another worker serves
    what it left behind, as the demo says how."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, kept = tmp_path_factory.mktemp("shop"), shared / "shop-kept"
    var, log = folder / "var", folder / "output.txt"
    port = get_free_port()
    process = None
    try:
        with claim(shared / "shop.lock"):
            if not (kept / "folder.txt").exists():
                process = start(var, log, "demo", "--serve", "--port", str(port))
                wait_for(process, log, port)
                copy(var, kept)
                shutil.copy(log, kept)
                (kept / "folder.txt").write_text(str(var))
        if process is None:
            copy(kept, var)
            (var / "address.txt").write_text(f"http://127.0.0.1:{port}")
            process = start(var, log, "runserver", "--noreload", str(port))
            wait_for(process, log, port)
        text = (kept / log.name).read_text(encoding="utf-8")
        yield Shop(kept, text, var, f"http://127.0.0.1:{port}")
    finally:
        if process is not None:
            process.terminate()
            process.wait(30)


@contextmanager
def claim(path: Path) -> Iterator[None]:
    """Wait until no other process is in such a block."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def start(var: Path, log: Path, *arguments: str) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            [*STRICT, str(WATCHED), *arguments],
            cwd=var.parent,
            env=get_environment(var),
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("db.sqlite3*"))
    with (
        closing(sqlite3.connect(source / "db.sqlite3")) as live,
        closing(sqlite3.connect(target / "db.sqlite3")) as other,
    ):
        live.backup(other)


def wait_for(process: subprocess.Popen[bytes], log: Path, port: int) -> None:
    """Until the shop answers. Fails with what the demo printed if it never does."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail(f"The demo does not serve its shop:\n{log.read_text(encoding='utf-8')}")


@pytest.fixture
def browser(shop: Shop) -> Browser:
    return Browser(shop.url)


@pytest.fixture
def keeper(shop: Shop) -> Browser:
    """A browser in which the keeper has logged in with the password that the demo printed."""
    browser = Browser(shop.url)
    page = browser.get("/admin/login/?next=/admin/")
    assert browser.send(page, username="keeper", password=shop.password).status == 200
    return browser
