"""200,000 rows in one unit of work fit into 300 MB."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.memory import ROWS, WAYS


@pytest.mark.parametrize("way", WAYS)
def test_a_large_unit_of_work(way: str) -> None:
    command = [sys.executable, "-m", "tests.benchmarks.memory", way]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    peak = int(done.stdout)
    print(f"\n{ROWS:,} rows, {way}: a peak of {peak} MB")
    assert peak < 300
