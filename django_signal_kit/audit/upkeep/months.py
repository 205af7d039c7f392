"""Months of UTC, and moments as the database gives them."""

from __future__ import annotations

from datetime import UTC, datetime

from django.utils import timezone


def make_aware(moment: datetime | None) -> datetime | None:
    # Without USE_TZ, what PostgreSQL keeps with a time zone is read without.
    is_naive = moment is not None and timezone.is_naive(moment)
    return timezone.make_aware(moment) if is_naive else moment  # type: ignore[arg-type]


def get_month(now: datetime, ahead: int) -> datetime:
    """The first moment of a month of UTC, ``ahead`` months after that of ``now``."""
    now = now.astimezone(UTC)
    months = now.year * 12 + now.month - 1 + ahead
    return datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC)
