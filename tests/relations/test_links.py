"""However a link is made or ends, each receiver is told of it, and once."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.db import connection
from django.db.models import CASCADE, CompositePrimaryKey, ForeignKey, ManyToManyField, Model
from django.test.utils import CaptureQueriesContext

from django_signal_kit import ModelReceiver
from django_signal_kit.receivers import (
    AuditLog,
    CacheInvalidation,
    M2MLimit,
    OrphanCleanup,
)
from django_signal_kit.writes.calls import tell_links_changed
from django_signal_kit.writes.links import LinkChange
from tests.apps.relations.models import Meeting, Player, Seat
from tests.apps.testapp.models import Tag
from tests.relations.linking import (
    ADDING,
    DELETED,
    ENDING,
    KINDS,
    SYMMETRICAL,
    THROUGH,
    TO_FIELD,
    Kind,
    Told,
)
from tests.relations.told import entries, forget

pytestmark = pytest.mark.django_db(transaction=True)

kinds = pytest.mark.parametrize("kind", KINDS, ids=repr)
adding = pytest.mark.parametrize("way", ADDING)
ending = pytest.mark.parametrize("way", ENDING)


def mirror(kind: Kind, way: str) -> bool:
    """Does it write the link of the other direction as well?"""
    return kind.symmetrical and way in ("call", "call of the other side", "set")


# What is told


@kinds
@adding
def test_a_link_that_is_made_is_told_once(wire: Any, kind: Kind, way: str) -> None:
    receiver = wire(Told)
    source, target = kind.make_ends()
    kind.add(way, source, target)
    wanted = [("add", kind.get_link(source, target))]
    if mirror(kind, way):
        wanted.append(("add", kind.get_link(target, source)))
    assert sorted(receiver.take(kind)) == sorted(wanted)


class Ahead(ModelReceiver):
    """Keeps which relation is told of, how, and how many rows there are then."""

    models = [Meeting, Player]
    m2m_changed = tell_links_changed

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.told: list[tuple[str, str, int]] = []

    def links_changed(self, change: LinkChange, using: str, **kwargs: Any) -> None:
        relation = change.relation
        self.told.append((relation.field.name, change.action, relation.through.objects.count()))


def test_what_a_call_does_to_another_relation_is_told_ahead_as_well(wire: Any) -> None:
    receiver = wire(Ahead)
    meeting, guest, host = (model.objects.create() for model in (Meeting, Player, Player))
    meeting.guests.add(guest, through_defaults={"host": host})
    assert sorted(receiver.told) == [
        ("guests", "add", 1),
        ("guests", "pre_add", 0),
        ("hosts", "add", 1),
        ("hosts", "pre_add", 0),
    ]


def test_the_missing_half_of_a_symmetrical_link_is_told_ahead_as_well(wire: Any) -> None:
    receiver = wire(Ahead)
    one, other = SYMMETRICAL.make_ends()
    SYMMETRICAL.row(one, other).save()
    receiver.told.clear()
    # The half that the call itself tells is there already.
    one.friends.add(other)
    assert receiver.told == [("friends", "pre_add", 1), ("friends", "add", 2)]


@kinds
@ending
def test_a_link_that_ends_is_told_once(wire: Any, kind: Kind, way: str) -> None:
    source, target = kind.make_ends()
    kind.add("call", source, target)
    receiver = wire(Told)
    before = set(kind.list_links())
    kind.end(way, source, target)
    gone = before - set(kind.list_links())
    assert gone
    assert sorted(receiver.take(kind)) == sorted(("remove", link) for link in gone)


# AuditLog


@kinds
@adding
def test_the_log_tells_of_a_new_link_once(wire: Any, kind: Kind, way: str) -> None:
    wire((AuditLog, {"models": list(set(kind.models))}))
    source, target = kind.make_ends()
    forget()
    kind.add(way, source, target)
    assert entries(source) == [("m2m_add", {kind.name: {"added": [target.pk]}})]
    if mirror(kind, way):
        assert entries(target) == [("m2m_add", {kind.name: {"added": [source.pk]}})]
    assert len(entries()) == 1 + mirror(kind, way)


@kinds
@ending
def test_the_log_tells_of_a_lost_link_once(wire: Any, kind: Kind, way: str) -> None:
    wire((AuditLog, {"models": list(set(kind.models))}))
    source, target = kind.make_ends()
    kind.row(source, target).save()
    pks = source.pk, target.pk
    forget()
    kind.end(way, source, target)
    action = "m2m_clear" if way.startswith("clear") else "m2m_remove"
    wanted = [(action, {kind.name: {"removed": [pks[1]]}})]
    told = [(entry, changes) for entry, changes in entries() if entry != "delete"]
    assert told == ([] if way == "end deleted" else wanted)
    assert [entry for entry, _ in entries()].count("delete") == (way in DELETED)


# CacheInvalidation


@kinds
@adding
def test_the_pages_of_both_ends_fall_with_a_new_link(wire: Any, kind: Kind, way: str) -> None:
    pages = wire_pages(wire, kind)
    source, target = kind.make_ends()
    keys = [pages[0].format(source.pk), pages[1].format(target.pk)]
    cache.set_many(dict.fromkeys(keys, "page"))
    kind.add(way, source, target)
    assert cache.get_many(keys) == {}


@kinds
@ending
def test_the_pages_of_both_ends_fall_with_a_lost_link(wire: Any, kind: Kind, way: str) -> None:
    pages = wire_pages(wire, kind)
    source, target = kind.make_ends()
    kind.row(source, target).save()
    keys = [pages[0].format(source.pk), pages[1].format(target.pk)]
    cache.set_many(dict.fromkeys(keys, "page"))
    kind.end(way, source, target)
    assert cache.get_many(keys) == {}


def wire_pages(wire: Any, kind: Kind) -> list[str]:
    wire(
        *(
            {
                "RECEIVER": "django_signal_kit.receivers.CacheInvalidation",
                "NAME": model.__name__,
                "OPTIONS": {"models": [model], "keys": [f"{model.__name__}:{{pk}}"]},
            }
            for model in dict.fromkeys(kind.models)
        )
    )
    return [f"{model.__name__}:{{}}" for model in kind.models]


def test_the_far_page_falls_if_its_key_is_no_primary_key(wire: Any) -> None:
    for kind in KINDS:
        wire((CacheInvalidation, {"models": [Player], "keys": ["player:{name}"]}))
        for end in (0, 1):
            if kind.models[end] is Player:
                source, target = kind.make_ends()
                Player.objects.filter(pk=(source, target)[end].pk).update(name="ann")
                cache.set("player:ann", "page")
                kind.row(source, target).save()
                assert cache.get("player:ann") is None, kind


# M2MCount


@kinds
@adding
def test_both_ends_count_a_new_link(wire: Any, kind: Kind, way: str) -> None:
    wire_counts(wire, kind)
    kind.add(way, *kind.make_ends())
    assert sum(check_counts(kind)) >= len(kind.counts)


@kinds
@ending
def test_both_ends_count_a_lost_link(wire: Any, kind: Kind, way: str) -> None:
    wire_counts(wire, kind)
    source, target = kind.make_ends()
    kind.add("call", source, target)
    assert sum(check_counts(kind)) >= len(kind.counts)
    kind.end(way, source, target)
    assert sum(check_counts(kind)) == (kind.symmetrical and way in ("row", "bulk"))


def wire_counts(wire: Any, kind: Kind) -> None:
    wire(
        *(
            {
                "RECEIVER": "django_signal_kit.receivers.M2MCount",
                "NAME": column,
                "OPTIONS": {
                    "models": [kind.models[end]],
                    "relation": kind.names[end],
                    "field": column,
                },
            }
            for end, column in enumerate(kind.counts)
        )
    )


def check_counts(kind: Kind) -> list[int]:
    found = []
    for end, column in enumerate(kind.counts):
        for row in kind.models[end].objects.all():
            number = kind.get_manager(row, end).count()
            assert (getattr(row, column) or 0) == number, (row.pk, column)
            found.append(number)
    return found


# M2MLimit


@kinds
@adding
@pytest.mark.parametrize("end", [0, 1])
def test_a_link_too_many_is_refused(wire: Any, kind: Kind, way: str, end: int) -> None:
    if (way == "set" and end == 0) or (kind.symmetrical and end == 1):
        pytest.skip("set() replaces what is there, and a symmetrical relation has one side.")
    limit = {"models": [kind.models[end]], "relation": kind.names[end], "maximum": 1}
    wire((M2MLimit, limit))
    ends = list(kind.make_ends())
    kind.add(way, *ends)
    before = sorted(kind.list_links())
    ends[1 - end] = kind.make(1 - end)
    with pytest.raises(ValidationError) as caught:
        kind.add(way, *ends)
    assert caught.value.code == "m2m_maximum"
    assert sorted(kind.list_links()) == before


@kinds
@ending
@pytest.mark.parametrize("end", [0, 1])
def test_the_last_link_is_not_given_up(wire: Any, kind: Kind, way: str, end: int) -> None:
    limit = {"models": [kind.models[end]], "relation": kind.names[end], "minimum": 1}
    wire((M2MLimit, limit))
    ends = kind.make_ends()
    kind.add("call", *ends)
    before = sorted(kind.list_links())
    if not kind.symmetrical and way in (DELETED[0:1], DELETED[1:])[end]:
        kind.end(way, *ends)
        assert kind.list_links() == []
        return
    with pytest.raises(ValidationError) as caught:
        kind.end(way, *ends)
    assert caught.value.code == "m2m_minimum"
    assert sorted(kind.list_links()) == before


# OrphanCleanup


@kinds
@ending
def test_what_has_lost_its_last_link_goes(wire: Any, kind: Kind, way: str) -> None:
    wire((OrphanCleanup, {"models": [kind.models[1]], "relations": [kind.label]}))
    source, target = kind.make_ends()
    kind.row(source, target).save()
    pk = target.pk
    kind.end(way, source, target)
    # A contract that has lost its player points to its team still.
    stays = kind is TO_FIELD and way == "end deleted"
    assert kind.models[1].objects.filter(pk=pk).exists() is stays


@kinds
@ending
def test_what_has_another_link_stays(wire: Any, kind: Kind, way: str) -> None:
    wire((OrphanCleanup, {"models": [kind.models[1]], "relations": [kind.label]}))
    source, target = kind.make_ends()
    pk = target.pk
    kind.row(source, target).save()
    kind.row(kind.make(0), target).save()
    kind.end(way, source, target)
    goes = way in DELETED[1:] or way == "clear of the other side"
    # What a symmetrical relation clears at one end is cleared at the other.
    assert kind.models[1].objects.filter(pk=pk).exists() is not goes


# Updates


def test_an_update_of_many_rows_tells_of_each_link(wire: Any) -> None:
    receiver = wire(Told)
    meeting, other = Meeting.objects.create(), Meeting.objects.create()
    players = Player.objects.bulk_create([Player() for _ in range(2500)])
    seats = Seat.objects.bulk_create([Seat(meeting=meeting, guest=one) for one in players])
    receiver.take(THROUGH)
    with CaptureQueriesContext(connection) as queries:
        assert Seat.objects.filter(meeting=meeting).update(meeting=other) == len(seats)
    updates = [query for query in queries if query["sql"].startswith("UPDATE")]
    assert len(updates) == 1
    told = receiver.take(THROUGH)
    wanted = [("add", (other.pk, one.pk)) for one in players]
    wanted += [("remove", (meeting.pk, one.pk)) for one in players]
    assert sorted(told) == sorted(wanted)


def test_a_bulk_update_tells_of_the_links_that_its_queryset_finds(wire: Any) -> None:
    receiver = wire(Told)
    meetings = [Meeting.objects.create() for _ in range(3)]
    player = Player.objects.create()
    seats = [Seat.objects.create(meeting=one, guest=player) for one in meetings[:2]]
    receiver.take(THROUGH)
    for seat in seats:
        seat.meeting = meetings[2]
    assert Seat.objects.filter(meeting=meetings[0]).bulk_update(seats, ["meeting"]) == 1
    assert receiver.take(THROUGH) == [
        ("remove", (meetings[0].pk, player.pk)),
        ("add", (meetings[2].pk, player.pk)),
    ]


def test_a_link_whose_key_changes_with_its_end_is_told(wire: Any, make_model: Any) -> None:
    box = make_model("LinkedBox", Model)
    place = make_model(
        "LinkedPlace",
        Model,
        pk=CompositePrimaryKey("box_id", "tag_id"),
        box=ForeignKey(box, CASCADE),
        tag=ForeignKey(Tag, CASCADE),
    )
    field: Any = ManyToManyField(Tag, through=place, related_name="+")
    box.add_to_class("tags", field)
    receiver = wire((Told, {"models": [box]}))
    row = box.objects.create()
    tags = [Tag.objects.create(name=name) for name in "abc"]
    place.objects.create(box=row, tag=tags[0])
    place.objects.create(box=row, tag=tags[1])
    receiver.told.clear()
    place.objects.filter(tag=tags[0]).update(tag=tags[2])
    assert [(action, link) for _, action, link in receiver.told] == [
        ("remove", (row.pk, tags[0].pk)),
        ("add", (row.pk, tags[2].pk)),
    ]
