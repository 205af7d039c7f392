"""What a row was before the log first told of it."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

from django_signal_kit.audit.plans import Stamps


class History:
    """What a row was before the first entry about it: for each field what that entry changed it
    from, and for each link whether it had been there."""

    def __init__(self, stamps: Stamps) -> None:
        self.stamps = stamps
        self.first: Any = None
        self.values: dict[str, Any] = {}
        #: Stamps that have been written since, and no entry tells over what.
        self.untold: set[str] = set()
        self.links: dict[str, dict[str, bool]] = defaultdict(dict)

    def add(self, id: Any, changes: Any) -> None:
        """Take in the next entry. What earlier ones have said stands."""
        changes = changes if isinstance(changes, dict) else {}
        named = {name for name, change in changes.items() if _is_pair(change)}
        if self.first is None:
            self.first = id
            self.untold.update(self.stamps.lost - named)
        if named:
            self.untold.update(self.stamps.get_untold(named) - self.values.keys())
        for name, change in changes.items():
            if name in named:
                self.values.setdefault(name, change[0])
            elif isinstance(change, dict):
                for verb, was_there in (("added", False), ("removed", True)):
                    for key in change.get(verb, ()):
                        self.links[name].setdefault(json.dumps(key), was_there)


def _is_pair(change: Any) -> bool:
    return isinstance(change, list) and len(change) == 2
