"""One request, one story: its entries stand together, whatever the number of its units."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import path, reverse
from django.utils import timezone

from django_signal_kit import batch, context
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.audit.pages import together
from django_signal_kit.audit.pages.requests import get_request
from tests.apps.testapp.models import Product
from tests.audit.browsing import get_text
from tests.audit.history_site import urlpatterns as pages
from tests.audit.plans import get_plans, get_scanned, has_seq_scan
from tests.factories import ProductFactory, TagFactory, UserFactory

LIST = "admin:signal_kit_audit_auditentry_changelist"
PAGE = "admin:signal_kit_audit_auditentry_change"

pytestmark = [
    pytest.mark.django_db(databases=["default", "other"]),
    pytest.mark.urls(__name__),
    pytest.mark.usefixtures("log"),
]


def edit(request: HttpRequest, pk: int) -> HttpResponse:
    """As many units as it has writes."""
    product = Product.objects.get(pk=pk)
    product.name = f"{product.name}!"
    product.save()
    product.tags.add(TagFactory())
    Product.objects.filter(pk=pk).update(price=F("price") + 1)
    return HttpResponse()


urlpatterns = [*pages, path("edit/<int:pk>/", edit)]


def get_page(client: Any, entry: Any) -> Any:
    return client.get(reverse(PAGE, args=[entry.pk]))


def get_together(client: Any, entry: Any) -> list[str]:
    rows = get_page(client, entry).context["together_rows"]
    return [row["url"].split("/")[-3] for row in rows]


def get_groups(client: Any, product: Any) -> Any:
    page = reverse("admin:testapp_product_history", args=[product.pk])
    return client.get(page).context["groups"]


def get_sizes(client: Any, product: Any) -> list[int]:
    return [len(group.lines) for group in get_groups(client, product)]


def keys(**conditions: Any) -> list[str]:
    found = AuditEntry.objects.filter(**conditions).order_by("pk")
    return [str(pk) for pk in found.values_list("pk", flat=True)]


def tell(request_id: str = "id-of-one", **more: Any) -> Any:
    return context(request_id=request_id, **{"method": "POST", "path": "/a/", "ip": "::1", **more})


def test_what_one_request_does_in_many_units_is_shown_together(root: Any) -> None:
    product = ProductFactory()
    client = Client()
    client.get(f"/edit/{product.pk}/")
    client.get(f"/edit/{product.pk}/")
    assert get_sizes(root, product) == [3, 3, 1]
    first, second = sorted(
        set(
            AuditEntry.objects.values_list("context__request_id", flat=True).exclude(
                context__request_id=None
            )
        )
    )
    for request_id in (first, second):
        mine = keys(context__request_id=request_id)
        entry = AuditEntry.objects.get(pk=mine[1])
        assert AuditEntry.objects.filter(unit=entry.unit).count() == 1
        assert get_together(root, entry) == [key for key in mine if key != str(entry.pk)]
        text = get_text(get_page(root, entry))
        assert "Everything saved together" in text
        assert "All entries of this request" in text


def test_the_list_has_all_of_a_request_and_says_so(root: Any) -> None:
    with tell():
        TagFactory.create_batch(3)
    with tell("id-of-another"):
        TagFactory()
    entry = AuditEntry.objects.order_by("pk")[1]
    response = root.get(get_page(root, entry).context["request_url"])
    found = sorted(entry.pk for entry in response.context["cl"].result_list)
    assert [str(pk) for pk in found] == keys(context__request_id="id-of-one")
    assert "Everything in the request id-of-one Show all" in get_text(response)
    [(_, _, others)] = response.context["cl"].get_narrowings()
    assert len(root.get(f"{reverse(LIST)}{others}").context["cl"].result_list) == 4


def test_a_request_is_looked_for_where_it_was_and_not_along_the_log(root: Any) -> None:
    with tell():
        TagFactory()
    AuditEntry.objects.update(at=timezone.now() - datetime.timedelta(days=900))
    with tell():
        TagFactory()
    entry = AuditEntry.objects.order_by("pk")[0]
    response = root.get(get_page(root, entry).context["request_url"])
    assert [found.pk for found in response.context["cl"].result_list] == [entry.pk]


def test_a_unit_within_a_request_is_part_of_it(root: Any) -> None:
    with tell():
        product = ProductFactory()
        with batch():
            product.tags.add(TagFactory())
            product.lines.create(text="a")
    assert get_sizes(root, product) == [3]  # With the line, which is in an inline.
    [group] = get_groups(root, product)
    assert group.in_request


def test_two_people_in_one_request_are_two_groups(root: Any) -> None:
    product = ProductFactory()
    with tell(actor=UserFactory(username="ann")):
        Product.objects.update(price=1)
    with tell(actor=UserFactory(username="bo")):
        Product.objects.update(price=2)
    assert [group.who for group in get_groups(root, product)] == ["bo", "ann", ""]


@pytest.mark.parametrize("other", [{"path": "/b/"}, {"ip": "::2"}, {"method": "PUT"}])
def test_an_id_that_a_client_sends_again_makes_no_story_of_two_requests(
    root: Any, other: dict[str, str]
) -> None:
    with tell():
        product = ProductFactory()
    with tell(**other):
        Product.objects.update(price=1)
    assert get_sizes(root, product) == [1, 1]
    assert get_together(root, AuditEntry.objects.latest("pk")) == []


@pytest.mark.parametrize("request_id", [None, "", 7, ["x"], {"a": 1}, True])
def test_what_is_no_id_tells_of_no_request(root: Any, request_id: Any) -> None:
    with context(request_id=request_id):
        product = ProductFactory()
        Product.objects.update(price=1)
    entry = AuditEntry.objects.latest("pk")
    assert get_request(entry) is None
    assert get_sizes(root, product) == [1, 1]
    assert get_page(root, entry).context["request_url"] is None


def test_a_context_that_is_no_mapping_tells_of_no_request() -> None:
    assert get_request(AuditEntry(context=["request_id"])) is None


def test_a_line_says_when_it_was_if_the_group_does_not(root: Any) -> None:
    with tell():
        product = ProductFactory()
        Product.objects.update(price=1)
        Product.objects.update(price=2)
    now = timezone.now().replace(microsecond=5)
    for seconds, entry in zip((90, 0, 0), AuditEntry.objects.order_by("pk"), strict=True):
        at = now - datetime.timedelta(seconds=seconds)
        AuditEntry.objects.filter(pk=entry.pk).update(at=at)
    [group] = get_groups(root, product)
    assert [bool(line.when) for line in group.lines] == [False, False, True]


def test_the_nearest_of_a_long_request_are_shown(root: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(together, "MOST", 4)
    with tell():
        TagFactory.create_batch(9)
    found = keys()
    for place, expected in (
        (4, found[2:4] + found[5:7]),
        (0, found[1:5]),
        (8, found[4:8]),
        (1, [found[0], *found[2:5]]),
    ):
        entry = AuditEntry.objects.get(pk=found[place])
        assert get_together(root, entry) == expected
        assert "The nearest 4 are shown." in get_text(get_page(root, entry))


def test_so_far_and_no_further_is_looked_for_a_request(root: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(together, "NEAR", 3)
    with tell():
        TagFactory()
    TagFactory.create_batch(2)
    with tell():
        TagFactory()
    assert len(get_together(root, AuditEntry.objects.latest("pk"))) == 1
    TagFactory()
    with tell():
        TagFactory()
    assert len(get_together(root, AuditEntry.objects.latest("pk"))) == 1
    with tell(), batch():
        TagFactory()
        TagFactory.create_batch(5)
    # Those of the same unit are found however far they are.
    assert len(get_together(root, AuditEntry.objects.latest("pk"))) == 5


def test_an_entry_without_unit_or_request_stands_alone() -> None:
    ProductFactory()
    found = together.get_together(AuditEntry.objects.all(), AuditEntry(pk=1, context={}))
    assert found == together.Together([])


# In a long log; whoever comes after these sees it


@pytest.mark.parametrize("key", [1, 100_000, 200_000])
def test_a_request_is_looked_for_in_a_part_of_the_log(long_log: None, key: int) -> None:
    entry = AuditEntry.objects.get(pk=key)
    entry.context = {"request_id": "a-request", "method": "POST", "path": "/", "ip": "::1"}
    with CaptureQueriesContext(connection) as queries:
        assert together.get_together(AuditEntry.objects.all(), entry) is not None
    nodes = get_plans(queries)
    assert not has_seq_scan(nodes)
    assert get_scanned(nodes) <= 2 * together.NEAR + 200
