"""What rows are linked to, by the log and by the tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from django_signal_kit.audit.comparing.finding import LinkDifference


class Links:
    """What the log says of the links of one row. Each ``follow`` takes in one entry, the newest
    first."""

    def __init__(self, names: Iterable[str]) -> None:
        #: Field -> key of the other row, as JSON -> whether it is linked, and the entry.
        self._told: dict[str, dict[str, tuple[bool, Any]]] = {name: {} for name in names}

    def follow(self, id: Any, changes: Any) -> None:
        for name, change in changes.items() if isinstance(changes, dict) else ():
            if name in self._told and isinstance(change, dict):
                for verb, is_linked in (("added", True), ("removed", False)):
                    for member in change.get(verb, ()):
                        self._told[name].setdefault(json.dumps(member), (is_linked, id))

    def find_differences(
        self, name: str, present: Iterable[Any], knows_all: Callable[[], bool]
    ) -> Iterator[LinkDifference]:
        """``present``: the keys of what the row is linked to, as JSON has them. ``knows_all``:
        were all links of this field recorded since the row was made?"""
        told = self._told[name]
        texts = {json.dumps(member) for member in present}
        for text in sorted(texts - told.keys()):
            if knows_all():
                yield LinkDifference(name, "added", json.loads(text), None)
        for text, (is_linked, id) in sorted(told.items()):
            if is_linked is not (text in texts):
                verb = "removed" if is_linked else "added"
                yield LinkDifference(name, verb, json.loads(text), id)  # type: ignore[arg-type]
