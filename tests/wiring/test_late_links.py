"""Links of which receivers are told, with models that come after the wiring."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.cache import cache
from django.db import models

from django_signal_kit.apps import wire as wire_now
from django_signal_kit.receivers import AuditLog, CacheInvalidation
from django_signal_kit.wiring.registry import registry
from django_signal_kit.writes import links
from tests.apps.relations.models import Article, Meeting, Player, Seat
from tests.apps.testapp.models import Product, Tag
from tests.relations.linking import AUTOMATIC, THROUGH, Told

pytestmark = pytest.mark.django_db(transaction=True)


def make_shelf(make_model: Any) -> tuple[Any, Any]:
    shelf = make_model("LateShelf", models.Model)
    place = make_model(
        "LatePlace",
        models.Model,
        shelf=models.ForeignKey(shelf, models.CASCADE),
        tag=models.ForeignKey(Tag, models.CASCADE),
    )
    field: Any = models.ManyToManyField(Tag, through=place, related_name="late_shelves")
    shelf.add_to_class("tags", field)
    return shelf, place


def test_rows_of_a_later_through_model_are_links(wire: Any, make_model: Any) -> None:
    told = wire((Told, {"models": ["testapp.*"]}))
    shelf, place = make_shelf(make_model)
    row, tag = shelf.objects.create(), Tag.objects.create(name="t")
    place.objects.create(shelf=row, tag=tag)
    place.objects.all().delete()
    assert [action for _, action, _ in told.told] == ["add", "remove"]


def test_the_other_side_of_a_later_through_model_hears_of_its_rows(
    wire: Any, make_model: Any
) -> None:
    wire((CacheInvalidation, {"models": [Tag], "keys": ["tag:{pk}"]}))
    shelf, place = make_shelf(make_model)
    row, tag = shelf.objects.create(), Tag.objects.create(name="t")
    for write in (
        lambda: place.objects.bulk_create([place(shelf=row, tag=tag)]),
        lambda: place.objects.all().delete(),
        lambda: place.objects.bulk_create([place(shelf=row, tag=tag)]),
        row.delete,
    ):
        cache.set(f"tag:{tag.pk}", "page")
        write()
        assert cache.get(f"tag:{tag.pk}") is None


def test_rows_of_a_later_proxy_of_a_through_model_are_links(wire: Any, make_model: Any) -> None:
    told = wire(Told)
    proxy = make_model("LateSeat", Seat, meta={"proxy": True})
    meeting, player = Meeting.objects.create(), Player.objects.create()
    seat = proxy.objects.create(meeting=meeting, guest=player)
    assert told.take(THROUGH) == [("add", (meeting.pk, player.pk))]
    other = Player.objects.create()
    proxy.objects.filter(pk=seat.pk).update(guest=other)
    assert told.take(THROUGH) == [
        ("remove", (meeting.pk, player.pk)),
        ("add", (meeting.pk, other.pk)),
    ]


def test_nothing_is_told_of_links_when_nothing_is_wired(wire: Any) -> None:
    told = wire(Told)
    assert AUTOMATIC.through in links.heard
    registry.disconnect()
    assert links.heard == {}
    AUTOMATIC.add("row", *AUTOMATIC.make_ends())
    assert told.told == []
    wire((Told, {"models": [Article]}))
    assert links.heard.keys() == {AUTOMATIC.through}
    wire((AuditLog, {"models": [Product]}))
    assert AUTOMATIC.through not in links.heard
    wire_now()
    assert Product.tags.through in links.heard
