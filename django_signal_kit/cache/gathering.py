"""The tags of all that is used while something is made: a page, or a value that is cached."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from django_signal_kit.units.loggers import get_logger

logger = get_logger("django_signal_kit.cache")

#: Models of which it has been said already that no tag stands for their rows.
_told: set[str] = set()


class CollectedTags:
    """Tags, each once, in the order in which they came: iterate over it."""

    __slots__ = ("_tags", "caches", "is_late", "reads_rows", "unknown")

    def __init__(self, *, reads_rows: bool = False) -> None:
        self._tags: dict[str, None] = {}
        #: Do the queries that are sent tell their tags?
        self.reads_rows = reads_rows
        #: Labels of models of which rows were read that no tag stands for: what is made of them
        #: cannot be said to have fallen.
        self.unknown: set[str] = set()
        #: The caches in which all tags of rows are touched; None if there are none.
        self.caches: frozenset[str] | None = None
        #: Was one of the tags touched while what has it was made?
        self.is_late = False

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._tags))

    def __len__(self) -> int:
        return len(self._tags)

    def __contains__(self, tag: object) -> bool:
        return tag in self._tags

    def __repr__(self) -> str:
        return f"<CollectedTags {list(self._tags)!r}>"

    def add(self, tags: Iterable[str]) -> None:
        self._tags.update(dict.fromkeys(tags))

    def note_caches(self, aliases: Iterable[str]) -> None:
        """A tag has come that is touched in these caches."""
        found = frozenset(aliases)
        self.caches = found if self.caches is None else self.caches & found

    def note_unknown(self, label: str, receiver: str) -> None:
        """Rows of a model were read, and ``receiver`` has no tag that stands for them."""
        self.unknown.add(label)
        if label not in _told:
            _told.add(label)
            logger.warning(
                "Rows of %s were read by a query for which %s has no tag, so that what is made of "
                "them cannot be kept. Add one to its option 'tags' that names no column, such as "
                "%r, which each change of a row touches.",
                label,
                receiver,
                label.rpartition(".")[2].lower() + "s",
                extra={"receiver": receiver, "model": label},
            )

    def take(self, other: CollectedTags) -> None:
        """What ``other`` has found is found here, too."""
        self.add(other)
        self.unknown |= other.unknown
        if other.caches is not None:
            self.note_caches(other.caches)
        self.is_late = self.is_late or other.is_late


_current: ContextVar[CollectedTags | None] = ContextVar("signal_kit_tags", default=None)

#: The innermost block that is open here, or None.
get_current = _current.get


@contextmanager
def gather(*, reads_rows: bool = False) -> Iterator[CollectedTags]:
    """The tags of what is used in the block, which are those of the block round it as well."""
    outer = _current.get()
    found = CollectedTags(reads_rows=reads_rows or (outer is not None and outer.reads_rows))
    token = _current.set(found)
    try:
        yield found
    finally:
        _current.reset(token)
        if outer is not None:
            outer.take(found)


def note_tags(*tags: str) -> None:
    """What is being made depends on ``tags``: the response of this request, and what an open
    :func:`collect_tags` block is about. For what neither a cached value nor a row tells."""
    found = _current.get()
    if found is not None:
        found.add(tags)


def note_late() -> None:
    """A part of what is being made was touched meanwhile."""
    found = _current.get()
    if found is not None:
        found.is_late = True
