"""Whatever is killed, each row that was committed is flushed by a worker, and no other row."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.engines.engines import ENGINES
from tests.faults.size import SIZE

ROOT = Path(__file__).parents[2]
ROUNDS = 4 * SIZE

IN_DATABASE = [
    (engine.name, database)
    for engine in ENGINES.values()
    if engine.broker is None
    for database in ("sqlite", "postgres")
]
#: Scenario -> units of writes in each round: 1,000 sign-ups, pages and pictures in 20 rounds.
STORMS = {"welcomes": 27, "pages": 27, "pictures": 50}
STORMY_ROUNDS = 2 * SIZE
AT_A_BROKER = [engine.name for engine in ENGINES.values() if engine.broker is not None]


def run(*arguments: str, rounds: int = ROUNDS) -> dict[str, Any]:
    """What the run tells. It fails by itself if something stays undone."""
    result = subprocess.run(
        [sys.executable, "-m", "tests.engines", *arguments, "--rounds", str(rounds)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240 + 60 * rounds,
    )
    assert result.returncode == 0, result.stderr
    told: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    # Kept by pytest, and shown with -rP.
    print(told)
    return told


def check(told: dict[str, Any], place: str) -> None:
    assert told["place"] == place
    assert told["lost"] == told["never_committed"] == 0, told
    # Not for nothing.
    assert told["flushed"] == told["committed"] > ROUNDS, told
    assert sum(told["kills"].values()) >= ROUNDS, told


@pytest.mark.parametrize(("engine", "database"), IN_DATABASE)
def test_a_queue_in_the_database_loses_nothing(engine: str, database: str) -> None:
    check(run(engine, database), "in_transaction")


@pytest.mark.parametrize("engine", AT_A_BROKER)
def test_a_queue_at_a_broker_loses_nothing(engine: str) -> None:
    check(run(engine), "outbox")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("scenario", "units"), STORMS.items())
def test_in_a_storm_all_that_is_committed_is_done_in_the_end(
    scenario: str, units: int, engine: str
) -> None:
    told = run(engine, "--scenario", scenario, "--units", str(units), rounds=STORMY_ROUNDS)
    assert told["lost"] == told["never_committed"] == 0, told
    # How many are committed depends on who is killed when.
    assert told["flushed"] == told["committed"] > units // 10, told
    assert sum(told["kills"].values()) >= STORMY_ROUNDS, told


def test_without_the_kit_the_same_kills_lose_rows() -> None:
    told = run("huey", "--scenario", "byhand", "--faults", "broker", rounds=2)
    assert told["lost"] > 0, told
