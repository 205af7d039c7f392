"""What is noted of receivers for the assertions of tests."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple

from django.db.models import Model


class Heard(NamedTuple):
    """A call of a receiver: its name, the signal's name, the sender and the other arguments."""

    receiver: str
    signal: str
    sender: Any
    arguments: Mapping[str, Any]

    def is_about(self, instance: Model) -> bool:
        """Is it the one instance, or among the objects of a bulk write?"""
        given = self.arguments
        if given.get("instance") is not None:
            return bool(given["instance"] == instance)
        rows = given.get("objs") or given.get("rows") or ()
        return instance in rows


class Collected(NamedTuple):
    """An item that a receiver of this name has collected."""

    receiver: str
    item: Any


class Flushed(NamedTuple):
    """A flush of the receiver of this name, and its items."""

    receiver: str
    items: list[Any]


class Captured:
    """What is noted while it is one of ``captures``."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.collected: list[Collected] = []
        self.flushed: list[Flushed] = []


#: Those that are open here.
captures: ContextVar[tuple[Captured, ...]] = ContextVar("signal_kit_captures", default=())
