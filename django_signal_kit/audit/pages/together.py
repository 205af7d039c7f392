"""What else was saved together with what an entry tells: in its request, or its unit of work."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import F, QuerySet
from django.db.models.functions import Abs

from django_signal_kit.audit.models import AbstractAuditEntry
from django_signal_kit.audit.pages.kinds import set_kinds
from django_signal_kit.audit.pages.requests import get_request

#: The most entries beside itself that the page of an entry shows.
MOST = 50
#: No index finds a request: so many entries before and after are looked through for it.
NEAR = 2_000


@dataclass(frozen=True)
class Together:
    """The other entries, in the order of their keys. ``is_cut`` if there are more: these are the
    nearest ones."""

    entries: list[Any]
    is_cut: bool = False


def get_together(log: QuerySet[Any], entry: AbstractAuditEntry) -> Together:
    """The units of a request may be any number: their entries are found if no more than ``NEAR``
    of others came between."""
    found = {other.pk: other for other in (*_find_unit(log, entry), *_find_request(log, entry))}
    before = sorted((key for key in found if key < entry.pk), reverse=True)
    after = sorted(key for key in found if key > entry.pk)
    earlier = before[: max(MOST // 2, MOST - len(after))]
    entries = [found[key] for key in (*earlier[::-1], *after[: MOST - len(earlier)])]
    set_kinds(entries)
    return Together(entries, is_cut=len(found) > MOST)


def _find_unit(log: QuerySet[Any], entry: AbstractAuditEntry) -> Iterable[Any]:
    if entry.unit is None:
        return
    # From the entry on in both directions: a unit may be as long as a table, and its entries have
    # keys next to each other.
    unit = log.filter(unit=entry.unit)
    yield from unit.filter(pk__lt=entry.pk).order_by("-pk")[: MOST + 1]
    yield from unit.filter(pk__gt=entry.pk).order_by("pk")[: MOST + 1]


def _find_request(log: QuerySet[Any], entry: AbstractAuditEntry) -> Iterable[Any]:
    request = get_request(entry)
    if request is None:
        return
    near = log.filter(
        pk__range=(entry.pk - NEAR, entry.pk + NEAR), context__request_id=request.id
    ).exclude(pk=entry.pk)
    some = near.order_by(Abs(F("pk") - entry.pk), "pk")[: 2 * MOST + 1]
    yield from (other for other in some if get_request(other) == request)
