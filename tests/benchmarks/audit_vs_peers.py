"""What a log of changes costs, side by side: Django alone, this kit, and other packages.

    python -m tests.benchmarks.audit_vs_peers [--operations create,update] [--rounds 9]
        [--packages bare,kit-database] [--json FILE]

SIGNAL_KIT_TEST_DATABASE chooses the database; on SQLite it is a file in WAL mode. All is done in
autocommit. Each package runs in a process and a database of its own; the processes are told in
turn to do one round of an operation, so that what disturbs the machine disturbs all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from statistics import median
from types import TracebackType
from typing import Any

from tests.settings import DATABASE

PACKAGES = (
    "bare",
    "kit-database",
    "kit-snapshot",
    "kit-triggers",
    "auditlog",
    "simple-history",
    "easy-audit",
    "pghistory",
    "reversion",
    "by-hand",
)
OPERATIONS = (
    "create",
    "update",
    "unchanged save",
    "delete",
    "m2m.add 10",
    "bulk_create 1,000",
    "bulk_update 1,000",
    "queryset.update 1,000",
    "queryset.delete 1,000",
    "load 1,000",
)
WARM_UP = 2

#: Operation -> package -> what was found.
Results = dict[str, dict[str, dict[str, Any]]]


class UnmeasurableError(Exception):
    """This package cannot be measured here, and why."""


class Worker:
    """The process of one package."""

    def __init__(self, package: str) -> None:
        self.package = package

    def __enter__(self) -> Worker:
        if self.package == "pghistory" and DATABASE != "postgres":
            raise UnmeasurableError("it needs PostgreSQL")
        # A pipe that nobody reads would fill up and stop the process.
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.peers.worker"],
            env={**os.environ, "SIGNAL_KIT_PEER": self.package},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )
        try:
            told = self._read()
        except UnmeasurableError:
            self.close()
            raise
        self.version: str = told["version"]
        self.operations: list[str] = told["operations"]
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        # The end of its input tells it to drop its database and to end.
        with suppress(BrokenPipeError):
            self.process.communicate(timeout=60)
        self.errors.close()

    def ask(self, operation: str, *, inspect: bool = False) -> Any:
        assert self.process.stdin is not None
        command = json.dumps({"operation": operation, "inspect": inspect})
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait(timeout=60)
            self.errors.seek(0)
            errors = re.findall(r"^[\w.]+: .*", self.errors.read(), re.MULTILINE)
            raise UnmeasurableError((errors or ["it ended without a word"])[-1])
        return json.loads(line)

    def does(self, operation: str) -> bool:
        return not self.operations or operation in self.operations


def main(arguments: Sequence[str] | None = None) -> Results:
    return run(parse(arguments))


def run(
    options: argparse.Namespace,
    measure: str = "ms",
    judge: Callable[[str, dict[str, dict[str, Any]]], None] | None = None,
) -> Results:
    """``judge`` is told of each operation with what was found of it, before that is printed."""
    with ExitStack() as stack:
        workers: list[Worker] = []
        for package in options.packages:
            try:
                workers.append(stack.enter_context(Worker(package)))
            except UnmeasurableError as reason:
                print(f"{package} is left out: {reason}", file=sys.stderr)
        if not workers or workers[0].package != "bare":
            sys.exit("There is nothing to compare with.")
        versions = {worker.package: worker.version for worker in workers}
        print_heading(versions, options.rounds)
        results: Results = {}
        for operation in options.operations:
            found = results[operation] = compare(operation, workers, options.rounds, measure)
            if judge is not None:
                judge(operation, found)
            print_row(operation, versions, found)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(get_report(versions, options.rounds, results), file, indent=1)
    return results


def parse(
    arguments: Sequence[str] | None,
    operations: Sequence[str] = OPERATIONS,
    packages: Sequence[str] = PACKAGES,
    description: str | None = __doc__,
) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    for name, known in (("operations", operations), ("packages", packages)):
        parser.add_argument(
            f"--{name}",
            type=lambda text, known=known: choose(text, known),
            default=list(known),
            help="a list with commas; the beginnings of the names will do",
        )
    parser.add_argument("--rounds", type=int, default=9, help="at least 7")
    parser.add_argument("--json", metavar="FILE", help="write all samples there")
    options = parser.parse_args(arguments)
    if options.rounds < 7:
        parser.error("--rounds: the median of fewer than 7 rounds is noise")
    if "bare" not in options.packages:
        options.packages.insert(0, "bare")
    return options


def choose(text: str, known: Sequence[str]) -> list[str]:
    """The names that ``text`` lists, in the order of ``known``; their beginnings will do."""
    given = [part.strip() for part in text.replace("1,000", "1000").split(",")]
    chosen: set[str] = set()
    for part in given:
        exact = [name for name in known if name.replace(",", "") == part]
        begun = exact or [name for name in known if name.replace(",", "").startswith(part)]
        if not begun:
            raise argparse.ArgumentTypeError(f"{part!r} is none of {'; '.join(known)}")
        chosen.update(begun)
    return [name for name in known if name in chosen]


def compare(
    operation: str, workers: list[Worker], rounds: int, measure: str = "ms"
) -> dict[str, dict[str, Any]]:
    """``measure``: "ms", the mean of a round's acts, or "quickest" of them."""
    asked = [worker for worker in workers if worker.does(operation)]
    samples: dict[str, list[float]] = {worker.package: [] for worker in asked}
    for number in range(-WARM_UP, rounds):
        # Each round begins with another one, so that none has always the same before it.
        start = number % len(asked)
        for worker in asked[start:] + asked[:start]:
            told = worker.ask(operation)
            if number >= 0:
                samples[worker.package].append(told[measure])
    # Last, when nobody has anything to look up for the first time.
    results = {worker.package: worker.ask(operation, inspect=True) for worker in asked}
    for package, times in samples.items():
        results[package] |= {"ms": median(times), "samples": times}
        results[package]["ratio"] = median(times) / median(samples["bare"])
    return results


def get_report(versions: dict[str, str], rounds: int, results: Results) -> dict[str, Any]:
    return {
        "database": DATABASE,
        "python": platform.python_version(),
        "rounds": rounds,
        "versions": versions,
        "operations": results,
    }


def print_heading(versions: dict[str, str], rounds: int) -> None:
    print(f"\n{DATABASE}, autocommit, Python {platform.python_version()}. Medians of {rounds}")
    print("rounds: times the bare operation, (statements without BEGIN and COMMIT).\n")
    names = [f"{package} {version}".strip() for package, version in versions.items()]
    print(f"| operation | {' | '.join(names)} |")
    print("|---" * (len(names) + 1) + "|", flush=True)


def print_row(operation: str, packages: Iterable[str], found: dict[str, dict[str, Any]]) -> None:
    cells = [get_cell(package, found.get(package)) for package in packages]
    print(f"| {operation} | {' | '.join(cells)} |", flush=True)


def get_cell(package: str, result: dict[str, Any] | None) -> str:
    if result is None:
        return "—"
    if result["verdict"] == "none":
        return "none"
    time = f"{result['ms']:.2f} ms" if package == "bare" else f"{result['ratio']:.2f}"
    return f"{time} ({result['queries']}) {result['verdict']}".strip()


if __name__ == "__main__":
    main()
