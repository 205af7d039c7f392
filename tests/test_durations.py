"""Lengths of time are read as they are written, and reckoned by the calendar."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from django_signal_kit.durations import parse_duration

NOW = datetime(2028, 2, 29, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "then"),
    [
        ("36h", datetime(2028, 2, 28, 0, tzinfo=UTC)),
        ("90d", datetime(2027, 12, 1, 12, tzinfo=UTC)),
        ("12w", datetime(2027, 12, 7, 12, tzinfo=UTC)),
        ("1mo", datetime(2028, 1, 29, 12, tzinfo=UTC)),
        ("3mo", datetime(2027, 11, 29, 12, tzinfo=UTC)),
        ("2y", datetime(2026, 2, 28, 12, tzinfo=UTC)),
        ("4y", datetime(2024, 2, 29, 12, tzinfo=UTC)),
        (" 1000 y ", datetime(1028, 2, 29, 12, tzinfo=UTC)),
    ],
)
def test_a_length_of_time_leads_to_a_moment(text: str, then: datetime) -> None:
    assert parse_duration(text).before(NOW) == then


def test_ten_years_are_never_a_day_less() -> None:
    # 3,650 days would be, by the days of leap years.
    assert parse_duration("10y").before(datetime(2026, 3, 1)) == datetime(2016, 3, 1)


def test_a_month_without_such_a_day_ends_with_its_last() -> None:
    assert parse_duration("1mo").before(datetime(2026, 3, 31)) == datetime(2026, 2, 28)


@pytest.mark.parametrize("text", ["", "90", "d", "-1d", "1.5y", "90 days", "5m", "1Y", "٣d", "0d"])
def test_anything_else_is_refused_with_what_it_has_to_be(text: str) -> None:
    with pytest.raises(ValueError, match=r'is no length of time\. It has to be .* such as "90d"'):
        parse_duration(text)


@pytest.mark.parametrize("text", ["1001y", "999999d", "12001mo"])
def test_more_than_a_thousand_years_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="longer than 1000 years"):
        parse_duration(text)
