"""The days of the log are drawn at the cost of a look into an index."""

from __future__ import annotations

import datetime
import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.audit.pages import chart
from django_signal_kit.audit.pages.chart import HEIGHT, get_chart
from tests.audit.browsing import Inline, get_keys, get_list, get_text, make_entry
from tests.audit.plans import get_plans, get_scanned, has_seq_scan

pytestmark = pytest.mark.django_db

# In Madrid it is 13:00 then, and the clocks went forward on the 29th.
NOW = datetime.datetime(2026, 4, 2, 11, tzinfo=datetime.UTC)


def make(*times: str) -> None:
    AuditEntry.objects.bulk_create(
        AuditEntry(action="create", at=datetime.datetime.fromisoformat(f"{at}+00:00"))
        for at in times
    )


def get_counts() -> dict[str, int]:
    found = get_chart(AuditEntry.objects.all(), NOW)
    return {} if found is None else {str(bar.day): bar.count for bar in found.bars if bar.count}


def test_each_of_the_last_thirty_days_has_a_bar_and_today_is_the_last():
    make("2026-04-02T10:00")
    found = get_chart(AuditEntry.objects.all(), NOW)
    assert [str(found.bars[0].day), str(found.bars[-1].day)] == ["2026-03-04", "2026-04-02"]
    assert len(found.bars) == 30
    assert found.is_exact


def test_a_day_is_one_of_the_reader():
    make(
        "2026-03-03T22:59",  # the day before the first one
        "2026-03-03T23:00",  # the first one: it is winter there
        "2026-03-29T21:59",
        "2026-03-29T22:00",  # the next day: it is summer
        "2026-04-02T21:59",
        "2026-04-02T22:00",  # tomorrow
    )
    expected = {"2026-03-04": 1, "2026-03-29": 1, "2026-03-30": 1, "2026-04-02": 1}
    assert get_counts() == expected


def test_nothing_is_drawn_where_nothing_happened():
    assert get_chart(AuditEntry.objects.all(), NOW) is None
    make("2025-01-01T10:00")
    assert get_chart(AuditEntry.objects.all(), NOW) is None


def test_of_many_entries_the_keys_tell_about_how_many_a_day_had(monkeypatch):
    make(
        "2026-03-01T10:00",
        *["2026-03-10T10:00"] * 3,
        *["2026-03-11T10:00"] * 5,
        *["2026-04-02T10:00"] * 2,
    )
    exact = get_counts()
    monkeypatch.setattr(chart, "EXACT", 9)
    assert get_counts() == exact == {"2026-03-10": 3, "2026-03-11": 5, "2026-04-02": 2}
    assert not get_chart(AuditEntry.objects.all(), NOW).is_exact
    monkeypatch.setattr(chart, "EXACT", 10)
    assert get_chart(AuditEntry.objects.all(), NOW).is_exact


def test_keys_in_another_order_than_their_times_do_no_harm(monkeypatch):
    monkeypatch.setattr(chart, "EXACT", 1)
    make("2026-04-02T10:00", "2026-03-10T10:00", "2026-03-20T10:00")
    assert min(get_counts().values()) > 0


def test_the_busiest_day_is_as_high_as_the_drawing_and_no_day_is_lost():
    make(*["2026-03-10T10:00"] * 200, "2026-03-11T10:00")
    found = get_chart(AuditEntry.objects.all(), NOW)
    heights = {str(bar.day): bar.height for bar in found.bars if bar.height}
    assert heights == {"2026-03-10": HEIGHT, "2026-03-11": 1}
    assert all(bar.y + bar.height == HEIGHT for bar in found.bars)


def test_dates_without_a_zone_are_drawn_too(settings):
    settings.USE_TZ = False
    AuditEntry.objects.create(action="create", at=datetime.datetime(2026, 4, 2, 10))
    assert get_chart(AuditEntry.objects.all(), datetime.datetime(2026, 4, 2, 11)).total == 1


# On the page


def test_the_list_shows_it_with_a_table_for_those_who_cannot_see_it(root):
    make_entry({})
    make_entry({}, at=timezone.now() - datetime.timedelta(days=3))
    response = get_list(root)
    html, text = response.content.decode(), get_text(response)
    today = timezone.localdate()
    assert "2 entries in the last 30 days" in text
    assert "Entries a day, as a table Day Entries" in text
    assert f"{today} 1 " in text
    svg = re.search(r"<svg viewBox.*?</svg>", html, re.DOTALL)[0]
    assert svg.count("<rect") == 30
    label = re.search(r'aria-labelledby="(\S+) (\S+)"', svg)
    assert f'<title id="{label[1]}">' in svg
    assert f'<desc id="{label[2]}">' in svg
    parser = Inline()
    parser.feed(html)
    assert parser.found == []


def test_a_day_of_the_table_leads_to_its_entries(root):
    entry = make_entry({}, at=timezone.now() - datetime.timedelta(days=3))
    make_entry({})
    ((url, _),) = (
        (url, bar)
        for url, bar in get_list(root).context["days"]
        if bar.day == timezone.localdate(entry.at)
    )
    response = root.get(url)
    assert [found.pk for found in response.context["cl"].result_list] == [entry.pk]


@pytest.mark.parametrize(
    "params", [{"actor": 1}, {"q": "7"}, {"before": 10**6}, {"action__exact": "update"}]
)
def test_a_part_of_the_list_has_none(root, params):
    make_entry({})
    assert get_keys(root, **params) is not None
    assert "<figure" not in get_list(root, **params).content.decode()


def test_about_as_many_is_said_where_nobody_counted(root, monkeypatch):
    monkeypatch.setattr(chart, "EXACT", 1)
    for _ in range(3):
        make_entry({})
    assert "About 3 entries in the last 30 days" in get_text(get_list(root))


def test_a_long_log_is_not_counted(long_log, django_assert_num_queries, monkeypatch):
    # One a minute: 43,200 in thirty days.
    now = datetime.datetime(2020, 5, 15, 12, tzinfo=datetime.UTC)
    with CaptureQueriesContext(connection) as queries:
        found = get_chart(AuditEntry.objects.all(), now)
    assert not found.is_exact
    # The night of the last Sunday of March is not among them: each day has its 1,440 minutes.
    assert {bar.count for bar in found.bars[:-1]} == {1_440}
    nodes = get_plans(queries)
    assert not has_seq_scan(nodes)
    assert get_scanned(nodes) <= chart.EXACT + 100
