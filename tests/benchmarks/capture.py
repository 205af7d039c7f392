"""What a log of changes costs that triggers write, beside one that Python writes.

    python -m tests.benchmarks.capture [--operations create,update] [--rounds 9] [--json FILE]
        [--packages bare,kit-triggers]

As ``tests.benchmarks.audit_vs_peers``, whose processes it uses, but PostgreSQL does not wait for
its disk, which would hide the rest, and of each round the quickest act counts: whatever else the
machine does makes one wait that has to do with a server. "↑" stands at what is dearer than it may
be. Round trips are counted where there is a server.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from tests.benchmarks import audit_vs_peers
from tests.benchmarks.audit_vs_peers import Results
from tests.settings import DATABASE

PACKAGES = ("bare", "least", "by-hand", "kit-database", "kit-triggers", "pghistory")

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
    os.environ.setdefault("PGOPTIONS", "-c synchronous_commit=off")
    options = audit_vs_peers.parse(arguments, tuple(BARS), PACKAGES, __doc__)
    return audit_vs_peers.run(options, "quickest", judge)


def judge(operation: str, found: dict[str, dict[str, Any]]) -> None:
    for package in found.keys() - {"bare"}:
        note_trips(found[package])
    if "kit-triggers" in found and is_over(operation, found["kit-triggers"]["ratio"]):
        found["kit-triggers"]["verdict"] += "↑"


def note_trips(result: dict[str, Any]) -> None:
    if result["round_trips"] is not None and result["verdict"] == "":
        result["verdict"] = f"{result['round_trips']} trips"


def is_over(operation: str, ratio: float) -> bool:
    return ratio > BARS[operation].get(DATABASE, float("inf"))


if __name__ == "__main__":
    main()
