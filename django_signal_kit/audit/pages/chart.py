"""How many entries there were on each of the last days, as a drawing without a script.

The days are those of the index on ``at``: up to ``EXACT`` entries are counted. Of more, the first
key of each day is looked up instead, one look into the index a day, and a day has about as many
entries as there are keys between its first one and that of the next day.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from django.conf import settings
from django.db.models import QuerySet, Subquery
from django.utils import timezone

DAYS = 30
#: The most entries that are counted one by one.
EXACT = 5_000

# The units of the drawing; the page stretches it.
HEIGHT = 40
_STEP = 10
_GAP = 2


@dataclass(frozen=True)
class Bar:
    """One day. ``start`` and ``end`` are the moments at which it begins and ends."""

    day: datetime.date
    start: datetime.datetime
    end: datetime.datetime
    count: int
    x: int
    height: int

    @property
    def y(self) -> int:
        return HEIGHT - self.height


@dataclass(frozen=True)
class Chart:
    """A bar for each day, the oldest first. ``is_exact`` if the entries were counted."""

    bars: Sequence[Bar]
    is_exact: bool

    height = HEIGHT
    bar_width = _STEP - _GAP

    @property
    def width(self) -> int:
        return _STEP * len(self.bars)

    @property
    def total(self) -> int:
        return sum(bar.count for bar in self.bars)

    @property
    def busiest(self) -> Bar:
        return max(self.bars, key=lambda bar: bar.count)


def get_chart(log: QuerySet[Any], now: datetime.datetime | None = None) -> Chart | None:
    """The last days of ``log``, in the time zone of the reader. None if nothing happened."""
    starts = _get_starts(now)
    times = log.filter(at__gte=starts[0], at__lt=starts[-1]).order_by("at")
    found = list(times.values_list("at", flat=True)[: EXACT + 1])
    is_exact = len(found) <= EXACT
    if is_exact:
        days = Counter(_get_day(at) for at in found)
        counts = [days[_get_day(start)] for start in starts[:-1]]
    else:
        counts = _estimate(log, starts)
    return _draw(starts, counts, is_exact=is_exact) if any(counts) else None


def _estimate(log: QuerySet[Any], starts: Sequence[datetime.datetime]) -> list[int]:
    keys = [
        Subquery(log.filter(at__gte=start).order_by("at").values("pk")[:1]) for start in starts
    ]
    newest = log.order_by("-pk").values_list("pk", *keys)[:1]
    # Gaps between keys are counted as entries, so that this says too much, never too little.
    last, *firsts = newest[0]
    edges = [last + 1 if key is None else key for key in firsts]
    return [max(0, later - earlier) for earlier, later in pairwise(edges)]


def _draw(starts: Sequence[datetime.datetime], counts: Sequence[int], *, is_exact: bool) -> Chart:
    most = max(counts)
    bars = [
        Bar(
            _get_day(start),
            start,
            end,
            count,
            x=number * _STEP + _GAP // 2,
            # A day with one entry among days with thousands is seen all the same.
            height=max(1, round(HEIGHT * count / most)) if count else 0,
        )
        for number, ((start, end), count) in enumerate(zip(pairwise(starts), counts, strict=True))
    ]
    return Chart(bars, is_exact)


def _get_starts(now: datetime.datetime | None) -> list[datetime.datetime]:
    """The moments at which the last days began, and the one at which today ends."""
    today = _get_day(timezone.now() if now is None else now)
    first = today - datetime.timedelta(days=DAYS - 1)
    starts = (
        datetime.datetime.combine(first + datetime.timedelta(days=number), datetime.time.min)
        for number in range(DAYS + 1)
    )
    return [timezone.make_aware(start) if settings.USE_TZ else start for start in starts]


def _get_day(at: datetime.datetime) -> datetime.date:
    return timezone.localdate(at) if timezone.is_aware(at) else at.date()
