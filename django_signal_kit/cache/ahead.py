"""What has been read from a cache ahead of the look-ups that need it, all at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django_signal_kit.cache.access import get_many
from django_signal_kit.cache.entry import Entry


class Ahead:
    """What the cache ``alias`` had under the keys of ``entries``, by one ``get_many()``."""

    def __init__(self, alias: str, entries: Iterable[Entry]) -> None:
        self.alias = alias
        self._asked = {key for entry in entries for key in entry.keys}
        #: None if the cache could not be asked.
        self.found: dict[str, Any] | None = get_many(alias, self._asked) if self._asked else {}

    def knows(self, entry: Entry) -> bool:
        """Has been asked for all that ``entry`` needs?"""
        return self._asked.issuperset(entry.keys)

    def forget(self, entry: Entry) -> None:
        """Its value is made now: who needs it again is to ask for it."""
        self._asked.discard(entry.key)
