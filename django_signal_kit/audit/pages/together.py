"""What else was done in the unit of work of an entry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from django_signal_kit.audit.models import AbstractAuditEntry
from django_signal_kit.audit.pages.kinds import set_kinds

#: The most entries beside itself that the page of an entry shows.
MOST = 50


@dataclass(frozen=True)
class Unit:
    """The other entries of a unit of work, in the order of their keys. ``is_cut`` if there are
    more: these are the nearest ones."""

    entries: list[Any]
    is_cut: bool = False


def get_unit(log: QuerySet[Any], entry: AbstractAuditEntry) -> Unit:
    if entry.unit is None:
        return Unit([])
    # From the entry on in both directions: a unit may be as long as a table, and its entries have
    # keys next to each other.
    unit = log.filter(unit=entry.unit)
    before = list(unit.filter(pk__lt=entry.pk).order_by("-pk")[: MOST + 1])
    after = list(unit.filter(pk__gt=entry.pk).order_by("pk")[: MOST + 1])
    is_cut = len(before) + len(after) > MOST
    earlier = max(MOST // 2, MOST - len(after))
    before = before[:earlier]
    entries = [*before[::-1], *after[: MOST - len(before)]]
    set_kinds(entries)
    return Unit(entries, is_cut)
