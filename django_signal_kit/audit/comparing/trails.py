"""The entries about many rows, each row's newest first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from django.db.models import Q, QuerySet

from django_signal_kit.audit.kin import Family, Kin
from django_signal_kit.audit.told import Told, tell

_ROW_ACTIONS = ("create", "update", "delete")
_LINK_ACTIONS = ("m2m_add", "m2m_remove", "m2m_clear")
_PAGE = 500
_COLUMNS = ("pk", "action", "object_pk", "content_type_id", "changes", "context")

#: The ids of the entries about a row, the newest first: what was read of them is all there was as
#: long as the ids are the same.
Trail: TypeAlias = tuple[Any, ...]


class Trails:
    """The ids of all entries about the rows that ``kins`` are of. Of what they tell a page is in
    memory at a time, and none of rows of which enough is known."""

    def __init__(self, entries: QuerySet[Any], kins: Sequence[Kin]) -> None:
        self.entries = entries
        self.kins = kins
        self._rows: dict[tuple[Any, str], list[int]] = defaultdict(list)
        for position, kin in enumerate(kins):
            for share in kin.shares:
                self._rows[share].append(position)
        found: list[list[Any]] = [[] for _ in kins]
        self._about: dict[Any, list[int]] = {}
        for id, kind, key in self._read_ids():
            positions = self._rows.get((kind, key))
            # A database may find keys of other letters, too.
            if positions is not None:
                self._about[id] = positions
                for position in positions:
                    found[position].append(id)
        self.trails: list[Trail] = [tuple(sorted(ids, reverse=True)) for ids in found]

    def read(self, is_done: Sequence[bool]) -> Iterator[tuple[int, Told | None, Any]]:
        """For each entry, the newest first, and each row that it is about: the position of the
        row, what it tells of its fields or None, and its changes as they are. Rows whose
        ``is_done`` has become True are left out."""
        ids = iter(sorted(self._about, reverse=True))
        while page := self._take(ids, is_done):
            told = self.entries.filter(pk__in=page).order_by("-pk").values_list(*_COLUMNS)
            for entry in told:
                for position in self._about[entry[0]]:
                    if not is_done[position]:
                        is_link = entry[1] in _LINK_ACTIONS
                        told_of_row = None if is_link else tell(self.kins[position], *entry)
                        yield position, told_of_row, entry

    def _take(self, ids: Iterator[Any], is_done: Sequence[bool]) -> list[Any]:
        """The next ids of which something has to be known."""
        page: list[Any] = []
        for id in ids:
            if not all(is_done[position] for position in self._about[id]):
                page.append(id)
                if len(page) == _PAGE:
                    break
        return page

    def _read_ids(self) -> Iterator[tuple[Any, Any, str]]:
        keys: dict[Any, set[str]] = defaultdict(set)
        for kind, key in self._rows:
            keys[kind].add(key)
        # Most often all kinds have the same keys.
        by_keys: dict[frozenset[str], list[Any]] = defaultdict(list)
        for kind, some in keys.items():
            by_keys[frozenset(some)].append(kind)
        for texts, kinds in by_keys.items():
            about = Q(content_type__in=kinds, object_pk__in=sorted(texts))
            found = self.entries.filter(about, action__in=(*_ROW_ACTIONS, *_LINK_ACTIONS))
            yield from found.order_by().values_list("pk", "content_type_id", "object_pk")


class Statements:
    """What entries about whole statements, which name no row, tell of the rows of ``family``: of
    each field the last."""

    def __init__(self, entries: QuerySet[Any], family: Family, kin: Kin | None) -> None:
        """``kin``: that of any of the rows, or None if there are none."""
        about = entries.filter(content_type__in=list(family.models), object_pk="")
        rows = about.filter(action__in=("create", "update")).order_by("-pk").values_list(*_COLUMNS)
        #: The newest first.
        self.told: list[Told] = []
        self.creates = False
        self.newest: Any = None
        known: set[str] = set()
        last = None
        while kin and (page := list((rows if last is None else rows.filter(pk__lt=last))[:_PAGE])):
            last = page[-1][0]
            self.newest = self.newest or page[0][0]
            for row in page:
                entry = tell(kin, *row)
                self.creates = self.creates or entry.action == "create"
                if entry.action == "update" and not known.issuperset(entry.changes):
                    known.update(entry.changes)
                    self.told.append(entry)
