"""The table of ``python -m tests.benchmarks.cache_vs_peers``, and that this kit's part is true."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def test_side_by_side(capsys: Any) -> None:
    # It has settings and peers of its own.
    answer = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.cache_vs_peers"],
        cwd=ROOT,
        env={key: value for key, value in os.environ.items() if "DJANGO" not in key},
        capture_output=True,
        text=True,
    )
    with capsys.disabled():
        print(f"\n{answer.stdout}{answer.stderr}")
    assert answer.returncode == 0
    _, _, table = answer.stdout.partition("What is read after it")
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if "old" in line]
    assert len(rows) == 7
    assert [title for title, _, kit, *_ in rows if kit != "right"] == ["raw SQL"]
