"""The table of ``python -m tests.benchmarks.audit_vs_peers``, and that this kit's part is true."""

from __future__ import annotations

from typing import Any

from tests.benchmarks import audit_vs_peers


def test_side_by_side(capsys: Any) -> None:
    with capsys.disabled():
        results = audit_vs_peers.main([])
    for operation, found in results.items():
        for package in ("kit-database", "kit-snapshot"):
            if package in found:
                assert found[package]["verdict"] == "", (operation, package)
