"""``python -m tests.thirdparty [suite] [labels]``: run what is named, or all suites, and follow
the page that shows Wagtail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.thirdparty.kit import OUTCOMES, WITH_KIT

#: Suite -> the labels of the tests that are run if none are named.
SUITES = {
    "wagtail": ["wagtail.tests", "wagtail.documents", "wagtail.users"],
    "oscar": ["oscarapicheckout.tests"],
}

GOOD = ("passed", "skipped", "expected failure")

Told = dict[str, Any]


def main(arguments: list[str]) -> int:
    names = [name for name in arguments if name in SUITES] or list(SUITES)
    labels = [label for label in arguments if label not in SUITES]
    problems = [line for name in names for line in check(name, labels or SUITES[name])]
    if not arguments:
        problems += follow_page()
    print(*problems or ["Nothing came out otherwise with the kit."], sep="\n")
    return int(bool(problems))


def check(suite: str, labels: list[str]) -> list[str]:
    """What comes out otherwise with the kit."""
    plain, kit = (run(suite, labels, with_kit=with_kit) for with_kit in (False, True))
    problems = []
    for test in sorted(plain["outcomes"].keys() | kit["outcomes"].keys()):
        before = plain["outcomes"].get(test, "was not run")
        after = kit["outcomes"].get(test, "was not run")
        if before in GOOD and before != after:
            problems.append(f"{suite}: {test}: {before}, and with the kit:\n{after}")
    for test, found in kit["differences"].items():
        problems += [f"{suite}: {test}: {line}" for line in found]
    for test, why in sorted(kit["counted"].items()):
        print(f"{suite}: {test} counts queries: {why}")
    print(f"{suite}: row changes: {kit['changed']}")
    return problems


def follow_page() -> list[str]:
    """What the page about Wagtail says, and is not so."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.thirdparty.seeing"]
    result = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    return [f"The page that shows wagtail: {result.stderr}"] if result.returncode else []


def run(suite: str, labels: list[str], *, with_kit: bool) -> Told:
    print(f"{suite} {'with' if with_kit else 'without'} the kit", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        outcomes = Path(folder, "outcomes.json")
        environment = {**os.environ, OUTCOMES: str(outcomes), "TMPDIR": folder}
        environment.pop(WITH_KIT, None)
        if with_kit:
            environment[WITH_KIT] = "1"
        started = time.monotonic()
        subprocess.run(
            [
                # Their warnings are theirs.
                *(sys.executable, "-W", "ignore", "-m", "django", "test"),
                *("--settings", f"tests.thirdparty.{suite}_settings"),
                *("--testrunner", "tests.thirdparty.running.Runner"),
                *labels,
            ],
            env=environment,
            check=False,
        )
        print(f"{suite}: {time.monotonic() - started:.0f} s", flush=True)
        if not outcomes.exists():
            sys.exit(f"{suite} did not come to its tests.")
        told: Told = json.loads(outcomes.read_text())
        return told


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
