"""The list of entries stays as fast as it was on the first day."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from django_signal_kit.audit.admin import AuditEntryAdmin
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.audit.pages import changelist, paging
from tests.audit.browsing import LIST, get_keys, get_list, get_text
from tests.audit.plans import get_indexes, get_plans, get_scanned, has_seq_scan
from tests.benchmarks.fill_audit_log import KINDS
from tests.factories import PersonFactory, UserFactory

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("log")]


@pytest.fixture
def by_two(monkeypatch: Any) -> None:
    monkeypatch.setattr(AuditEntryAdmin, "list_per_page", 2)


def get_links(response: Any) -> dict[str, str]:
    """The links between pages by what they are called."""
    html = response.content.decode()
    nav = re.search(r'<nav class="signal-kit-pages".*?</nav>', html, re.DOTALL)
    found = re.findall(r'<a href="([^"]*)"[^>]*>(.*?)</a>', nav[0], re.DOTALL) if nav else []
    return {re.sub(r"<.*?>|\W", "", text): url.replace("&amp;", "&") for url, text in found}


def follow(client: Any, url: str) -> Any:
    response = client.get(f"{reverse(LIST)}{url}")
    assert response.status_code == 200
    return response


def keys_of(response: Any) -> list[int]:
    return [entry.pk for entry in response.context["cl"].result_list]


def test_the_list_is_turned_by_key(root, by_two):
    for _ in range(5):
        PersonFactory()
    newest = list(AuditEntry.objects.values_list("pk", flat=True))
    response = get_list(root)
    assert keys_of(response) == newest[:2]
    assert get_links(response) == {"Older": f"?before={newest[1]}"}
    response = follow(root, get_links(response)["Older"])
    assert keys_of(response) == newest[2:4]
    links = get_links(response)
    assert links == {
        "Newest": "?",
        "Newer": f"?after={newest[2]}",
        "Older": f"?before={newest[3]}",
    }
    assert keys_of(follow(root, links["Newer"])) == newest[:2]
    response = follow(root, links["Older"])
    assert keys_of(response) == newest[4:]
    assert "Older" not in get_links(response)


def test_a_short_list_has_no_pages(root):
    PersonFactory()
    assert get_links(get_list(root)) == {}


def test_what_the_list_is_narrowed_to_is_kept_on_its_pages_and_pages_are_not_kept_by_filters(
    root, by_two
):
    for _ in range(5):
        PersonFactory()
    response = get_list(root, action__exact="create")
    older = get_links(response)["Older"]
    assert older.startswith("?action__exact=create&before=")
    html = follow(root, older).content.decode()
    filters = re.search(r'id="changelist-filter".*', html, re.DOTALL)[0]
    assert "before=" not in filters.split('id="changelist-form"')[0].split("<footer")[0]
    assert 'type="hidden" name="before"' not in html


@pytest.mark.parametrize("cursor", [{"before": "x"}, {"after": "-3"}, {"before": "9" * 30}])
def test_a_page_that_cannot_be_leads_back_to_the_list(root, cursor):
    response = root.get(reverse(LIST), cursor)
    assert (response.status_code, response["Location"]) == (302, f"{reverse(LIST)}?e=1")


def test_pages_by_number_are_no_longer_known_and_harmless(root):
    PersonFactory()
    assert len(get_keys(root, p=99)) == 1
    assert len(get_keys(root, all="")) == 1


def test_a_filter_without_an_index_looks_through_a_part_and_says_so(root, by_two, monkeypatch):
    monkeypatch.setattr(changelist.EntryChangeList, "reach", 3)
    old = AuditEntry.objects.create(action="login")
    for _ in range(5):
        PersonFactory()
    response = get_list(root, action__exact="login")
    assert keys_of(response) == []
    assert "Only a part of the log was looked through" in get_text(response)
    response = follow(root, get_links(response)["Older"])
    assert keys_of(response) == [old.pk]
    assert "Only a part" not in get_text(response)


def test_a_rare_kind_is_found_at_once_and_a_frequent_one_along_the_log(root, by_two, monkeypatch):
    monkeypatch.setattr(changelist.EntryChangeList, "reach", 3)
    kind = ContentType.objects.create(app_label="an_app", model="a_thing")
    old = AuditEntry.objects.create(action="create", content_type=kind, object_pk="1")
    for _ in range(5):
        PersonFactory()
    assert get_keys(root, content_type=kind.pk) == [old.pk]
    monkeypatch.setattr(changelist, "RARE", 0)
    assert get_keys(root, content_type=kind.pk) == []


def test_several_values_of_one_parameter_hide_nothing(root):
    users = [UserFactory() for _ in range(3)]
    entries = [AuditEntry.objects.create(action="login", actor=user) for user in users]
    response = root.get(f"{reverse(LIST)}?actor={users[0].pk}&actor={users[1].pk}")
    assert keys_of(response) == [entries[1].pk, entries[0].pk]


def test_several_persons_are_looked_for_in_a_part(root, monkeypatch):
    monkeypatch.setattr(changelist.EntryChangeList, "reach", 3)
    one, other = UserFactory(), UserFactory()
    AuditEntry.objects.create(action="login", actor=one)
    for _ in range(5):
        PersonFactory()
    response = root.get(f"{reverse(LIST)}?actor={one.pk}&actor={other.pk}")
    assert keys_of(response) == []
    assert response.context["cl"].page.is_cut


def test_a_list_of_dates_is_in_the_order_of_time(root):
    later, earlier = (
        AuditEntry.objects.create(action="login", at=f"2026-03-0{day} 12:00:00+00:00")
        for day in (2, 1)
    )
    keys = get_keys(root, at__gte="2026-03-01 00:00:00+00:00", at__lt="2026-03-03 00:00:00+00:00")
    assert keys == [later.pk, earlier.pk]
    assert get_keys(root) == [earlier.pk, later.pk]


def test_a_found_key_is_said_and_can_be_left(root):
    person = PersonFactory()
    response = get_list(root, q=f" {person.pk} ")
    assert f"Found by the key {person.pk} Show all" in get_text(response)
    assert get_list(root, q="  ").context["cl"].get_narrowings() == []


NARROWED: list[dict[str, Any]] = [
    {},
    {"action__exact": "delete"},
    {"content_type": 1},
    {"content_type": 1, "object_pk": "7"},
    {"actor": 1},
    {"actor": 1, "action__exact": "delete"},
    {"unit": "00000000-0000-0000-0000-000000000001"},
    {"at__gte": "2026-01-01 00:00:00+00:00"},
    {"q": "7"},
]


@pytest.mark.parametrize("params", NARROWED, ids=str)
def test_nothing_is_counted_skipped_or_made_distinct(root, params):
    PersonFactory()
    with CaptureQueriesContext(connection) as queries:
        get_list(root, **params)
    for query in queries:
        sql = query["sql"].upper()
        assert "DISTINCT" not in sql
        if "AUDITENTRY" not in sql:
            continue
        # A count or an offset only as far as an index is walked.
        if "COUNT(" in sql:
            assert f"LIMIT {changelist.RARE + 1}" in sql
        if "OFFSET" in sql:
            assert f"OFFSET {paging.REACH - 1}" in sql


# On a long log


def ask(client: Any, params: dict[str, Any]) -> tuple[list[int], list[dict[str, Any]]]:
    """The keys that the list shows, and the plans of its queries."""
    if "content_type" in params:
        first = ContentType.objects.get_by_natural_key(*KINDS[0]).pk
        params = {**params, "content_type": first}
    with CaptureQueriesContext(connection) as queries:
        keys = get_keys(client, **params)
    return keys, get_plans(queries)


@pytest.mark.parametrize(
    ("params", "index", "most"),
    [
        ({}, "signal_kit_audit", 200),
        ({"before": 100_000}, "signal_kit_audit", 200),
        ({"after": 100_000}, "signal_kit_audit", 200),
        ({"content_type": "first", "object_pk": "7"}, "signal_kit__content", 1_000),
        ({"content_type": "first", "object_pk": "7", "before": 99_000}, "signal_kit__c", 1_000),
        ({"actor": 7}, "signal_kit__actor_i", 200),
        ({"actor": 7, "before": 100_000}, "signal_kit__actor_i", 200),
        ({"unit": "00000000-0000-7000-8000-000000000007"}, "signal_kit__unit", 200),
        ({"at__lt": "2020-01-02 00:00:00+00:00"}, "signal_kit__at", 2_000),
        ({"at__lt": "2020-01-02 00:00:00+00:00", "before": 900}, "signal_kit_", 3_000),
        ({"q": "7"}, "signal_kit__content", 500),
    ],
    ids=str,
)
def test_a_list_is_read_through_an_index(root, long_log, params, index, most):
    keys, nodes = ask(root, params)
    assert keys
    assert not has_seq_scan(nodes)
    assert any(found.startswith(index) for found in get_indexes(nodes)), get_indexes(nodes)
    assert get_scanned(nodes) <= most


@pytest.mark.parametrize(
    "params",
    [
        {"action__exact": "login_failed"},
        {"action__exact": "login_failed", "before": 150_000},
        {"action__exact": "login_failed", "actor": 7},
        {"action__exact": "login_failed", "at__gte": "2020-01-01 00:00:00+00:00"},
        {"content_type": "first", "action__exact": "login_failed"},
    ],
    ids=str,
)
def test_what_no_index_finds_is_looked_for_in_a_part(root, long_log, params, monkeypatch):
    reach = 1_000
    monkeypatch.setattr(changelist.EntryChangeList, "reach", reach)
    keys, nodes = ask(root, params)
    assert keys == []
    # Once to see how far, and once to look; and the kind's index to see that it is no rare one.
    assert get_scanned(nodes) <= 2 * reach + 200 + changelist.RARE + 1
