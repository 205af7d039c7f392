"""What is told of links whose rows are written: ahead of the write, and after it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from contextvars import ContextVar
from functools import partial
from typing import Any

from django.db.models.deletion import Collector

from django_signal_kit.rows.database import Row
from django_signal_kit.writes.calls import Call
from django_signal_kit.writes.linkreading import get_gone
from django_signal_kit.writes.links import Heard, Link, LinkChange, Relation

#: What an expression will make of a column.
UNKNOWN = object()

#: The deletion that is going on. It may take links away by an update, too: SET_NULL of an end.
deletion: ContextVar[Collector | None] = ContextVar("signal_kit_deletion", default=None)


class News:
    """What is told of a write: ahead of it what can be said then, and the rest after it."""

    def __init__(
        self, known: Heard, using: str, *, is_bulk: bool = False, raw: bool = False
    ) -> None:
        self.known = known
        self.using = using
        self.is_bulk = is_bulk
        self.raw = raw
        self.call: Call | None = None
        self.is_own = False
        self.told: dict[tuple[Relation, str], set[Link]] = {}

    def join(self, call: Call, *, is_own: bool) -> None:
        """The write is part of a call; ``is_own``: the part that ``m2m_changed`` tells."""
        self.call, self.is_own, self.raw = call, is_own, call.raw
        self.told[call.relation, "pre_add"] = set(call.announced)

    @property
    def is_told_by_call(self) -> bool:
        """Is there nothing to tell ahead but what ``m2m_changed`` tells?"""
        call = self.call
        return call is not None and self.is_own and self.known.relations == (call.relation,)

    def tell_ahead(
        self,
        before: Iterable[Row | None],
        planned: Iterable[Mapping[str, Any]],
        *,
        ends: bool = True,
    ) -> None:
        """``ends``: what is not planned is no more."""
        before, planned = list(before), list(planned)
        for relation in self.known.relations:
            old, new = count_links(relation, before), count_links(relation, planned)
            if any(UNKNOWN in link for link in new):
                # An expression, which only the database can tell.
                continue
            lost, gained = set(old - new), set(new - old)
            if ends:
                self._tell(
                    relation,
                    "remove",
                    lost,
                    partial(find_ends, relation, old=old, new=new, using=self.using),
                )
            self._tell(relation, "pre_add", gained, instead_of=lost if ends else ())

    def tell(self, before: Iterable[Row | None], after: Iterable[Mapping[str, Any]]) -> None:
        before, after = list(before), list(after)
        for relation in self.known.relations:
            old, new = count_links(relation, before), count_links(relation, after)
            lost, gained = set(old - new), set(new - old)
            if self.call is not None and self.is_own and relation is self.call.relation:
                self.call.made = (self.call.made or set()) | gained
                continue
            # The rows are written: seen from there, what they held is what is new.
            find = partial(find_ends, relation, using=self.using)
            self._tell(relation, "remove", lost, partial(find, old=Counter(), new=Counter()))
            self._tell(relation, "pre_add", gained)
            self._tell(relation, "add", gained, partial(find, old=new, new=old))

    def _tell(
        self,
        relation: Relation,
        action: str,
        links: set[Link],
        find: Callable[[set[Link]], Collection[Link]] | None = None,
        *,
        instead_of: Collection[Link] = (),
    ) -> None:
        is_calls = self.call is not None and relation is self.call.relation
        if self.is_own and is_calls:
            return
        told = self.told.setdefault((relation, action), set())
        links = links - told
        if links:
            told |= links
            collector = deletion.get()
            change = LinkChange(
                relation,
                action,
                self.using,
                links if find is None else partial(find, links),
                named=links,
                is_aside=self.call is not None and not is_calls,
                instead_of=instead_of,
                gone=((), ()) if collector is None else get_gone(collector, relation),
            )
            self.known.tell(change, is_bulk=self.is_bulk, raw=self.raw)


def count_links(relation: Relation, rows: Iterable[Mapping[str, Any] | None]) -> Counter[Link]:
    return Counter(link for row in rows if (link := relation.get_link(row)) is not None)


def find_ends(
    relation: Relation, links: set[Link], old: Counter[Link], new: Counter[Link], using: str
) -> Collection[Link]:
    """Those of the links that no row holds any more, once rows that hold ``old`` now hold ``new``
    instead."""
    if relation.is_unique or not links:
        return links
    counts = relation.count(links, using)
    return {link for link in links if counts.get(link, 0) - old[link] + new[link] <= 0}
