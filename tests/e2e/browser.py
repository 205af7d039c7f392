"""The served shop, and a Chromium without a window to look at it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

import django_signal_kit

ROOT = Path(__file__).parents[2]
PACKAGE = Path(django_signal_kit.__file__).parents[1]
STRICT = (sys.executable, "-W", "error")
ADMIN = "/admin/"
LOG = f"{ADMIN}signal_kit_audit/auditentry/"
SIGNALS = f"{ADMIN}signal_kit_sight/receiver/"
#: Who writes the shop's log: "python" or "triggers".
CAPTURE = os.environ.get("SIGNAL_KIT_TEST_CAPTURE", "python")

_SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
]
_TELL = """
addEventListener("securitypolicyviolation", event => console.error(
    `refused by the policy: ${event.effectiveDirective} ${event.blockedURI} ${event.sample}`));
"""


@dataclass(frozen=True)
class Shop:
    """Where the shop is, and keys: of a product that changed, of the entries that tell of it,
    and of an order. ``var`` is its folder."""

    var: Path
    url: str
    user: str
    password: str
    product: int
    order: int
    entry: int
    tags_entry: int

    def manage(self, *arguments: str) -> str:
        """What the shop's ``manage.py`` prints, beside the running server."""
        done = subprocess.run(
            [*STRICT, str(ROOT / "example_project" / "manage.py"), *arguments],
            env=_get_environment(self.var),
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextmanager
def serve(folder: Path, module: str = "tests.e2e.shop") -> Iterator[Shop]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    var, log = folder / "var", folder / "output.txt"
    var.mkdir()
    (var / "capture.txt").write_text(CAPTURE)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*STRICT, "-m", module, str(port)],
            cwd=ROOT,
            env=_get_environment(var),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_for(process, port, log)
        ready = json.loads((var / "ready.json").read_text(encoding="utf-8"))
        yield Shop(var, f"http://127.0.0.1:{port}", **ready)
    finally:
        process.terminate()
        process.wait(30)


def _get_environment(var: Path) -> dict[str, str]:
    """What the shop's processes see: nothing of the settings of these tests."""
    environment = {key: value for key, value in os.environ.items() if "DJANGO" not in key}
    path = os.pathsep.join([str(PACKAGE), str(ROOT)])
    return environment | {"PYTHONPATH": path, "SHOP_VAR": str(var)}


def _wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError(f"The shop is not served:\n{log.read_text(encoding='utf-8')}")


@contextmanager
def open_chromium() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        raise RuntimeError("There is no chromium on the PATH; tests/browser.sh installs it.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_SWITCHES)
        try:
            yield browser
        finally:
            browser.close()


def log_in(page: Page, shop: Shop) -> None:
    page.goto(ADMIN)
    page.get_by_label("Username").fill(shop.user)
    page.get_by_label("Password").fill(shop.password)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"**{ADMIN}")


def keep_login(browser: Browser, shop: Shop) -> Any:
    """Log the keeper in; what a context of the browser has to be given to be logged in too."""
    with browser.new_context(base_url=shop.url) as context:
        log_in(context.new_page(), shop)
        return context.storage_state()


@dataclass
class Watch:
    """What went wrong on a page, though a reader may not see it."""

    problems: list[str] = field(default_factory=list)

    @classmethod
    def over(cls, page: Page) -> Watch:
        watch = cls()
        page.add_init_script(_TELL)
        page.on("console", watch.note_line)
        page.on("pageerror", lambda error: watch.note("exception", str(error)))
        page.on("requestfailed", watch.note_failure)
        page.on(
            "response",
            lambda answer: watch.note(answer.status, answer.url) if answer.status >= 400 else None,
        )
        return watch

    def note_line(self, line: ConsoleMessage) -> None:
        # Chromium asks for this by itself, and the shop has none.
        if not line.location["url"].endswith("/favicon.ico"):
            self.note(line.type, line.text)

    def note_failure(self, request: Request) -> None:
        # A page that is left stops loading its pictures.
        if request.failure != "net::ERR_ABORTED":
            self.note(request.failure, request.url)

    def note(self, kind: object, text: str) -> None:
        self.problems.append(f"{kind}: {text}")
