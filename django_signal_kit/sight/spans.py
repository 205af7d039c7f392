"""The tree of what ran: one span for all that ran alike under the same parent.

Seven hundred saves in one line of a loop are one span with a count, so that a trace stays small
however much runs in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, TypeAlias

from django_signal_kit.sight.failures import tell_message

Kind: TypeAlias = Literal["trace", "signal", "receiver", "flush"]

#: The most errors that a span remembers.
ERRORS = 3


class Key(NamedTuple):
    """What runs of one span have in common."""

    kind: Kind
    #: Of the signal or of the receiver; ``"flush"`` of no receiver.
    name: str
    #: What the signal is about (``"shop.Product"``), or when the flush runs.
    about: str = ""
    #: The line of the project's code that sent the signal.
    place: str = ""


class Span:
    """Runs of one signal, receiver or flush under the same parent."""

    __slots__ = (
        "_children",
        "collected",
        "count",
        "errors",
        "failed",
        "key",
        "object",
        "parent",
        "path",
        "queries",
        "seconds",
    )

    def __init__(self, key: Key, parent: Span | None = None) -> None:
        self.key = key
        self.parent = parent
        self._children: dict[Key, Span] = {}
        #: How often it ran.
        self.count = 0
        #: How long it took altogether, with all that ran in it, in seconds.
        self.seconds = 0.0
        #: How many queries it sent itself, those of its children left out.
        self.queries = 0
        #: How many items it collected itself, or, of a flush, flushed.
        self.collected = 0
        #: How often it raised, and what it raised first.
        self.failed = 0
        self.errors: list[str] = []
        #: The primary key of what it was about, if it ran once: text.
        self.object = ""
        #: The dotted path of the receiver.
        self.path = ""

    @property
    def children(self) -> list[Span]:
        """In the order in which each ran first."""
        return list(self._children.values())

    @property
    def all_queries(self) -> int:
        """How many queries it sent, those of its children among them."""
        return self.queries + sum(child.all_queries for child in self.children)

    def get_child(self, key: Key) -> Span:
        # Atomic, so that threads and tasks may share a parent.
        return self._children.setdefault(key, Span(key, self))

    def walk(self) -> Iterator[Span]:
        """Itself, and all below it, each before its children."""
        yield self
        for child in self.children:
            yield from child.walk()

    def add(self, other: Span) -> None:
        """What ran of ``other`` ran here, too."""
        self.object = "" if self.count else other.object
        self.path = other.path
        self.count += other.count
        self.seconds += other.seconds
        self.queries += other.queries
        self.collected += other.collected
        self.failed += other.failed
        self.errors = [*self.errors, *other.errors][:ERRORS]
        for child in other.children:
            self.get_child(child.key).add(child)

    def note_error(self, error: BaseException) -> None:
        self.failed += 1
        if len(self.errors) < ERRORS:
            self.errors.append(f"{type(error).__name__}: {tell_message(error)}")

    def as_dict(self) -> dict[str, Any]:
        """Strings, numbers and lists, for JSON; ``ms`` are milliseconds, ``queries`` its own."""
        kind, name, about, place = self.key
        return {
            "kind": kind,
            "name": name,
            "about": about,
            "place": place,
            "object": self.object,
            "path": self.path,
            "count": self.count,
            "ms": round(self.seconds * 1000, 3),
            "queries": self.queries,
            "collected": self.collected,
            "failed": self.failed,
            "errors": list(self.errors),
            "children": [child.as_dict() for child in self.children],
        }
