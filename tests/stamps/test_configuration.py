"""What is wrong in the options of a LastModified is said before it does any harm."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import models

from django_signal_kit import context
from django_signal_kit.checks import check_signal_kit
from django_signal_kit.receivers import LastModified
from django_signal_kit.wiring.registry import registry
from tests.apps.orders.models import Customer, Day, Label, Line, Order
from tests.apps.testapp.models import Note, Product
from tests.factories import UserFactory
from tests.stamps.clock import OLD, AtGivenMoments, get_stamp

EVERYTHING = {"models": ["orders.*"]}
KEEPS = {"keep_explicit": True}


@pytest.mark.parametrize(
    ("options", "id", "words"),
    [
        (
            {"models": [Line], "touch": ["oder"]},
            "E049",
            "has 'oder', but no model that it covers has a foreign key 'oder'. "
            "Did you mean 'order'?",
        ),
        (
            {"models": [Line], "touch": ["order__costumer"]},
            "E049",
            "has 'order__costumer', but orders.Order has no foreign key 'costumer'. "
            "Did you mean 'customer'?",
        ),
        ({"models": [Line], "touch": ["text"]}, "E049", "has a foreign key 'text'"),
        ({"models": [Line], "touch": ["labels"]}, "E049", "has a foreign key 'labels'"),
        ({"models": [Customer], "touch": ["order"]}, "E049", "has a foreign key 'order'"),
        (
            {"models": [Product], "touch": ["category"]},
            "E050",
            "has 'category', but testapp.Category, to which it leads, has no date or datetime "
            "field 'updated_at', 'modified', 'modified_at' or 'last_modified'.",
        ),
        (
            {"models": [Line], "touch": ["order__customer"], "field": "updated_at"},
            "E050",
            "orders.Customer, to which it leads, has no field 'updated_at'",
        ),
        (
            {"models": [Product], "created_field": "updated_at"},
            "E051",
            "is to write two stamps into the field 'updated_at' of testapp.Product",
        ),
        (
            {"models": [Note], "field": "changed_on"}
            | {"by_field": "editor", "created_by_field": "editor"},
            "E051",
            "is to write two stamps into the field 'editor' of testapp.Note",
        ),
        ({"models": [Label]}, "E012", "'updated_at', 'modified', 'modified_at' or"),
        ({"models": [Product], "by_field": "name"}, "E012", "no foreign key 'name'"),
        ({"models": [Product], "by_field": "tags"}, "E012", "no foreign key 'tags'"),
        ({"models": [Product], "touch": "category"}, "E007", "It has to be a list"),
        ({"models": [Product], "keep_explicit": 1}, "E007", "True or False"),
    ],
)
def test_a_mistake_stops_the_start(wire: Any, options: Any, id: str, words: str) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        wire((LastModified, options))
    assert words in str(caught.value)
    assert f"(signal_kit.{id})" in str(caught.value)


class Point(LastModified):
    def get_editor(self, instance: Any) -> Any:
        return None


def run(wire: Any, *entries: Any) -> list[str]:
    wire(*entries)
    return [
        f"{found.id}: {found.msg} {found.hint}"
        for found in check_signal_kit()
        if found.id in ("signal_kit.W013", "signal_kit.W014")
    ]


@pytest.mark.django_db(transaction=True)
def test_a_field_in_which_django_writes_itself_is_warned_of(wire: Any) -> None:
    options = {
        "models": [Day],
        "field": "auto_changed",
        "created_field": "auto_added",
    }
    assert run(wire, (LastModified, options)) == []
    first, second = run(wire, (AtGivenMoments, {**options, "keep_explicit": True}))
    assert first.startswith("signal_kit.W013: AtGivenMoments stamps orders.Day.auto_changed, ")
    assert "auto_now=True" in first
    assert "'keep_explicit' and get_timestamp()" in first
    assert "orders.Day.auto_added" in second
    assert "auto_now_add=True" in second
    [alone] = run(wire, (LastModified, {"models": [Day], "created_field": "auto_added"} | KEEPS))
    assert "'keep_explicit' has no effect" in alone


@pytest.mark.django_db(transaction=True)
def test_a_field_that_points_to_no_user_is_warned_of(make_model: Any, wire: Any) -> None:
    thing = make_model(
        "Signed",
        models.Model,
        updated_at=models.DateTimeField(null=True),
        by=models.ForeignKey(Label, models.SET_NULL, null=True, related_name="+"),
    )
    [warning] = run(wire, (LastModified, {"models": [thing], "by_field": "by"}))
    assert warning.startswith("signal_kit.W014: LastModified writes who changed a row into ")
    assert "points to orders.Label" in warning
    assert run(wire, (Point, {"models": [thing], "by_field": "by"})) == []
    assert run(wire, (LastModified, {"models": [Order], "by_field": "editor"})) == []


# The field that a model has


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("model", "name"),
    [(Order, "updated_at"), (Customer, "modified"), (Day, "last_modified")],
)
def test_the_field_is_the_one_that_a_model_has(wire: Any, model: Any, name: str) -> None:
    wire((LastModified, EVERYTHING))
    row = model.objects.create()
    assert getattr(row, name) == get_stamp(row, name) is not None
    assert registry.get_stamp_fields(model) == {name}


def test_a_pattern_leaves_out_models_without_one(wire: Any) -> None:
    receiver = wire((LastModified, EVERYTHING))
    assert Label not in registry.get_models(receiver)
    assert Line in registry.get_models(receiver)


@pytest.mark.django_db(transaction=True)
def test_names_of_ones_own_in_their_order(wire: Any) -> None:
    receiver = wire((LastModified, {**EVERYTHING, "field": ["auto_changed", "updated_at"]}))
    assert receiver.get_stamp_fields(Day) == ["auto_changed"]
    assert receiver.get_stamp_fields(Order) == ["updated_at"]
    assert Customer not in registry.get_models(receiver)
    assert Order.objects.create().updated_at is not None


def test_what_is_stamped_at_each_change_is_told(wire: Any) -> None:
    options = {
        "models": [Note],
        "field": "changed_on",
        "created_field": "written_on",
        "by_field": "editor",
        "created_by_field": "author",
    }
    wire((LastModified, options))
    assert registry.get_stamp_fields(Note) == {"changed_on", "editor"}


# Who can be written


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("way", ["save", "bulk_create", "update"])
def test_an_actor_that_is_no_user_is_not_written(wire: Any, way: str) -> None:
    wire((LastModified, {"models": [Order], "by_field": "editor"}))
    ann = UserFactory()
    # A key of an API may have the number of a user.
    key = Label.objects.create(pk=ann.pk)
    Order.objects.create(number="1", editor=None)
    with context(actor=key):
        if way == "save":
            Order.objects.get().save()
        elif way == "bulk_create":
            Order.objects.bulk_create([Order(number="2")])
        else:
            Order.objects.update(number="3")
    assert set(Order.objects.values_list("editor", flat=True)) == {None}
    assert not Order.objects.filter(updated_at=None).exists()


@pytest.mark.django_db(transaction=True)
def test_a_user_that_is_not_stored_is_not_written(wire: Any) -> None:
    wire((LastModified, {"models": [Order], "by_field": "editor"}))
    with context(actor=UserFactory.build()):
        Order.objects.create(number="1")
        Order.objects.update(number="2", updated_at=OLD)
    assert Order.objects.values_list("editor", "updated_at").get() == (None, OLD)
