"""What a log of changes costs that triggers write, beside one that Python writes.

    python -m tests.benchmarks.capture [--operations create,update] [--rounds 9] [--json FILE]
        [--packages bare,kit-triggers]

As ``tests.benchmarks.audit_vs_peers``, whose processes it uses, but PostgreSQL does not wait for
its disk, which would hide the rest, and of each round the quickest act counts: whatever else the
machine does makes one wait that has to do with a server. "↑" stands at what is dearer than it may
be. Round trips are counted where there is a server.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from tests.benchmarks import audit_vs_peers
from tests.benchmarks.audit_vs_peers import Results, UnmeasurableError, Worker
from tests.settings import DATABASE

PACKAGES = ("bare", "kit-database", "kit-triggers", "pghistory")

#: Operation -> database -> what it may cost by triggers, times Django alone.
BARS: dict[str, dict[str, float]] = {
    "create": {"postgres": 1.45, "sqlite": 1.50, "mariadb": 1.45},
    "update": {"postgres": 1.40, "sqlite": 1.40, "mariadb": 1.5},
    "unchanged save": {"postgres": 1.15, "sqlite": 1.05},
    "delete": {"postgres": 1.45, "sqlite": 1.50},
    "m2m.add 10": {"postgres": 1.55, "sqlite": 2.0},
    "bulk_create 1,000": {"postgres": 1.35, "sqlite": 1.9},
    "bulk_update 1,000": {"postgres": 1.15, "sqlite": 1.1},
    "queryset.update 1,000": {"postgres": 3.5, "sqlite": 8, "mariadb": 19},
    "queryset.delete 1,000": {"postgres": 1.95, "sqlite": 2.6},
    "raw UPDATE": {"postgres": 1.75},
}


def main(arguments: Sequence[str] | None = None) -> Results:
    options = parse(arguments)
    os.environ.setdefault("PGOPTIONS", "-c synchronous_commit=off")
    results: Results = {}
    with ExitStack() as stack:
        workers: list[Worker] = []
        for package in options.packages:
            try:
                workers.append(stack.enter_context(Worker(package)))
            except UnmeasurableError as reason:
                print(f"{package} is left out: {reason}", file=sys.stderr)
        versions = {worker.package: worker.version for worker in workers}
        audit_vs_peers.print_heading(versions, options.rounds)
        for operation in options.operations:
            found = results[operation] = audit_vs_peers.compare(
                operation, workers, options.rounds, "quickest"
            )
            for package in found.keys() - {"bare"}:
                note_trips(found[package])
            if "kit-triggers" in found and is_over(operation, found["kit-triggers"]["ratio"]):
                found["kit-triggers"]["verdict"] += "↑"
            audit_vs_peers.print_row(operation, versions, found)
    if options.json:
        report = audit_vs_peers.get_report(versions, options.rounds, results)
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(report, file, indent=1)
    return results


def note_trips(result: dict[str, object]) -> None:
    if result["round_trips"] is not None and result["verdict"] == "":
        result["verdict"] = f"{result['round_trips']} trips"


def is_over(operation: str, ratio: float) -> bool:
    return ratio > BARS[operation].get(DATABASE, float("inf"))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name, known in (("operations", tuple(BARS)), ("packages", PACKAGES)):
        parser.add_argument(
            f"--{name}",
            type=lambda text, known=known: audit_vs_peers.choose(text, known),
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


if __name__ == "__main__":
    main()
