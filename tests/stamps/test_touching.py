"""A row that is changed stamps the rows that it belongs to, once in a unit of work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core import serializers
from django.core.cache import cache
from django.db import connection, models, transaction
from django.db.models import F, Model
from django.test.utils import CaptureQueriesContext

from django_signal_kit import batch, context, muted, no_touching, touching
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.receivers import AuditLog, CacheInvalidation, LastModified
from django_signal_kit.wiring.registry import registry
from tests.apps.orders.models import Customer, GiftLine, Label, Line, Node, Order
from tests.conftest import run_async
from tests.factories import UserFactory
from tests.stamps.clock import OLD, get_stamp

pytestmark = pytest.mark.django_db(transaction=True)

LINES = {"models": [Line], "touch": ["order", "order__customer"]}


class Shop:
    """Two customers with an order each, all stamped long ago."""

    def __init__(self) -> None:
        self.customers = [Customer.objects.create(name=name) for name in ("Ann", "Bea")]
        self.orders = [
            Order.objects.create(number=f"no. {customer.pk}", customer=customer)
            for customer in self.customers
        ]
        self.line = Line.objects.create(order=self.orders[0])
        self.forget()

    def forget(self) -> None:
        # Lines first: their update touches the others.
        for model in (Line, Order):
            model.objects.update(updated_at=OLD)
        Customer.objects.update(modified=OLD)

    def get_touched(self) -> list[str]:
        """Which orders and customers have been stamped since: "order 0", "customer 1"."""
        found = []
        for number, order in enumerate(self.orders):
            if Order.objects.filter(pk=order.pk).exclude(updated_at=OLD).exists():
                found.append(f"order {number}")
        for number, customer in enumerate(self.customers):
            if Customer.objects.filter(pk=customer.pk).exclude(modified=OLD).exists():
                found.append(f"customer {number}")
        return found


@pytest.fixture
def shop() -> Shop:
    return Shop()


FIRST = ["order 0", "customer 0"]
BOTH = ["order 0", "order 1", "customer 0", "customer 1"]


def get_updates(queries: CaptureQueriesContext, model: type[Model]) -> list[str]:
    start = f"UPDATE {connection.ops.quote_name(model._meta.db_table)} "
    return [query["sql"] for query in queries if query["sql"].startswith(start)]


# What touches


def create(shop: Shop) -> None:
    Line.objects.create(order=shop.orders[0])


def save(shop: Shop) -> None:
    Line.objects.get().save()


def save_some(shop: Shop) -> None:
    shop.line.save(update_fields=["text"])


def save_deferred(shop: Shop) -> None:
    line = Line.objects.only("text").get()
    line.text = "new"
    line.save()


def save_built_by_hand(shop: Shop) -> None:
    Line(pk=shop.line.pk, order=shop.orders[0]).save()


def save_async(shop: Shop) -> None:
    run_async(shop.line.asave())


def save_child(shop: Shop) -> None:
    GiftLine.objects.create(order=shop.orders[0])


def update_or_create(shop: Shop) -> None:
    Line.objects.update_or_create(pk=shop.line.pk, defaults={"amount": 3})


def delete(shop: Shop) -> None:
    shop.line.delete()


def delete_deferred(shop: Shop) -> None:
    Line.objects.only("text").get().delete()


def delete_by_query(shop: Shop) -> None:
    Line.objects.all().delete()


def bulk_create(shop: Shop) -> None:
    Line.objects.bulk_create([Line(order=shop.orders[0]), Line(order=None)])


def bulk_update(shop: Shop) -> None:
    Line.objects.bulk_update([shop.line], ["text"])


def update(shop: Shop) -> None:
    Line.objects.filter(text="").update(amount=F("amount") + 1)


def add_label(shop: Shop) -> None:
    shop.line.labels.add(Label.objects.create())


def add_from_other_side(shop: Shop) -> None:
    Label.objects.create().lines.add(shop.line)


def write_link(shop: Shop) -> None:
    Line.labels.through.objects.create(line=shop.line, label=Label.objects.create())


WAYS: list[Callable[[Shop], None]] = [
    create,
    save,
    save_some,
    save_deferred,
    save_built_by_hand,
    save_async,
    save_child,
    update_or_create,
    delete,
    delete_deferred,
    delete_by_query,
    bulk_create,
    bulk_update,
    update,
    add_label,
    add_from_other_side,
    write_link,
]


@pytest.mark.parametrize("way", WAYS)
def test_every_change_of_a_row_stamps_its_parents(
    shop: Shop, wire: Any, way: Callable[[Shop], None]
) -> None:
    wire((LastModified, LINES))
    way(shop)
    assert shop.get_touched() == FIRST


@pytest.mark.parametrize("way", [way for way in WAYS if way is not save_async])
def test_it_is_one_update_for_each_model_of_parents(
    shop: Shop, wire: Any, way: Callable[[Shop], None]
) -> None:
    wire((LastModified, LINES))
    with CaptureQueriesContext(connection) as queries:
        way(shop)
    assert [len(get_updates(queries, model)) for model in (Order, Customer)] == [1, 1]


def remove_label(shop: Shop, label: Label) -> None:
    shop.line.labels.remove(label)


def clear_labels(shop: Shop, label: Label) -> None:
    shop.line.labels.clear()


def clear_lines(shop: Shop, label: Label) -> None:
    label.lines.clear()


def delete_label(shop: Shop, label: Label) -> None:
    label.delete()


def delete_link(shop: Shop, label: Label) -> None:
    Line.labels.through.objects.get().delete()


@pytest.mark.parametrize(
    "way", [remove_label, clear_labels, clear_lines, delete_label, delete_link]
)
def test_a_link_that_ends_stamps_the_row_and_its_parents(
    shop: Shop, wire: Any, way: Callable[[Shop, Label], None]
) -> None:
    label = Label.objects.create()
    shop.line.labels.add(label)
    wire((LastModified, LINES))
    way(shop, label)
    assert shop.get_touched() == FIRST
    assert get_stamp(shop.line) > OLD


# Moves


def move(shop: Shop) -> None:
    line = Line.objects.get()
    line.order = shop.orders[1]
    line.save()


def move_what_was_just_made(shop: Shop) -> None:
    line = Line.objects.create(order=shop.orders[0])
    shop.forget()
    line.order = shop.orders[1]
    line.save(update_fields=["order"])


def move_by_number(shop: Shop) -> None:
    line = Line.objects.defer("order").get()
    line.order_id = shop.orders[1].number
    line.save(update_fields=["order_id"])


def move_built_by_hand(shop: Shop) -> None:
    Line(pk=shop.line.pk, order=shop.orders[1]).save()


def move_in_bulk(shop: Shop) -> None:
    line = Line.objects.get()
    line.order = shop.orders[1]
    Line.objects.bulk_update([line], ["order"])


def move_by_update(shop: Shop) -> None:
    Line.objects.update(order=shop.orders[1])


def move_by_update_of_the_number(shop: Shop) -> None:
    Line.objects.update(order_id=shop.orders[1].number)


MOVES: list[Callable[[Shop], None]] = [
    move,
    move_what_was_just_made,
    move_by_number,
    move_built_by_hand,
    move_in_bulk,
    move_by_update,
    move_by_update_of_the_number,
]


@pytest.mark.parametrize("way", MOVES)
def test_a_move_stamps_the_old_and_the_new_parents(
    shop: Shop, wire: Any, way: Callable[[Shop], None]
) -> None:
    wire((LastModified, LINES))
    way(shop)
    assert shop.get_touched() == BOTH


def test_a_move_away_to_nobody_stamps_the_old_parents(shop: Shop, wire: Any) -> None:
    wire((LastModified, LINES))
    line = Line.objects.get()
    line.order = None
    line.save()
    assert shop.get_touched() == FIRST
    shop.forget()
    line.save()
    assert shop.get_touched() == []


def test_a_move_that_is_not_saved_stamps_nobody_new(shop: Shop, wire: Any) -> None:
    wire((LastModified, LINES))
    line = Line.objects.get()
    line.order = shop.orders[1]
    line.save(update_fields=["text"])
    assert shop.get_touched() == FIRST


def test_a_row_that_moves_away_by_set_null_stamps_its_parents(make_model: Any, wire: Any) -> None:
    box = make_model("Box", models.Model, updated_at=models.DateTimeField(null=True))
    thing = make_model(
        "Thing",
        models.Model,
        box=models.ForeignKey(box, models.CASCADE),
        owner=models.ForeignKey(Customer, models.SET_NULL, null=True, related_name="+"),
        updated_at=models.DateTimeField(null=True),
    )
    wire((LastModified, {"models": [thing], "touch": ["box"]}))
    here, customer = box.objects.create(), Customer.objects.create()
    thing.objects.create(box=here, owner=customer)
    box.objects.update(updated_at=OLD)
    customer.delete()
    assert get_stamp(here) > OLD


# Once


def test_a_thousand_children_are_one_update_of_their_parent(shop: Shop, wire: Any) -> None:
    wire((LastModified, {"models": [Line], "touch": ["order"]}))
    order = shop.orders[0]
    with CaptureQueriesContext(connection) as queries:
        Line.objects.bulk_create(Line(order=order) for _ in range(1000))
    assert len(get_updates(queries, Order)) == 1
    lines = list(Line.objects.all())
    with CaptureQueriesContext(connection) as queries, batch():
        for line in lines:
            line.save()
    assert len(get_updates(queries, Order)) == 1
    with CaptureQueriesContext(connection) as queries:
        Line.objects.all().delete()
    assert len(get_updates(queries, Order)) == 1


def test_parents_and_children_in_one_batch_are_stamped_once(shop: Shop, wire: Any) -> None:
    wire((LastModified, {"models": ["orders.*"], "touch": ["order", "customer"]}))
    with CaptureQueriesContext(connection) as queries, batch():
        order = Order.objects.create(number="new", customer=shop.customers[0])
        for _ in range(3):
            Line.objects.create(order=order)
    # It has been stamped by its own INSERT, and by nothing else.
    assert order.updated_at == get_stamp(order) is not None
    assert len(get_updates(queries, Customer)) == 1


def test_parents_of_different_paths_to_one_model_are_one_update(
    make_model: Any, wire: Any
) -> None:
    end = make_model("End", models.Model, updated_at=models.DateTimeField(null=True))
    edge = make_model(
        "Edge",
        models.Model,
        one=models.ForeignKey(end, models.CASCADE, related_name="+"),
        other=models.ForeignKey(end, models.CASCADE, related_name="+"),
        updated_at=models.DateTimeField(null=True),
    )
    ends = [end.objects.create() for _ in range(3)]
    wire((LastModified, {"models": [edge], "touch": ["one", "other"]}))
    with CaptureQueriesContext(connection) as queries:
        edge.objects.create(one=ends[0], other=ends[1])
    assert len(get_updates(queries, end)) == 1
    assert [get_stamp(row) is None for row in ends] == [False, False, True]


# Circles


def test_a_row_that_is_its_own_parent_is_stamped_by_its_save_alone(wire: Any) -> None:
    wire((LastModified, {"models": [Node], "touch": ["parent", "parent__parent"]}))
    node = Node.objects.create()
    node.parent = node
    node.save()
    with CaptureQueriesContext(connection) as queries:
        node.save()
    assert node.updated_at == get_stamp(node)
    assert len(get_updates(queries, Node)) <= 2


def test_a_circle_is_gone_round_once(wire: Any) -> None:
    wire((LastModified, {"models": [Node], "touch": ["parent", "parent__parent"]}))
    one, two = Node.objects.create(), Node.objects.create()
    one.parent = two
    one.save()
    two.parent = one
    two.save()
    Node.objects.filter(pk=two.pk).update(updated_at=OLD)
    one = Node.objects.get(pk=one.pk)
    with CaptureQueriesContext(connection) as queries:
        one.save()
    assert one.updated_at == get_stamp(one)
    assert get_stamp(two) > OLD
    assert len(get_updates(queries, Node)) == 2


def test_a_touch_goes_as_far_as_the_paths_say(wire: Any) -> None:
    root = Node.objects.create()
    middle = Node.objects.create(parent=root)
    leaf = Node.objects.create(parent=middle)
    Node.objects.update(updated_at=OLD)
    wire((LastModified, {"models": [Node], "touch": ["parent"]}))
    leaf.save()
    assert get_stamp(middle) > OLD
    assert get_stamp(root) == OLD


# Not at all


def test_inside_no_touching_the_row_alone_is_stamped(shop: Shop, wire: Any) -> None:
    wire((LastModified, LINES))
    with no_touching():
        for way in (save, delete_label_of, move, update, delete):
            way(shop)
        with touching(True):
            save_new = Line.objects.create(order=shop.orders[0])
    assert shop.get_touched() == FIRST
    assert save_new.updated_at is not None
    shop.forget()
    no_touching()(lambda: Line.objects.create(order=shop.orders[0]))()
    assert shop.get_touched() == []
    with muted("LastModified"):
        assert Line.objects.create(order=shop.orders[0]).updated_at is None
    assert shop.get_touched() == []


def delete_label_of(shop: Shop) -> None:
    label = Label.objects.create()
    shop.line.labels.add(label)
    label.delete()


def test_in_no_touching_stamps_of_the_rows_go_on(shop: Shop, wire: Any) -> None:
    wire((LastModified, LINES))
    with touching(False):
        shop.line.save()
    assert shop.line.updated_at == get_stamp(shop.line) > OLD
    assert shop.get_touched() == []


def test_a_save_that_fails_touches_nobody(shop: Shop, wire: Any) -> None:
    wire((LastModified, LINES))
    with pytest.raises(ValueError, match="wrong"), transaction.atomic():
        shop.line.save()
        raise ValueError("wrong")
    assert shop.get_touched() == []
    with transaction.atomic():
        try:
            with transaction.atomic():
                shop.line.save()
                raise ValueError("wrong")
        except ValueError:
            pass
        Line.objects.create(order=shop.orders[1])
    assert shop.get_touched() == ["order 1", "customer 1"]


def test_what_should_not_be_stamped_touches_nobody(shop: Shop, wire: Any) -> None:
    wire((Quiet, LINES))
    shop.line.save()
    assert shop.get_touched() == []


class Quiet(LastModified):
    def should_stamp(self, instance: Any) -> bool:
        return False


def test_a_row_that_is_as_it_was_touches_nobody(shop: Shop, wire: Any) -> None:
    wire((LastModified, {**LINES, "only_if_changed": True}))
    line = Line.objects.get()
    line.save()
    assert shop.get_touched() == []
    line.text = "new"
    line.save()
    assert shop.get_touched() == FIRST


def test_fixtures_touch_nobody(shop: Shop, wire: Any) -> None:
    wire((LastModified, LINES))
    for loaded in serializers.deserialize("json", serializers.serialize("json", [shop.line])):
        loaded.save()
    assert shop.get_touched() == []


def test_parents_that_go_as_well_are_no_trouble(shop: Shop, wire: Any) -> None:
    wire((LastModified, LINES))
    shop.orders[0].delete()
    assert not Line.objects.exists()
    assert shop.get_touched() == ["customer 0"]


# Together with others


def test_the_editor_is_written_with_the_stamp(shop: Shop, wire: Any) -> None:
    wire(
        (LastModified, {"models": [Line], "touch": ["order"]}),
        {
            "RECEIVER": "django_signal_kit.receivers.LastModified",
            "NAME": "Orders",
            "OPTIONS": {"models": [Order], "by_field": "editor"},
        },
    )
    ann = UserFactory()
    with context(actor=ann):
        shop.line.save()
    order = Order.objects.get(pk=shop.orders[0].pk)
    assert order.editor == ann
    assert order.updated_at > OLD


def test_a_touch_is_no_entry_in_the_log_and_drops_what_is_cached(shop: Shop, wire: Any) -> None:
    wire(
        (LastModified, {"models": [Line, Order], "touch": ["order"]}),
        (AuditLog, {"models": [Order]}),
        (CacheInvalidation, {"models": [Order], "keys": ["order:{pk}"]}),
    )
    key = f"order:{shop.orders[0].pk}"
    cache.set(key, "page")
    shop.line.save()
    assert cache.get(key) is None
    assert not AuditEntry.objects.exists()
    assert shop.get_touched() == ["order 0"]


def test_rows_that_are_read_for_an_update_tell_their_parents(shop: Shop, wire: Any) -> None:
    wire((LastModified, {**LINES, "bulk": "all"}))
    move_by_update(shop)
    assert shop.get_touched() == BOTH


def test_after_the_commit_if_that_is_asked_for(shop: Shop, wire: Any) -> None:
    receiver = wire((LastModified, {**LINES, "flush_on": "after_commit"}))
    assert receiver.flush_on == "after_commit"
    with transaction.atomic():
        shop.line.save()
        assert shop.get_touched() == []
    assert shop.get_touched() == FIRST


def test_who_touches_nobody_hears_no_deletion_and_no_links(wire: Any) -> None:
    wire((LastModified, {"models": [Line]}))
    assert {c.signal_name for c in registry.connections} == {
        "pre_save",
        "pre_bulk_create",
        "pre_bulk_update",
        "pre_queryset_update",
    }
