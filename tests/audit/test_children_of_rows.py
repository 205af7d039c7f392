"""A multi-table child that is made of a row that was there: the parent's part is an update."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, models
from django.db.models.signals import pre_save
from django.test.utils import CaptureQueriesContext

from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.audit.reverting import RevertError
from django_signal_kit.receivers import AuditLog
from tests.apps.testapp.models import Place, Restaurant

pytestmark = pytest.mark.django_db(transaction=True)

ALL = {"models": ["testapp.*"]}


@pytest.fixture
def place() -> Place:
    return Place.objects.create(name="plain")


def told(*names: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Action, model and what is told of the fields ``names``, the oldest entry first."""
    return [
        (
            entry.action,
            entry.content_type.model,
            {name: change for name, change in entry.changes.items() if name in names},
        )
        for entry in AuditEntry.objects.order_by("pk")
    ]


SAVES: dict[str, Callable[[Place], Any]] = {
    "save()": lambda place: Restaurant(place_ptr=place, name="prom").save(),
    "by its key": lambda place: Restaurant(pk=place.pk, name="prom").save(),
    "by the parent's": lambda place: Restaurant(id=place.pk, name="prom").save(),
    "create()": lambda place: Restaurant.objects.create(place_ptr=place, name="prom"),
}


@pytest.mark.parametrize("options", [{}, {"on_error": "log"}], ids=["raise", "log"])
@pytest.mark.parametrize("save", SAVES.values(), ids=SAVES)
def test_the_parents_old_values_are_told(
    wire: Any, place: Place, save: Callable[[Place], Any], options: dict[str, str]
) -> None:
    wire((AuditLog, ALL | options))
    save(place)
    assert told("name") == [
        ("update", "place", {"name": ["plain", "prom"]}),
        ("create", "restaurant", {"name": [None, "prom"]}),
    ]
    update, create = AuditEntry.objects.order_by("pk")
    assert (update.object_pk, update.object_text) == (str(place.pk), "prom")
    assert update.unit == create.unit


def test_what_others_write_before_the_statement_is_old(wire: Any, place: Place) -> None:
    wire((AuditLog, ALL))

    def rename(instance: Any, **kwargs: Any) -> None:
        Place.objects.filter(pk=place.pk).update(name="between")

    pre_save.connect(rename, Restaurant)
    try:
        Restaurant(place_ptr=place, name="prom").save()
    finally:
        pre_save.disconnect(rename, Restaurant)
    assert told("name") == [
        ("update", "place", {"name": ["plain", "between"]}),
        ("update", "place", {"name": ["between", "prom"]}),
        ("create", "restaurant", {"name": [None, "prom"]}),
    ]


def test_a_parent_that_stays_as_it_was_has_no_entry(wire: Any, place: Place) -> None:
    wire((AuditLog, ALL))
    Restaurant(place_ptr=place, name="plain").save()
    assert told() == [("create", "restaurant", {})]


def test_a_parent_that_is_not_covered_has_no_entry(wire: Any, place: Place) -> None:
    wire((AuditLog, {"models": ["testapp.Restaurant"]}))
    Restaurant(place_ptr=place, name="prom").save()
    assert told() == [("create", "restaurant", {})]


def test_a_child_with_parents_of_its_own_asks_for_none(wire: Any) -> None:
    wire((AuditLog, ALL))
    with CaptureQueriesContext(connection) as queries:
        Restaurant.objects.create(name="new")
    assert not [query for query in queries if "SELECT" in query["sql"] and "place" in query["sql"]]
    assert told("name") == [("create", "restaurant", {"name": [None, "new"]})]


def test_the_nearest_rows_that_were_there_are_told(wire: Any, make_model: Any) -> None:
    def text() -> Any:
        return models.CharField(max_length=9, default="")

    def link(parent: Any, **more: Any) -> Any:
        return models.OneToOneField(
            parent, models.CASCADE, parent_link=True, related_name="+", **more
        )

    base = models.Model
    offer = make_model("Offer", base, name=text())
    sheet = make_model("Sheet", base, number=models.AutoField(primary_key=True), title=text())
    paper = make_model("Paper", sheet, colour=text())
    deal = link(offer, primary_key=True)
    voucher = make_model("Voucher", offer, paper, deal=deal, printed=link(paper), code=text())
    wire((AuditLog, ALL))
    offer.objects.create(name="filler")
    one, two = sheet.objects.create(title="a"), offer.objects.create(name="b")
    AuditEntry.objects.all().delete()
    voucher(number=one.pk, deal_id=two.pk, title="A", name="B").save()
    new = ("create", "voucher", {"title": [None, "A"], "name": [None, "B"]})
    assert told("title", "name")[-1] == new
    assert sorted(told("title", "name")[:-1], key=str) == [
        ("update", "offer", {"name": ["b", "B"]}),
        ("update", "sheet", {"title": ["a", "A"]}),
    ]


@pytest.mark.parametrize("name", ["plain", "prom"])
def test_to_revert_the_child_does_not_take_its_parent_along(wire: Any, name: str) -> None:
    wire((AuditLog, ALL))
    place = Place.objects.create(name="plain")
    Restaurant(place_ptr=place, name=name).save()
    entry = AuditEntry.objects.latest("pk")
    with pytest.raises(RevertError, match=r"of a row of testapp\.Place that was there before it"):
        entry.revert()
    assert Restaurant.objects.count() == Place.objects.count() == 1
    entry.revert(force=True)
    assert Place.objects.count() == 0


def test_to_revert_a_child_takes_its_own_parent_along(wire: Any) -> None:
    wire((AuditLog, ALL))
    gone = Restaurant.objects.create(name="a")
    key = gone.pk
    gone.delete()
    # Of the very key, which a database may give again.
    Restaurant(pk=key, name="b").save()
    AuditEntry.objects.latest("pk").revert()
    assert Place.objects.count() == 0
