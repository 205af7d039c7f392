"""Which entries tell of an object: its own, and those of the rows that belong to it.

All is found by index: the rows that belong to it now by their foreign key, and those that did
through the units of work in which it, or a row that is found, was written. Of a kind with few
entries each is looked at.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID

from django.contrib.admin.options import InlineModelAdmin
from django.contrib.contenttypes.admin import GenericInlineModelAdmin
from django.db.models import Model, Q, QuerySet
from django.db.models.fields.json import KeyTransform
from django.forms.models import _get_foreign_key

from django_signal_kit.audit.entries import get_kind
from django_signal_kit.audit.keys import get_hider, get_key_writer, to_key
from django_signal_kit.audit.pages.paging import Sorted, has_at_most
from django_signal_kit.rows.values import is_redacted, to_json

#: The most rows of one model that are rolled up to their parent: the newest ones.
MOST_ROWS = 1_000
#: In how many of the newest units of work of a row, and of the oldest, rows are looked for.
MOST_UNITS = 500
OLDEST_UNITS = 50
#: A kind with no more entries is looked through as a whole.
FEW = 2_000
_CHUNK = 500


@dataclass(frozen=True)
class Parent:
    """A row, and its key as entries have it. ``row`` is None if it is gone."""

    model: type[Model]
    key: str
    row: Model | None


@dataclass(frozen=True)
class Link:
    """Rows of ``model`` name their parent in ``field``, and in ``kind`` what that is if it may
    be of any model."""

    model: type[Model]
    field: str
    kind: str | None = None

    @classmethod
    def of(cls, inline: InlineModelAdmin[Any, Any], parent: type[Model]) -> Link | None:
        """That of the rows which ``inline`` shows. None for the rows of a many-to-many relation:
        they are told by the entries of the parent."""
        if inline.model._meta.auto_created:
            return None
        if isinstance(inline, GenericInlineModelAdmin):
            return cls(inline.model, inline.ct_fk_field, inline.ct_field)
        key = _get_foreign_key(parent, inline.model, fk_name=inline.fk_name)
        return cls(inline.model, key.name)

    def get_rows(self, parent: Parent) -> QuerySet[Any]:
        """Those that belong to ``parent`` now."""
        if parent.row is None:
            return self.model._base_manager.none()
        rows = self.model._base_manager.using(parent.row._state.db)
        if self.kind is None:
            return rows.filter(**{self.field: parent.row})
        return rows.filter(
            **{self.field: parent.row.pk, self.kind: get_kind(parent.model, rows.db)}
        )

    def filter(self, entries: QuerySet[Any], parent: Parent) -> QuerySet[Any]:
        """Of ``entries`` those by which a row came to ``parent``, or left it."""
        value = self._get_value(parent)
        if value is None:
            return entries.none()
        condition = Q()
        for side in ("0", "1"):
            entries = entries.alias(**{f"_{side}": _at(self.field, side)})
            test = Q(**{f"_{side}": value})
            if self.kind is not None:
                entries = entries.alias(**{f"_kind_{side}": _at(self.kind, side)})
                test &= Q(**{f"_kind_{side}": get_kind(parent.model, entries.db).pk})
            condition |= test
        return entries.filter(condition)

    def _get_value(self, parent: Parent) -> Any:
        """What rows of ``parent`` have in their field, as entries store it."""
        held = cast(Any, self.model._meta.get_field(self.field))
        target = held if self.kind is not None else held.target_field
        if self.kind is None and not target.primary_key:
            value = getattr(parent.row, target.attname, None)
            hide = get_hider(held)
            return to_json(value) if hide is None or value is None else hide(value)
        if is_redacted(parent.key):
            return parent.key
        own = parent.model._meta.pk.to_python(parent.key)
        return to_json(target.to_python(own))


@dataclass
class Family:
    """The rows that a history tells of, by kind. ``is_cut`` if there are more of them, and
    ``is_partial`` if of those that are gone some may not have been found."""

    keys: defaultdict[Any, set[str]] = field(default_factory=lambda: defaultdict(set))
    is_cut: bool = False
    is_partial: bool = False

    @property
    def is_single(self) -> bool:
        return sum(len(keys) for keys in self.keys.values()) == 1

    def filter(self, log: QuerySet[Any]) -> QuerySet[Any]:
        condition = Q()
        for kind, keys in self.keys.items():
            condition |= Q(content_type=kind, object_pk__in=sorted(keys))
        return log.filter(condition)


def get_own(log: QuerySet[Any], parent: Parent) -> QuerySet[Any]:
    """The entries of the object itself."""
    return log.filter(content_type=get_kind(parent.model, log.db), object_pk=parent.key)


def find_family(log: QuerySet[Any], parent: Parent, links: Sequence[Link]) -> Family:
    family = Family()
    family.keys[get_kind(parent.model, log.db).pk].add(parent.key)
    _add_parents(log, parent, family)
    for link in links:
        rows = link.get_rows(parent).order_by("-pk").values_list("pk", flat=True)
        found = list(rows[: MOST_ROWS + 1])
        family.is_cut |= len(found) > MOST_ROWS
        keys = map(get_key_writer(link.model), found[:MOST_ROWS])
        family.keys[get_kind(link.model, log.db).pk] |= set(keys)
    many = []
    for link in links:
        entries = log.filter(content_type=get_kind(link.model, log.db))
        if has_at_most(entries, FEW):
            _add_gone(entries, parent, link, family)
        else:
            many.append((link, entries))
    if many:
        family.is_partial = True
        units = _find_units(log, parent, family)
        for link, entries in many:
            for chunk in _cut(units):
                _add_gone(entries.filter(unit__in=chunk), parent, link, family)
    return family


def _add_parents(log: QuerySet[Any], parent: Parent, family: Family) -> None:
    """A row of a multi-table child is written through its parents' models too."""
    for model in parent.model._meta.get_parent_list():
        key = getattr(parent.row, model._meta.pk.attname, None)
        if key is not None:
            family.keys[get_kind(model, log.db).pk].add(to_key(model, key))


def _find_units(log: QuerySet[Any], parent: Parent, family: Family) -> list[UUID]:
    """The units in which the object was written last and first, and its rows last."""
    own = get_own(log, parent)
    some = [own.order_by("-pk")[:MOST_UNITS], own.order_by("pk")[:OLDEST_UNITS]]
    own_kind = get_kind(parent.model, log.db).pk
    for kind, keys in family.keys.items():
        for chunk in _cut(sorted(keys if kind != own_kind else keys - {parent.key})):
            entries = log.filter(content_type=kind, object_pk__in=chunk)
            some.append(Sorted().sort(entries, newest_first=True)[:MOST_UNITS])
    units: dict[UUID | None, None] = {}
    for entries in some:
        units |= dict.fromkeys(entries.values_list("unit", flat=True))
    return [unit for unit in units if unit is not None]


def _add_gone(entries: QuerySet[Any], parent: Parent, link: Link, family: Family) -> None:
    """Add the rows of which ``entries`` tell that they came to ``parent`` or left it."""
    told = link.filter(entries, parent).order_by()
    known = family.keys[get_kind(link.model, entries.db).pk]
    found = set(told.values_list("object_pk", flat=True)[: 2 * MOST_ROWS + 1]) - known
    room = max(0, MOST_ROWS - len(known))
    family.is_cut |= len(found) > room
    known.update(sorted(found)[:room])


def _at(name: str, side: str) -> KeyTransform:
    # Not changes__name__0: a field may be called as a lookup is.
    return KeyTransform(side, KeyTransform(name, "changes"))


def _cut(items: Iterable[Any]) -> Iterator[list[Any]]:
    found = list(items)
    for start in range(0, len(found), _CHUNK):
        yield found[start : start + _CHUNK]
