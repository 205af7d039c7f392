"""What a process tells of itself, as text and numbers for the cache, and several of such as one.

``sums``: a tree of numbers, which are added. ``ran``: name -> when. ``errors``: id -> what is told
of it. ``since``: when the counting began.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django_signal_kit.sight.failures import MOST


def add_up(one: Any, other: Any, sign: int = 1) -> Any:
    """Numbers added, or subtracted; lists item by item, dicts key by key."""
    if isinstance(one, dict) and isinstance(other, dict):
        both = {key: add_up(one[key], other[key], sign) for key in one if key in other}
        added = {key: other[key] for key in other if key not in one and sign > 0}
        return {**one, **both, **added}
    if isinstance(one, list) and isinstance(other, list):
        return [add_up(*pair, sign) for pair in zip(one, other, strict=False)]
    return one + sign * other


def combine(records: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Those of several processes as that of one."""
    sums: dict[str, Any] = {}
    ran: dict[str, float] = {}
    errors: dict[str, dict[str, Any]] = {}
    since: list[float] = []
    for record in records:
        sums = add_up(sums, record["sums"])
        for name, at in record["ran"].items():
            ran[name] = max(at, ran.get(name, 0.0))
        for id, error in record["errors"].items():
            errors[id] = _merge(error, errors[id]) if id in errors else error
        since.append(record["since"])
    latest = sorted(errors, key=lambda id: errors[id]["at"], reverse=True)[: MOST * len(since)]
    return {
        "sums": sums,
        "ran": ran,
        "errors": {id: errors[id] for id in latest},
        "since": min(since, default=None),
    }


def _merge(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    latest = max(one, other, key=lambda error: error["at"])
    return {**latest, "count": one["count"] + other["count"]}
