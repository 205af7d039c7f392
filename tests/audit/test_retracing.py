"""Fields come and go, are renamed, and are left out for a while: a row as it was is what it was,
or the log says that it cannot tell; it never tells something else."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from itertools import groupby
from typing import Any

import pytest
from django.core.management import call_command
from django.db import transaction
from django.test.utils import override_settings
from hypothesis import given
from hypothesis import strategies as st

from django_signal_kit import muted
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.audit.past import HistoryIncomplete
from django_signal_kit.receivers import AuditLog
from tests.apps.rarities.models import Reading
from tests.apps.testapp.models import Note, Page, Product, Tag
from tests.audit.clock import Clock
from tests.conftest import as_entry
from tests.factories import ProductFactory, TagFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def clock(log: None) -> Clock:
    return Clock()


def as_of(obj: Any, moment: Any, *fields: str) -> Any:
    return AuditEntry.objects.as_of(obj, moment, fields or None)


def rewrite(change: Callable[[dict[str, Any]], dict[str, Any]], **lookups: Any) -> None:
    """Make the entries tell what they would if the model had been another one then."""
    for entry in AuditEntry.objects.filter(**lookups):
        AuditEntry.objects.filter(pk=entry.pk).update(changes=change(entry.changes))


def rename(old: str, new: str, **lookups: Any) -> None:
    """What is called ``new`` was called ``old`` when these entries were written."""
    rewrite(
        lambda changes: {(old if key == new else key): value for key, value in changes.items()},
        **lookups,
    )


def change(row: Any, **values: Any) -> None:
    for name, value in values.items():
        setattr(row, name, value)
    row.save()


# Any history

FIELDS = ("text", "size", "whole", "amount")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["save", "save", "update"]), st.sampled_from(FIELDS)),
        st.tuples(st.sampled_from(["rename", "add", "null"]), st.sampled_from(FIELDS)),
        st.tuples(st.sampled_from(["exclude", "include"]), st.sampled_from(["text", "size"])),
        st.just(("delete", "")),
    ),
    max_size=12,
)
KEY = 77


class World:
    """A row whose model changes, and what each of its fields was."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.count = 0
        self.excluded: set[str] = set()
        self.was: dict[Any, dict[str, Any] | None] = {}
        #: Moments before which there was no such field.
        self.added: dict[str, Any] = {}

    def make_value(self, field: str) -> Any:
        """One that was never there before."""
        self.count += 1
        return {"text": str(self.count), "size": chr(1000 + self.count)}.get(field, self.count)

    def tick(self) -> None:
        moment = self.clock.tick()
        self.was[moment] = Reading.objects.filter(pk=KEY).values(*FIELDS).first()

    def step(self, act: str, field: str) -> None:
        if act == "exclude":
            self.excluded.add(field)
        elif act == "include":
            self.excluded.discard(field)
        else:
            self.write(act, field)
        self.tick()

    def write(self, act: str, field: str) -> None:
        row = Reading.objects.filter(pk=KEY).first()
        if act == "rename":
            rename(f"{field}_{self.count}", field)
            self.count += 1
        elif act == "add":
            self.add(field)
        elif row is None:
            Reading.objects.create(pk=KEY, **{name: self.make_value(name) for name in FIELDS})
        elif act == "delete":
            row.delete()
        elif act == "null":
            null = Reading._meta.get_field(field).null
            change(row, **{field: None if null else self.make_value(field)})
        elif act == "update":
            Reading.objects.filter(pk=KEY).update(**{field: self.make_value(field)})
        else:
            change(row, **{field: self.make_value(field)})

    def add(self, field: str) -> None:
        rewrite(lambda changes: {k: v for k, v in changes.items() if k != field})
        default = None if Reading._meta.get_field(field).null else ""
        with muted("AuditLog"):
            Reading.objects.update(**{field: default})
        self.added[field] = self.clock.now

    def get_settings(self) -> dict[str, Any]:
        options = {"models": ["rarities.Reading"], "exclude_fields": sorted(self.excluded)}
        return {"RECEIVERS": [as_entry((AuditLog, options))]}

    def check(self, moment: Any, field: str) -> None:
        try:
            row = as_of((Reading, KEY), moment, field)
        except HistoryIncomplete:
            return
        was = self.was[moment]
        if was is None:
            assert row is None
        elif moment <= self.added.get(field, moment) and field in self.added:
            # An absent column that may be NULL is as good as NULL.
            assert getattr(row, field) is None
        else:
            assert getattr(row, field) == was[field]


@given(steps=STEPS)
def test_it_is_what_it_was_or_nobody_knows(steps: list[tuple[str, str]]) -> None:
    with transaction.atomic():
        world = World()
        world.tick()
        # To wire receivers anew takes longer than all the rest.
        for is_wired, some in groupby(steps, lambda step: step[0] not in ("exclude", "include")):
            wired = override_settings(SIGNAL_KIT=world.get_settings())
            with wired if is_wired else nullcontext():
                for act, field in some:
                    world.step(act, field)
        with override_settings(SIGNAL_KIT=world.get_settings()):
            for moment in world.was:
                for field in FIELDS:
                    world.check(moment, field)
        transaction.set_rollback(True)


# A field that was renamed


def test_a_field_that_was_renamed_is_named(clock: Clock) -> None:
    product = ProductFactory(name="a", stock=3)
    before = clock.tick()
    change(product, stock=4)
    clock.tick()
    rename("amount", "stock")
    after = clock.now
    with pytest.raises(HistoryIncomplete, match=r"stock is not known: .*'amount', .*no field any"):
        as_of(product, before)
    assert as_of(product, before, "name", "category", "data").name == "a"
    # What it was created with may be anything else by now.
    with pytest.raises(HistoryIncomplete, match=r"stock is not known: .*created with"):
        as_of(product, after)
    change(product, stock=5)
    last = clock.tick()
    assert as_of(product, last).stock == 5


def test_a_field_of_the_same_value_may_be_the_renamed_one(clock: Clock) -> None:
    product = ProductFactory(name="a", slug="b")
    before = clock.tick()
    change(product, name="b")
    clock.tick()
    rename("title", "name", action="update")
    with pytest.raises(HistoryIncomplete, match=r"slug is not known: .*'title'"):
        as_of(product, before, "slug")
    with pytest.raises(HistoryIncomplete, match=r"name is not known: .*'title'"):
        as_of(product, before, "name")
    assert as_of(product, before, "stock").stock == 0


def test_a_field_that_was_null_is_not_taken_for_one_of_another_name(clock: Clock) -> None:
    product = ProductFactory(category=None)
    before, key = clock.tick(), product.pk
    product.delete()
    clock.tick()
    rename("title", "name", action="delete")
    with pytest.raises(HistoryIncomplete, match="category is not known"):
        as_of((Product, key), before, "category")


def test_an_older_row_of_the_key_is_told_by_its_own_deletion(clock: Clock) -> None:
    tag = TagFactory(name="a")
    before, key = clock.tick(), tag.pk
    tag.delete()
    clock.tick()
    tag = Tag.objects.create(pk=key, name="b")
    change(tag, name="c")
    clock.tick()
    rename("title", "name", action="update")
    assert as_of((Tag, key), before).name == "a"


# A field that is gone, or was added


def test_a_field_that_is_gone_harms_no_other(clock: Clock) -> None:
    product = ProductFactory(name="a", stock=3)
    before = clock.tick()
    change(product, name="b")
    clock.tick()
    rewrite(lambda changes: {**changes, "colour": ["red", "blue"]})
    row = as_of(product, before)
    assert (row.name, row.stock) == ("a", 3)


def test_a_field_that_was_added_is_not_told_of_the_time_before(clock: Clock) -> None:
    product = ProductFactory(name="a", stock=0)
    before = clock.tick()
    rewrite(lambda changes: {key: value for key, value in changes.items() if key != "stock"})
    with pytest.raises(HistoryIncomplete, match=r"stock is not known: .*It was added since"):
        as_of(product, before)
    assert as_of(product, before, "name").name == "a"
    change(product, stock=2)
    later = clock.tick()
    assert as_of(product, later).stock == 2
    with pytest.raises(HistoryIncomplete, match="stock"):
        as_of(product, before)


def test_columns_that_the_database_fills_are_no_added_ones(clock: Clock) -> None:
    note = Note.objects.create(text="four")
    at = clock.tick()
    row = as_of(note, at)
    assert (row.text, row.length) == ("four", 4)
    change(note, text="seven")
    clock.tick()
    assert as_of(note, at, "text").text == "four"
    Note.objects.bulk_create([Note(text="one")])
    at = clock.tick()
    assert as_of(Note.objects.get(text="one"), at, "text").text == "one"


# A field of another type


def test_a_value_of_another_type_is_named(clock: Clock) -> None:
    product = ProductFactory(name="a", stock=3)
    before = clock.tick()
    rewrite(lambda changes: {**changes, "stock": [None, "three"]})
    with pytest.raises(HistoryIncomplete, match=r"stock does not understand the value 'three'"):
        as_of(product, before)
    change(product, stock=4)
    clock.tick()
    rewrite(lambda changes: {**changes, "stock": ["three", 4]}, action="update")
    with pytest.raises(HistoryIncomplete, match=r"stock does not understand the value 'three'"):
        as_of(product, before)


def test_a_value_that_reads_otherwise_is_the_same(clock: Clock) -> None:
    product = ProductFactory(price="1.50", data={"a": 1})
    before = clock.tick()
    rewrite(lambda changes: {**changes, "price": [None, "1.5"]})
    assert str(as_of(product, before).price) == "1.50"
    rewrite(lambda changes: {**changes, "data": [None, {"a": True}]})
    with pytest.raises(HistoryIncomplete, match="data is not known"):
        as_of(product, before)


# What was not heard


def test_a_change_that_was_not_heard_is_not_told_as_of_before(clock: Clock) -> None:
    product = ProductFactory(stock=3)
    before = clock.tick()
    with muted("AuditLog"):
        Product.objects.update(stock=4)
    with pytest.raises(HistoryIncomplete, match=r"stock is not known: after entry \d+"):
        as_of(product, before)
    change(product, name="b")
    clock.tick()
    with pytest.raises(HistoryIncomplete, match="stock"):
        as_of(product, before)
    assert as_of(product, before, "slug").slug == product.slug


def test_a_row_that_came_or_went_unheard_is_told(clock: Clock) -> None:
    tag = TagFactory()
    there, key = clock.tick(), tag.pk
    with muted("AuditLog"):
        tag.delete()
    with pytest.raises(HistoryIncomplete, match=r"told of a row .* no entry tells when it went"):
        as_of((Tag, key), there)
    with muted("AuditLog"):
        tag = Tag.objects.create(pk=key)
    tag.delete()
    gone = clock.tick()
    with muted("AuditLog"):
        Tag.objects.create(pk=key)
    with pytest.raises(HistoryIncomplete, match=r"deleted a row .* no entry tells when it came"):
        as_of((Tag, key), gone)


def test_a_stamp_that_is_asked_for_is_not_told_if_it_was_left_out(clock: Clock) -> None:
    page = Page.objects.create(title="a")
    at, stamp = clock.tick(), page.changed_at
    assert as_of(page, at, "changed_at").changed_at == stamp
    page.save()
    with pytest.raises(HistoryIncomplete, match="changed_at"):
        as_of(page, at, "changed_at")


def test_a_backfill_tells_what_the_row_is_then(clock: Clock, wire: Any) -> None:
    with muted("AuditLog"):
        tag = TagFactory(name="a")
    call_command("backfillauditlog", "testapp.Tag", verbosity=0)
    at = clock.tick()
    assert as_of(tag, at).name == "a"
    with muted("AuditLog"):
        Tag.objects.update(name="b")
    with pytest.raises(HistoryIncomplete, match="name"):
        as_of(tag, at)


def test_a_backfill_of_a_row_that_has_changed_tells_what_it_was_first(clock: Clock) -> None:
    with muted("AuditLog"):
        tag = TagFactory(name="a")
    change(tag, name="b")
    clock.tick()
    call_command("backfillauditlog", "testapp.Tag", verbosity=0)
    at = clock.tick()
    assert as_of(tag, at).name == "b"


def test_entries_of_any_form_do_no_harm(clock: Clock) -> None:
    tag = TagFactory(name="a")
    at = clock.tick()
    for _ in range(4):
        change(tag, name=tag.name + "b")
    clock.tick()
    odd: list[Any] = [["x"], "x", {"name": "x"}, {"name": []}]
    ids = AuditEntry.objects.filter(action="update").values_list("pk", flat=True)
    for pk, value in zip(ids, odd, strict=True):
        AuditEntry.objects.filter(pk=pk).update(changes=value)
    with pytest.raises(HistoryIncomplete, match="name"):
        as_of(tag, at)
