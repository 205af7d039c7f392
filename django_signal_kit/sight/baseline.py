"""Has what is wired changed since it was written down?"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django_signal_kit.wiring.listing import Listing

#: What makes two lines of the list the same receiver of the same signal.
_IDENTITY = ("signal", "sender", "receiver", "name")
#: What another process calls otherwise: where an object lies.
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]+|\bid [0-9]+")
#: Of the moment, and not of the wiring.
_PASSING = ("is_muted",)


def read_baseline(path: Path) -> list[dict[str, Any]]:
    """Raises OSError, or ValueError for what ``showreceivers --format json`` has not written."""
    rows: Any = json.loads(path.read_text(encoding="utf-8"))
    is_list = isinstance(rows, list) and all(isinstance(row, dict) for row in rows)
    if not is_list or not all(key in row for row in rows for key in _IDENTITY):
        raise ValueError("it is no list of receivers")
    return list(rows)


def compare(baseline: Iterable[dict[str, Any]], listings: Iterable[Listing]) -> list[str]:
    """Lines that begin with ``-`` (gone), ``+`` (new) or ``~`` (changed, or in another order)."""
    before = {_identify(row): row for row in baseline}
    now = {_identify(row): row for row in map(asdict, listings)}
    lines = [f"- {_tell(row)}" for key, row in before.items() if key not in now]
    lines += [f"+ {_tell(row)}" for key, row in now.items() if key not in before]
    for key, row in now.items():
        if key in before:
            lines += [
                f"~ {_tell(row)}: {name} is {row[name]!r}, was {before[key].get(name)!r}"
                for name in row
                if name not in (*_IDENTITY, *_PASSING) and row[name] != before[key].get(name)
            ]
    kept = [key for key in before if key in now]
    if kept != [key for key in now if key in before]:
        lines.append("~ the order of the calls is another one")
    return lines


def _identify(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(_ADDRESS.sub("", str(row[key])) for key in _IDENTITY)


def _tell(row: dict[str, Any]) -> str:
    name = f" ({row['name']})" if row["name"] else ""
    return f"{row['signal']} of {row['sender']}: {row['receiver']}{name}"
