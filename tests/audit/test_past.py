"""A row as it was is what it was, or the log says that it cannot tell."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import FieldDoesNotExist
from django.core.management import call_command
from django.db import transaction
from django.db.models import F
from django.template import Context, Template
from django.test.utils import override_settings
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from django_signal_kit import context
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.audit.past import HistoryIncomplete
from django_signal_kit.receivers import AuditLog, LastModified
from tests.apps.testapp.models import Page, Place, Plain, Product, Restaurant, Tag, Token
from tests.audit.clock import START, Clock
from tests.conftest import as_entry
from tests.factories import (
    CategoryFactory,
    ProductFactory,
    RestaurantFactory,
    TagFactory,
    UserFactory,
)

pytestmark = pytest.mark.django_db(databases=["default", "other"])

#: All but the secret.
COLUMNS = [f.name for f in Product._meta.concrete_fields if f.name != "api_token"]
ATTNAMES = [f.attname for f in Product._meta.concrete_fields if f.name != "api_token"]


@pytest.fixture
def clock(log: None) -> Clock:
    clock = Clock()
    TagFactory(name="first")
    clock.tick()
    return clock


def as_of(obj: Any, moment: Any, fields: Any = None) -> Any:
    return AuditEntry.objects.as_of(obj, moment, fields)


def values(pk: int) -> dict[str, Any] | None:
    return Product.objects.filter(pk=pk).values(*ATTNAMES).first()


# What a row was

KEY = 77
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["a", "b", "é"]),
        "price": st.decimals(0, 99, places=2),
        "stock": st.integers(-5, 5),
        "data": st.sampled_from([{}, {"a": [1, None]}, [True], "x", 1.5]),
        "created_at": st.none()
        | st.datetimes(datetime.datetime(2000, 1, 1)).map(
            lambda value: value.replace(year=2020, fold=0, tzinfo=datetime.UTC)
        ),
        "category_id": st.sampled_from([None, 1, 2]),
        "image": st.sampled_from(["", "products/a.png"]),
        "api_token": st.sampled_from(["", "s3cret"]),
    },
)
STEPS = st.lists(
    st.tuples(st.sampled_from(["save", "save", "bulk_update", "update", "delete"]), CHANGES),
    max_size=8,
)


def take_step(kind: str, changes: dict[str, Any]) -> None:
    row = Product.objects.filter(pk=KEY).first()
    if row is None:
        Product.objects.create(pk=KEY, **changes)
    elif kind == "delete":
        row.delete()
    elif kind == "update" and changes:
        Product.objects.filter(pk=KEY).update(**changes)
    else:
        for name, value in changes.items():
            setattr(row, name, value)
        if kind == "save":
            row.save()
        elif changes:
            names = [name.removesuffix("_id") for name in changes]
            Product.objects.bulk_update([row], names)


@given(steps=STEPS)
@settings(deadline=None)
def test_each_moment_gives_back_what_the_row_was_then(steps: Any) -> None:
    entry = as_entry((AuditLog, {"models": ["testapp.*"]}))
    with transaction.atomic(), override_settings(SIGNAL_KIT={"RECEIVERS": [entry]}):
        clock = Clock()
        for key in (1, 2):
            CategoryFactory(pk=key)
        remembered = {clock.tick(): None}
        for kind, changes in steps:
            take_step(kind, changes)
            remembered[clock.tick()] = values(KEY)
        for moment, expected in remembered.items():
            for at in (moment, moment + datetime.timedelta(seconds=59)):
                row = as_of((Product, KEY), at, COLUMNS)
                found = row and {name: row.__dict__[name] for name in ATTNAMES}
                assert repr(found) == repr(expected)
        transaction.set_rollback(True)


def test_a_row_is_an_instance_with_all_its_fields(
    clock: Clock, django_assert_num_queries: Any
) -> None:
    product = ProductFactory(name="a", price="1.50")
    before = clock.tick()
    Product.objects.update(name="b", price="2.00")
    clock.tick()
    as_of(product, before)
    with django_assert_num_queries(2):
        row = as_of(product, before)
        assert (row.name, row.price, row.pk) == ("a", Decimal("1.50"), product.pk)
        assert row == product
        assert not row._state.adding
        assert not row.get_deferred_fields()


def test_before_its_creation_there_was_none(clock: Clock, django_assert_num_queries: Any) -> None:
    product = ProductFactory()
    at = clock.tick()
    before = at - datetime.timedelta(seconds=1)
    as_of(product, at)
    with django_assert_num_queries(2):
        assert as_of(product, before) is None
    assert as_of(product, at) is not None
    assert as_of((Product, 4711), at) is None


def test_what_the_queryset_leaves_out_is_undone_too(clock: Clock) -> None:
    ann = UserFactory()
    tag = TagFactory(name="a")
    at = clock.tick()
    with context(actor=ann):
        tag.name = "b"
        tag.save()
    tag.name = "c"
    tag.save()
    assert AuditEntry.objects.by(ann).as_of(tag, at).name == "a"
    assert AuditEntry.objects.none().as_of(tag, at).name == "a"


def test_a_row_that_is_gone_is_told_by_its_deletion(clock: Clock) -> None:
    tag = TagFactory(name="a")
    at = clock.tick()
    key = tag.pk
    tag.delete()
    gone = clock.tick()
    assert as_of((Tag, key), at).name == "a"
    assert as_of((Tag, key), gone) is None


def test_a_date_is_its_midnight_here(clock: Clock) -> None:
    tag = TagFactory()
    clock.tick()
    assert as_of(tag, timezone.localdate()).name == tag.name
    with pytest.raises(ValueError, match="make_aware"):
        as_of(tag, datetime.datetime(2026, 1, 1))


def test_a_row_of_another_database_is_another_row(clock: Clock) -> None:
    tag = TagFactory(name="here")
    at = clock.tick()
    Tag.objects.using("other").create(pk=tag.pk, name="there")
    clock.tick()
    tag.name = "later"
    tag.save()
    clock.tick()
    assert as_of(tag, at).name == "here"


# It is not saved


def test_it_is_not_saved_by_accident(clock: Clock) -> None:
    tag = TagFactory(name="a")
    at = clock.tick()
    row = as_of(tag, at)
    for write in (row.save, row.delete):
        with pytest.raises(TypeError, match=r"row as it was at .*it is not saved"):
            write()
    assert Template("{{ row.name }}{{ row.delete }}").render(Context({"row": row})) == "a"
    tag.save()
    assert Tag.objects.filter(pk=tag.pk).exists()


# What the log cannot tell


def test_a_value_that_was_redacted_is_named(clock: Clock) -> None:
    product = ProductFactory(api_token="a")
    at = clock.tick()
    assert as_of(product, at).api_token == "a"
    product.api_token = "b"
    product.save()
    clock.tick()
    with pytest.raises(HistoryIncomplete, match="api_token"):
        as_of(product, at)
    row = as_of(product, at, ["name"])
    assert row.name == product.name
    for name in ("api_token", "price"):
        with pytest.raises(HistoryIncomplete, match=name):
            getattr(row, name)


def test_fields_that_are_no_columns_are_refused(clock: Clock) -> None:
    with pytest.raises(FieldDoesNotExist, match=r"'tags'.*It has id, "):
        as_of((Product, 1), clock.now, ["tags"])


def test_a_field_that_is_not_recorded_is_named(clock: Clock, wire: Any) -> None:
    wire((AuditLog, {"models": ["testapp.*"], "exclude_fields": ["stock"]}))
    product = ProductFactory()
    at = clock.tick()
    with pytest.raises(HistoryIncomplete, match=r"stock.*No AuditLog that is wired records it"):
        as_of(product, at)
    assert as_of(product, at, ["name"]).name == product.name


def test_without_an_audit_log_nothing_is_known(clock: Clock, wire: Any) -> None:
    wire()
    plain = Plain.objects.create(name="a")
    with pytest.raises(HistoryIncomplete, match=r"testapp.Plain.*No AuditLog"):
        as_of(plain, clock.tick())


def test_what_nobody_has_read_is_named(clock: Clock, wire: Any) -> None:
    wire((AuditLog, {"models": ["testapp.*"], "bulk": "statement"}))
    tag = TagFactory(name="a")
    at = clock.tick()
    Tag.objects.update(name=F("name"))
    later = clock.tick()
    with pytest.raises(HistoryIncomplete, match=r"Tag\.name"):
        as_of(tag, at)
    Tag.objects.bulk_create([Tag(name="b")])
    clock.tick()
    with pytest.raises(HistoryIncomplete, match="may have created"):
        as_of(Tag.objects.get(name="b"), later)
    # Its own entry says that it was there.
    tag.save()
    tag.name = "c"
    tag.save()
    assert as_of(tag, clock.tick()).name == "c"


def test_a_creation_that_is_not_certain_is_told(clock: Clock) -> None:
    before = clock.now
    Tag.objects.bulk_create([Tag(pk=90, name="a")], ignore_conflicts=True)
    clock.tick()
    with pytest.raises(HistoryIncomplete, match="may have created"):
        as_of((Tag, 90), before)


def test_before_the_log_began_nothing_is_known(clock: Clock, wire: Any) -> None:
    tag = TagFactory()
    clock.tick()
    with pytest.raises(HistoryIncomplete, match="no entry from"):
        as_of((Tag, 4711), START - datetime.timedelta(days=1))
    assert as_of(tag, START - datetime.timedelta(days=1)) is None


def test_a_row_that_was_there_before_the_log_is_told_back_to_its_beginning(
    clock: Clock, wire: Any
) -> None:
    wire()
    tag = TagFactory(name="a")
    wire((AuditLog, {"models": ["testapp.*"]}))
    before = clock.tick()
    tag.name = "b"
    tag.save()
    clock.tick()
    assert as_of(tag, before).name == "a"
    call_command("backfillauditlog", "testapp.Tag", verbosity=0)
    clock.tick()
    assert as_of(tag, before).name == "a"


def test_a_row_that_went_unheard_is_told(clock: Clock, wire: Any) -> None:
    tag = TagFactory()
    at = clock.tick()
    tag.name = "b"
    tag.save()
    clock.tick()
    key = tag.pk
    Tag.objects.filter(pk=key)._raw_delete("default")
    with pytest.raises(HistoryIncomplete, match="no entry tells how it went"):
        as_of((Tag, key), at)


def test_stamps_that_the_log_leaves_out_are_not_given(clock: Clock, wire: Any) -> None:
    page = Page.objects.create(title="a")
    at = clock.tick()
    page.save()
    row = as_of(page, at)
    assert row.title == "a"
    with pytest.raises(HistoryIncomplete, match="changed_at"):
        _ = row.changed_at
    wire((AuditLog, {"models": ["testapp.*"], "stamps": True}))
    page = Page.objects.create(title="a")
    at, stamp = clock.tick(), Page.objects.get(pk=page.pk).changed_at
    page.save()
    clock.tick()
    assert as_of(page, at).changed_at == stamp


def test_stamps_of_receivers_are_stamps(clock: Clock, wire: Any) -> None:
    wire(
        (AuditLog, {"models": ["testapp.*"]}),
        (LastModified, {"models": ["testapp.Product"]}),
    )
    row = as_of(ProductFactory(), clock.tick())
    with pytest.raises(HistoryIncomplete, match="updated_at"):
        _ = row.updated_at


# One row in several tables


def test_a_child_is_told_by_the_entries_of_its_parent_too(clock: Clock) -> None:
    restaurant = RestaurantFactory(name="a", stars=1)
    at = clock.tick()
    place = Place.objects.get(pk=restaurant.pk)
    place.name = "b"
    place.save()
    clock.tick()
    restaurant.refresh_from_db()
    restaurant.stars = 2
    restaurant.save()
    clock.tick()
    row = as_of(restaurant, at)
    assert (row.name, row.stars) == ("a", 1)
    assert as_of(place, at).name == "a"
    with pytest.raises(HistoryIncomplete, match="may have created"):
        as_of(place, START + datetime.timedelta(minutes=1))
    assert as_of(restaurant, START + datetime.timedelta(minutes=1)) is None


def test_a_parent_that_went_with_its_child_is_told(clock: Clock) -> None:
    restaurant = RestaurantFactory(name="a")
    at, key = clock.tick(), restaurant.pk
    restaurant.delete()
    clock.tick()
    assert as_of((Place, key), at).name == "a"
    assert as_of((Restaurant, key), at).name == "a"


def test_keys_may_be_of_any_kind(clock: Clock) -> None:
    token = Token.objects.create(name="a")
    at, key = clock.tick(), token.pk
    token.delete()
    clock.tick()
    assert as_of((Token, str(key)), at, ["name"]).pk == key
