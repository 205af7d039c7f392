"""What a process tells of itself, as text and numbers for the cache, and several of such as one.

``sums``: a tree of numbers, which are added. ``ran``: name -> when. ``errors``: id -> what is told
of it. ``since``: when the counting began.
"""

from __future__ import annotations

import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Collection, Iterable
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


def pack(record: dict[str, Any]) -> str:
    """Text, which each cache takes, and short: Memcached takes a megabyte."""
    return b64encode(zlib.compress(json.dumps(record).encode(), 1)).decode()


def unpack(packed: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(zlib.decompress(b64decode(packed)))
    return record


def leave_out_gone(record: dict[str, Any], wired: Collection[str], since: float) -> dict[str, Any]:
    """Without the receivers that are not wired and have not run since: they may have been given
    another name."""
    sums, ran = record["sums"], record["ran"]
    told = sums.get("receivers", {})
    gone = {name for name in told if name not in wired and ran.get(name, 0.0) < since}
    return {
        **record,
        "sums": {**sums, "receivers": {name: told[name] for name in told if name not in gone}},
        "ran": {name: at for name, at in ran.items() if name not in gone},
        "errors": {
            id: error for id, error in record["errors"].items() if error["receiver"] not in gone
        },
    }


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
