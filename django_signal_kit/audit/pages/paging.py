"""Pages of a long log, found by key: nothing is counted, and no page costs more than the first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import F, QuerySet

Entries = QuerySet[Any]

#: How many entries a page looks through for those that no index finds.
REACH = 100_000


@dataclass(frozen=True)
class Cursor:
    """Where a page begins: the entries before one, those after one, or the newest."""

    before: int | None = None
    after: int | None = None

    @classmethod
    def read(cls, params: Mapping[str, str]) -> Cursor:
        """From the address. Raises ValueError for what is no key."""
        before, after = (
            _read_key(params[name]) if name in params else None for name in ("before", "after")
        )
        return cls(before, None if before is not None else after)


@dataclass(frozen=True)
class Page:
    """Entries, newest first. ``newer`` is to be given as ``after`` and ``older`` as ``before``,
    None where there is nothing. ``is_cut`` says that only a part of the log was looked through.
    """

    entries: list[Any]
    newer: int | None
    older: int | None
    is_cut: bool = False


class ByKey:
    """The order of the keys, which an index has: the newest first, or the oldest."""

    def sort(self, entries: Entries, *, newest_first: bool) -> Entries:
        return entries.order_by("-pk" if newest_first else "pk")

    def cut(self, entries: Entries, key: int, *, older: bool) -> Entries:
        """Those older than ``key``, or newer."""
        return entries.filter(pk__lt=key) if older else entries.filter(pk__gt=key)

    def keep(self, entries: Entries, key: int, *, older: bool) -> Entries:
        """``key`` and those older, or newer."""
        return entries.filter(pk__lte=key) if older else entries.filter(pk__gte=key)


class Sorted(ByKey):
    """The order of the keys for a few entries, which another index has to find.

    A planner that sees a LIMIT likes to walk along the primary key, which for a few entries of a
    long log is the longest way. A key that is computed leaves it no choice.
    """

    def sort(self, entries: Entries, *, newest_first: bool) -> Entries:
        key = F("pk") + 0
        return entries.order_by(key.desc() if newest_first else key.asc())


class ByTime(ByKey):
    """The order of the index on ``at``, for entries of a range of dates.

    The keys do not tell where a range begins: an entry is made when its change is, and gets its
    key at the end of the unit of work.
    """

    def __init__(self, log: Entries) -> None:
        self.log = log

    def sort(self, entries: Entries, *, newest_first: bool) -> Entries:
        return entries.order_by("-at", "-pk") if newest_first else entries.order_by("at", "pk")

    def cut(self, entries: Entries, key: int, *, older: bool) -> Entries:
        return self._leave_out(entries, key, "gte" if older else "lte", older=older)

    def keep(self, entries: Entries, key: int, *, older: bool) -> Entries:
        return self._leave_out(entries, key, "gt" if older else "lt", older=older)

    def _leave_out(self, entries: Entries, key: int, lookup: str, *, older: bool) -> Entries:
        """Those older, or newer, without those of the same time whose keys ``lookup`` finds."""
        at = self._get_time(key)
        if at is None:
            return entries.none() if older else entries
        entries = entries.filter(at__lte=at) if older else entries.filter(at__gte=at)
        return entries.exclude(**{"at": at, f"pk__{lookup}": key})

    def _get_time(self, key: int) -> Any:
        """That of the entry, or of the one before it if it is gone."""
        before = self.log.filter(pk__lte=key).order_by("-pk")
        return before.values_list("at", flat=True).first()


@dataclass(frozen=True)
class Pager:
    """Pages of ``entries``. If they are filtered by what no index serves, ``scope`` is what an
    index does find: at most ``reach`` entries of it are looked through for a page."""

    entries: Entries
    size: int
    order: ByKey
    scope: Entries | None = None
    reach: int = REACH

    def get_page(self, cursor: Cursor) -> Page:
        if cursor.after is not None:
            page = self._get_newer(cursor.after)
            if page is not None:
                return page
            cursor = Cursor()
        rows, end = self._search(cursor.before, older=True)
        is_full = len(rows) > self.size
        rows = rows[: self.size]
        newer = None
        if cursor.before is not None:
            # Where nothing is left, going back begins at the end of what was looked through.
            newer = rows[0].pk if rows else end or 0
        older = rows[-1].pk if is_full else end
        return Page(rows, newer, older, is_cut=end is not None and not is_full)

    def _get_newer(self, after: int) -> Page | None:
        """None if the newest page holds them all."""
        rows, end = self._search(after, older=False)
        is_full = len(rows) > self.size
        if not is_full and end is None:
            return None
        rows = rows[: self.size][::-1]
        newer = rows[0].pk if is_full else end
        return Page(rows, newer, rows[-1].pk if rows else end, is_cut=not is_full)

    def _search(self, start: int | None, *, older: bool) -> tuple[list[Any], int | None]:
        """One entry more than a page has, and the last one looked at if there are more."""
        entries, scope, end = self.entries, self.scope, None
        if start is not None:
            entries = self.order.cut(entries, start, older=older)
        if scope is not None:
            if start is not None:
                scope = self.order.cut(scope, start, older=older)
            last = self.order.sort(scope, newest_first=older)[self.reach - 1 : self.reach + 1]
            found = list(last.values_list("pk", flat=True))
            if len(found) == 2:
                end = found[0]
                entries = self.order.keep(entries, end, older=not older)
        return list(self.order.sort(entries, newest_first=older)[: self.size + 1]), end


def _read_key(text: str) -> int:
    key = int(text)
    if not 0 <= key < 2**63:
        raise ValueError(f"{text} is no key.")
    return key


def has_at_most(entries: Entries, number: int) -> bool:
    """Are there no more of these, which are all of a kind?"""
    # In the order of the index, so that no planner thinks of another way.
    some = entries.order_by("content_type_id", "object_pk").values("pk")[: number + 1]
    return some.count() <= number
