"""Lengths of time in words, as the settings and the commands take them: "90d", "2y"."""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import datetime, timedelta

_WORD = re.compile(r"(\d{1,6})\s*(h|d|w|mo|y)", re.ASCII)
_HOURS = {"h": 1, "d": 24, "w": 7 * 24}
_MONTHS = {"mo": 1, "y": 12}
# A column of dates knows no year before the first.
_LONGEST = 1000

EXPECTED = (
    "a whole number above 0 and h, d, w, mo or y (hours, days, weeks, months, years), "
    'such as "90d"'
)


@dataclass(frozen=True)
class Duration:
    """A whole number of hours, or of months of the calendar."""

    hours: int = 0
    months: int = 0

    def before(self, moment: datetime) -> datetime:
        """The moment that was so long ago. A month ago is the same day of the month before, or
        its last day if it has no such day."""
        months = moment.year * 12 + moment.month - 1 - self.months
        year, month = months // 12, months % 12 + 1
        day = min(moment.day, monthrange(year, month)[1])
        return moment.replace(year=year, month=month, day=day) - timedelta(hours=self.hours)


def parse_duration(text: str) -> Duration:
    """``"36h"``, ``"90d"``, ``"12w"``, ``"6mo"`` or ``"2y"``. Raises ValueError for anything else,
    for nothing at all, and for more than a thousand years."""
    match = _WORD.fullmatch(text.strip())
    if match is None or not int(match[1]):
        raise ValueError(f"{text!r} is no length of time. It has to be {EXPECTED}.")
    count, unit = int(match[1]), match[2]
    duration = Duration(hours=count * _HOURS.get(unit, 0), months=count * _MONTHS.get(unit, 0))
    if duration.hours > _LONGEST * 365 * 24 or duration.months > _LONGEST * 12:
        raise ValueError(f"{text!r} is longer than {_LONGEST} years.")
    return duration
