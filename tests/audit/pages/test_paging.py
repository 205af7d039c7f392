"""Pages by key hold every entry once, in whatever direction they are turned."""

from __future__ import annotations

import datetime
import random
from typing import Any

import pytest

from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.audit.pages.paging import ByKey, ByTime, Cursor, Pager, Sorted

pytestmark = pytest.mark.django_db

START = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)


@pytest.fixture
def entries() -> Any:
    """Forty entries whose times are not in the order of their keys, some of them equal."""
    chance = random.Random("entries")
    AuditEntry.objects.bulk_create(
        AuditEntry(
            action=chance.choice(["create", "update", "update", "delete"]),
            at=START + datetime.timedelta(minutes=number // 3 + chance.randint(0, 4)),
        )
        for number in range(40)
    )
    # As if some had been pruned.
    keys = list(AuditEntry.objects.values_list("pk", flat=True))
    AuditEntry.objects.filter(pk__in=[keys[3], keys[11], keys[12]]).delete()
    return AuditEntry.objects.all()


def get_orders(entries: Any) -> list[ByKey]:
    return [ByKey(), Sorted(), ByTime(entries)]


def get_expected(entries: Any, order: ByKey) -> list[int]:
    found = list(entries)
    if isinstance(order, ByTime):
        found.sort(key=lambda entry: (entry.at, entry.pk), reverse=True)
    else:
        found.sort(key=lambda entry: entry.pk, reverse=True)
    return [entry.pk for entry in found]


def walk_back(pager: Pager) -> tuple[list[int], Any]:
    """All keys from the newest to the oldest page, and the last page."""
    page = pager.get_page(Cursor())
    assert page.newer is None
    keys = [entry.pk for entry in page.entries]
    for _ in range(200):
        if page.older is None:
            return keys, page
        page = pager.get_page(Cursor(before=page.older))
        keys += [entry.pk for entry in page.entries]
    raise AssertionError("There is no end of pages.")


def walk_forth(pager: Pager, page: Any) -> list[int]:
    """All keys from ``page`` to the newest one, each page's in front of those before it."""
    keys = [entry.pk for entry in page.entries]
    for _ in range(200):
        if page.newer is None:
            return keys
        page = pager.get_page(Cursor(after=page.newer))
        # The newest page is always full, so it may begin with what was there before.
        keys = [entry.pk for entry in page.entries if entry.pk not in keys] + keys
    raise AssertionError("There is no end of pages.")


@pytest.mark.parametrize("size", [1, 2, 7, 36, 37, 38, 100])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_every_entry_is_on_one_page_there_and_back(entries, size, which):
    order = get_orders(entries)[which]
    pager = Pager(entries, size, order)
    keys, last = walk_back(pager)
    assert keys == get_expected(entries, order)
    assert walk_forth(pager, last) == keys


@pytest.mark.parametrize("action", ["delete", "update", "login"])
@pytest.mark.parametrize("reach", [1, 3, 10, 37, 50])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_looking_through_a_part_at_a_time_misses_nothing(entries, action, reach, which):
    order = get_orders(entries)[which]
    found = entries.filter(action=action)
    pager = Pager(found, 4, order, scope=entries, reach=reach)
    keys, last = walk_back(pager)
    assert keys == get_expected(found, order)
    assert walk_forth(pager, last) == keys


def test_a_page_looks_no_further_than_it_may(entries):
    pager = Pager(entries.filter(action="login"), 4, ByKey(), scope=entries, reach=10)
    page = pager.get_page(Cursor())
    assert (page.entries, page.is_cut) == ([], True)
    assert page.older == get_expected(entries, ByKey())[9]


def test_the_newest_page_is_full_whatever_led_to_it(entries):
    keys = get_expected(entries, ByKey())
    page = Pager(entries, 10, ByKey()).get_page(Cursor(after=keys[4]))
    assert [entry.pk for entry in page.entries] == keys[:10]
    assert page.newer is None


def test_where_nothing_is_left_the_way_leads_back(entries):
    keys = get_expected(entries, ByKey())
    pager = Pager(entries, 5, ByKey())
    page = pager.get_page(Cursor(before=keys[-1]))
    assert (page.entries, page.older) == ([], None)
    page = pager.get_page(Cursor(after=page.newer))
    assert [entry.pk for entry in page.entries] == keys[-5:]


@pytest.mark.parametrize("older", [True, False])
def test_an_entry_that_is_gone_still_marks_the_place(entries, older):
    keys = get_expected(entries, ByTime(entries))
    gone = next(key for key in range(min(keys), max(keys)) if key not in keys)
    cursor = Cursor(before=gone) if older else Cursor(after=gone)
    page = Pager(entries, 100, ByTime(entries)).get_page(cursor)
    assert 0 < len(page.entries) <= len(keys)


def test_the_cursor_is_read_from_the_address():
    assert Cursor.read({}) == Cursor()
    assert Cursor.read({"before": "7", "after": "9"}) == Cursor(before=7)
    assert Cursor.read({"after": "0"}) == Cursor(after=0)


@pytest.mark.parametrize("text", ["", "abc", "-1", "1.5", str(2**63), "9" * 5000])
def test_what_is_no_key_is_no_cursor(text):
    with pytest.raises(ValueError):
        Cursor.read({"before": text})
