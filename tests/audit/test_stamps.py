"""What neighbours stamp is no news: a diff shows what a person did, and no past is made up."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from django.core.management import call_command
from django.db.models import F
from django.utils import timezone

from django_signal_kit import ModelReceiver, batch, context, muted
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.audit.past import HistoryIncomplete
from django_signal_kit.receivers import AuditLog, LastModified
from tests.apps.testapp.models import Note, Page, Product, Tag
from tests.audit.clock import Clock
from tests.factories import ProductFactory, RestaurantFactory, UserFactory

pytestmark = pytest.mark.django_db(databases=["default", "other"])

ALL = {"models": ["testapp.*"]}
STAMPED = (LastModified, {"models": [Product], "by_field": "editor"})
LONG_AGO = datetime.datetime(2001, 2, 3, tzinfo=datetime.UTC)


class ShopLog(AuditLog):
    """As the manual shows."""

    def should_record(self, instance: Any, action: str, changes: Any) -> bool:
        if action == "update" and set(changes) == {"stock"}:
            return False
        return super().should_record(instance, action, changes)


def entries(action: str = "update") -> list[Any]:
    found = AuditEntry.objects.filter(action=action).order_by("pk")
    return list(found.values_list("changes", flat=True))


def as_of(obj: Any, moment: Any, fields: Any = None) -> Any:
    return AuditEntry.objects.as_of(obj, moment, fields)


def save(row: Any, **values: Any) -> None:
    for name, value in values.items():
        setattr(row, name, value)
    row.save()


def update(row: Any, **values: Any) -> None:
    Product.objects.filter(pk=row.pk).update(**values)


def update_by_expression(row: Any, **values: Any) -> None:
    Product.objects.filter(pk=row.pk).update(stock=F("stock") + 1)


def bulk_update(row: Any, **values: Any) -> None:
    for name, value in values.items():
        setattr(row, name, value)
    Product.objects.bulk_update([row], list(values))


def save_in_batch(row: Any, **values: Any) -> None:
    with batch():
        save(row, **values)


WAYS = [save, update, update_by_expression, bulk_update, save_in_batch]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("old_values", ["database", "snapshot"])
@pytest.mark.parametrize("first", ["log", "stamp"])
def test_an_update_tells_no_stamp_beside_what_has_changed(
    wire: Any, way: Any, old_values: str, first: str
) -> None:
    log = (AuditLog, {**ALL, "old_values": old_values})
    wire(*([log, STAMPED] if first == "log" else [STAMPED, log]))
    row = Product.objects.get(pk=ProductFactory(stock=0).pk)
    with context(actor=UserFactory()):
        way(row, stock=1)
    assert entries() == [{"stock": [0, 1]}]


@pytest.mark.parametrize("way", WAYS)
def test_what_a_hook_says_of_a_field_holds_beside_a_stamp(wire: Any, way: Any) -> None:
    wire((ShopLog, ALL), STAMPED)
    row = ProductFactory(stock=0, name="a")
    with context(actor=UserFactory()):
        way(row, stock=1)
        assert entries() == []
        row.refresh_from_db()
        save(row, stock=5, name="b")
    assert [set(changes) for changes in entries()] == [{"stock", "name"}]


def test_fields_that_stamp_themselves_are_no_news_either(wire: Any) -> None:
    wire((AuditLog, ALL))
    page = Page.objects.create(title="a")
    save(page, title="b")
    assert entries() == [{"title": ["a", "b"]}]


def test_stamps_are_told_on_request(wire: Any) -> None:
    wire((AuditLog, {**ALL, "stamps": True}), STAMPED)
    row = ProductFactory(name="a")
    with context(actor=UserFactory()):
        save(row, name="b")
    assert [set(changes) for changes in entries()] == [{"name", "updated_at", "editor"}]


def test_whole_rows_are_told_with_their_stamps(wire: Any) -> None:
    wire((AuditLog, ALL), STAMPED)
    row = ProductFactory()
    row.delete()
    assert "updated_at" in entries("create")[0]
    assert "updated_at" in entries("delete")[0]


class Counts(ModelReceiver):
    """A receiver of one's own that says what it writes."""

    models = (Product,)

    def get_stamp_fields(self, model: Any) -> list[str]:
        return ["stock"]

    def pre_save(self, instance: Any, **kwargs: Any) -> None:
        instance.stock += 1


def test_a_receiver_of_ones_own_says_what_it_stamps(wire: Any) -> None:
    wire((AuditLog, ALL), Counts)
    row = ProductFactory(name="a")
    save(row)
    save(row, name="b")
    assert entries() == [{"name": ["a", "b"]}]
    with pytest.raises(HistoryIncomplete, match="stock"):
        as_of(row, timezone.now(), ["stock"])


def test_a_row_of_two_tables_tells_no_stamp_of_either(wire: Any) -> None:
    wire((AuditLog, ALL), (LastModified, {"models": ["testapp.Place"]}))
    row = RestaurantFactory(name="a", stars=1)
    save(row, stars=2)
    save(row, name="b")
    assert entries() == [{"stars": [1, 2]}, {"name": ["a", "b"]}]


def test_who_changes_when_a_row_was_made_changes_something(wire: Any) -> None:
    created = {"created_field": "created_at", "created_by_field": "editor"}
    wire((AuditLog, ALL), (LastModified, {"models": [Product], **created}))
    row = ProductFactory()
    save(row, created_at=LONG_AGO)
    save(row, editor=UserFactory(), name="b")
    assert [set(changes) for changes in entries()] == [{"created_at"}, {"editor", "name"}]


def test_a_field_of_that_name_in_another_model_is_no_stamp(wire: Any) -> None:
    wire((AuditLog, ALL), (LastModified, {"models": [Note], "field": "changed_on"}))
    row = ProductFactory(name="a", updated_at=None)
    save(row, name="b", updated_at=LONG_AGO)
    assert [set(changes) for changes in entries()] == [{"name", "updated_at"}]


def test_a_statement_tells_no_stamp_beside_what_it_sets(wire: Any) -> None:
    wire((AuditLog, {**ALL, "bulk": "statement"}), STAMPED)
    ProductFactory()
    Product.objects.update(stock=3)
    assert entries() == [{"stock": ["[unknown]", 3]}]


# What a row was


@pytest.fixture
def clock(wire: Any) -> Clock:
    wire((AuditLog, ALL), STAMPED)
    clock = Clock()
    Tag.objects.create(name="first")
    clock.tick()
    return clock


@pytest.mark.parametrize("way", WAYS)
def test_a_stamp_that_was_left_out_is_never_told_wrong(clock: Clock, way: Any) -> None:
    row = ProductFactory(stock=0)
    before, stamp = clock.tick(), Product.objects.get().updated_at
    assert as_of(row, before, ["updated_at"]).updated_at == stamp
    way(row, stock=1)
    after = clock.tick()
    for moment in (before, after):
        with pytest.raises(HistoryIncomplete, match="updated_at"):
            as_of(row, moment, ["updated_at"])
    assert [as_of(row, moment).stock for moment in (before, after)] == [0, 1]


def test_the_stamp_of_a_row_from_before_the_log_is_not_told(clock: Clock) -> None:
    with muted("AuditLog"):
        row = ProductFactory(stock=0)
    clock.tick()
    before = clock.tick()
    row.save()  # Of which the log says nothing.
    with pytest.raises(HistoryIncomplete, match=r"updated_at .* is a stamp.* stamps=True"):
        as_of(row, before, ["updated_at"])
    save(row, stock=1)
    clock.tick()
    with pytest.raises(HistoryIncomplete, match="updated_at"):
        as_of(row, before, ["updated_at"])
    assert as_of(row, before).stock == 0


@pytest.mark.parametrize("was_there", [True, False])
def test_what_was_left_out_stays_unknown_when_stamps_are_told(
    clock: Clock, wire: Any, was_there: bool
) -> None:
    with muted(*(["AuditLog"] if was_there else [])):
        row = ProductFactory(stock=0)
    first = clock.tick()
    save(row, stock=1)
    second = clock.tick()
    wire((AuditLog, {**ALL, "stamps": True}), STAMPED)
    stamp = Product.objects.get().updated_at
    for moment in (first, second) if not was_there else (first,):
        with pytest.raises(HistoryIncomplete, match="updated_at"):
            as_of(row, moment, ["updated_at"])
    save(row, stock=2)
    third, now = clock.tick(), Product.objects.get().updated_at
    save(row, stock=3)
    clock.tick()
    assert as_of(row, third).updated_at == now != stamp
    with pytest.raises(HistoryIncomplete, match=r"updated_at|editor"):
        as_of(row, first)


@pytest.mark.parametrize("left_out", ["no stamp", "a stamp"])
def test_a_backfill_tells_no_stamp_that_was_written_since(
    clock: Clock, left_out: str, wire: Any
) -> None:
    if left_out == "a stamp":
        wire((AuditLog, {**ALL, "stamps": True}), STAMPED)
    with muted("AuditLog"):
        row = ProductFactory(stock=0, name="a")
    stamp = Product.objects.get().updated_at
    clock.tick()
    before = clock.tick()
    save(row, name="b")
    clock.tick()
    # Whatever was told then, a later entry does not tell what came before the first.
    wire((AuditLog, {**ALL, "stamps": True}), STAMPED)
    save(row, stock=1)
    clock.tick()
    call_command("backfillauditlog", "testapp.Product", verbosity=0)
    clock.tick()
    told = entries("create")[-1]
    assert (told["stock"], told["name"]) == ([None, 0], [None, "a"])
    if left_out == "a stamp":
        assert told["updated_at"] == [None, stamp.isoformat()]
        assert as_of(row, before).updated_at == stamp
    else:
        assert told["updated_at"] == [None, "[unknown]"]
        with pytest.raises(HistoryIncomplete, match="updated_at"):
            as_of(row, before, ["updated_at"])
    assert as_of(row, before, ["stock", "name"]).name == "a"


def test_a_backfill_of_a_row_without_entries_tells_its_stamp(clock: Clock) -> None:
    with muted("AuditLog"):
        ProductFactory()
    call_command("backfillauditlog", "testapp.Product", verbosity=0)
    stamp = Product.objects.get().updated_at
    assert entries("create")[-1]["updated_at"] == [None, stamp.isoformat()]


def test_a_backfill_after_links_tells_no_stamp(clock: Clock) -> None:
    with muted("AuditLog"):
        row = ProductFactory()
    row.tags.add(Tag.objects.create(name="b"))
    call_command("backfillauditlog", "testapp.Product", verbosity=0)
    assert entries("create")[-1]["updated_at"] == [None, "[unknown]"]


# Taken back


@pytest.mark.parametrize("stamps", [True, False])
def test_an_update_is_taken_back_and_stamped_anew(wire: Any, stamps: bool) -> None:
    wire((AuditLog, {**ALL, "stamps": stamps}), STAMPED)
    row = ProductFactory(name="a")
    save(row, name="b")
    entry = AuditEntry.objects.latest("pk")
    row.save()  # Stamped since, which is no change since.
    stamp = Product.objects.get().updated_at
    entry.revert()
    found = Product.objects.get()
    assert found.name == "a"
    assert found.updated_at > stamp


def test_a_change_of_when_a_row_was_made_is_taken_back(wire: Any) -> None:
    wire((AuditLog, ALL), (LastModified, {"models": [Product], "created_field": "created_at"}))
    row = ProductFactory()
    made = Product.objects.get().created_at
    save(row, created_at=LONG_AGO)
    AuditEntry.objects.latest("pk").revert()
    assert Product.objects.get().created_at == made


def test_a_row_comes_back_with_what_its_deletion_tells(wire: Any) -> None:
    wire((AuditLog, {**ALL, "exclude_fields": ["api_token"]}), STAMPED)
    row, ann = ProductFactory(name="a"), UserFactory()
    with context(actor=ann):
        save(row, name="b")
    row.delete()
    AuditEntry.objects.latest("pk").revert()
    found = Product.objects.get()
    assert (found.name, found.editor) == ("b", ann)
    assert found.updated_at <= timezone.now()
