"""Django's silent writes are heard, and do exactly what they did."""

from __future__ import annotations

import inspect
from typing import Any
from unittest import mock

import pytest
from django.core.exceptions import FieldDoesNotExist
from django.db import IntegrityError, connection, models, transaction
from django.db.models import Count, F, QuerySet
from django.db.models.sql import UpdateQuery
from django.test.utils import CaptureQueriesContext

from django_signal_kit import ModelReceiver, batch
from django_signal_kit.units.unit import get_unit
from django_signal_kit.writes import bulk
from tests.apps.testapp.models import (
    Category,
    Club,
    Person,
    Plain,
    Product,
    ProductProxy,
    Tag,
    Token,
)
from tests.conftest import run_async
from tests.factories import CategoryFactory, ProductFactory, TagFactory

pytestmark = pytest.mark.django_db(transaction=True)


class Native(ModelReceiver):
    """Hears the kit's bulk signals themselves."""

    models = ["testapp.*"]
    exclude = ["testapp.Plain"]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.heard: list[Any] = []

    def _hear(self, *what: Any) -> None:
        unit = get_unit()
        assert unit is not None
        self.heard.append(what)

    def pre_bulk_create(self, sender: Any, objs: Any, **kwargs: Any) -> None:
        assert all(obj.pk is None for obj in objs) or sender is Token or kwargs["update_conflicts"]
        self._hear("pre_bulk_create", sender.__name__, len(objs))

    def post_bulk_create(self, sender: Any, objs: Any, **kwargs: Any) -> None:
        self._hear("post_bulk_create", sender.__name__, len(objs))

    def pre_bulk_update(self, sender: Any, objs: Any, fields: Any, **kwargs: Any) -> None:
        self._hear("pre_bulk_update", sender.__name__, len(objs), sorted(fields))

    def post_bulk_update(self, sender: Any, count: int, **kwargs: Any) -> None:
        self._hear("post_bulk_update", sender.__name__, count)

    def pre_queryset_update(self, sender: Any, values: Any, rows: Any, **kwargs: Any) -> None:
        self._hear("pre_queryset_update", sender.__name__, sorted(values), rows)

    def post_queryset_update(self, sender: Any, count: int, **kwargs: Any) -> None:
        self._hear("post_queryset_update", sender.__name__, count)


class Rows(ModelReceiver):
    """Knows only the row methods."""

    models = ["testapp.*"]
    exclude = ["testapp.Plain"]
    flush_on = "before_commit"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.heard: list[Any] = []
        self.flushed: list[list[Any]] = []

    def pre_save(self, instance: Any, update_fields: Any, **kwargs: Any) -> None:
        self.heard.append(("pre", getattr(instance, "name", "?")))

    def post_save(
        self, instance: Any, created: Any, update_fields: Any, using: Any, **kwargs: Any
    ) -> None:
        fields = None if update_fields is None else sorted(update_fields)
        self.heard.append(("post", getattr(instance, "name", "?"), created, fields))
        self.collect(getattr(instance, "name", "?"), using=using)

    def flush(self, items: list[Any]) -> None:
        self.flushed.append(items)


class AllRows(Rows):
    bulk = "all"


class AddsToUpdate(ModelReceiver):
    models = ["testapp.Product"]

    def pre_queryset_update(self, values: Any, **kwargs: Any) -> None:
        values["stock"] = 99

    def pre_bulk_update(self, objs: Any, fields: Any, **kwargs: Any) -> None:
        for obj in objs:
            obj.stock = 98
        fields.add("stock")


class StampsRows(ModelReceiver):
    models = ["testapp.Product"]

    def pre_save(self, instance: Any, update_fields: Any, **kwargs: Any) -> None:
        instance.stock = 97
        if update_fields is not None:
            update_fields.add("stock")


class AsyncRows(Rows):
    async def post_save(self, instance: Any, **kwargs: Any) -> None:  # type: ignore[override]
        self.heard.append(("post", instance.name))

    pre_save = None  # type: ignore[assignment]


NAMES = ["bulk_create", "bulk_update", "update"]
ORIGINALS = {name: getattr(QuerySet, name) for name in NAMES}
UPDATE_BATCH = UpdateQuery.update_batch


# Installation


def test_queryset_is_wrapped_only_if_a_receiver_hears_bulk_writes(wire: Any) -> None:
    wire(Rows)
    assert all(getattr(QuerySet, name) is not ORIGINALS[name] for name in NAMES)
    for name in NAMES:
        wrapper = getattr(QuerySet, name)
        assert inspect.signature(wrapper) == inspect.signature(ORIGINALS[name])
    assert QuerySet.update.alters_data
    wire((Rows, {"bulk": False}), (Native, {"bulk": False}))
    assert all(getattr(QuerySet, name) is ORIGINALS[name] for name in NAMES)
    assert UpdateQuery.update_batch is UPDATE_BATCH


def test_the_setting_switches_bulk_signals_off_and_leaves_saves_units(wire: Any) -> None:
    receiver = wire(Rows, BULK_SIGNALS=False)
    assert all(getattr(QuerySet, name) is ORIGINALS[name] for name in NAMES)
    Tag.objects.bulk_create([Tag(name="a")])
    assert receiver.heard == []
    Tag.objects.create(name="b")
    assert receiver.flushed == [["b"]]


# The kit's signals


def test_bulk_create_sends_a_signal_before_and_after(wire: Any) -> None:
    receiver = wire(Native)
    objs = Tag.objects.bulk_create(Tag(name=str(n)) for n in range(5))
    assert [tag.name for tag in objs] == ["0", "1", "2", "3", "4"]
    assert receiver.heard == [("pre_bulk_create", "Tag", 5), ("post_bulk_create", "Tag", 5)]


def test_a_positional_batch_size_is_djangos_own(wire: Any) -> None:
    wire(Native)
    with CaptureQueriesContext(connection) as queries:
        Tag.objects.bulk_create([Tag(name=str(n)) for n in range(10)], 4)
    assert len([q for q in queries if q["sql"].startswith("INSERT")]) == 3


def test_nothing_to_write_is_nothing_to_hear(wire: Any) -> None:
    receiver = wire(Native)
    assert Tag.objects.bulk_create([]) == []
    assert Tag.objects.bulk_update([], ["name"]) == 0
    assert receiver.heard == []


def test_bulk_update_is_heard_once_and_not_its_inner_updates(wire: Any) -> None:
    tags = TagFactory.create_batch(5)
    receiver = wire(Native)
    for tag in tags:
        tag.name = "x"
    assert Tag.objects.bulk_update((tag for tag in tags), ["name"], 2) == 5
    assert Tag.objects.filter(name="x").count() == 5
    assert receiver.heard == [
        ("pre_bulk_update", "Tag", 5, ["name"]),
        ("post_bulk_update", "Tag", 5),
    ]


def test_update_is_heard_without_a_query_of_its_own(
    wire: Any, django_assert_num_queries: Any
) -> None:
    TagFactory.create_batch(3)
    receiver = wire(Native)
    with django_assert_num_queries(1):
        assert Tag.objects.update(name="x") == 3
    assert receiver.heard == [
        ("pre_queryset_update", "Tag", ["name"], None),
        ("post_queryset_update", "Tag", 3),
    ]


def test_a_receiver_may_add_to_what_is_written(wire: Any) -> None:
    wire(AddsToUpdate)
    product = ProductFactory()
    Product.objects.update(name="x")
    assert Product.objects.values_list("name", "stock").get() == ("x", 99)
    product.name = "y"
    Product.objects.bulk_update([product], ["name"])
    assert Product.objects.values_list("name", "stock").get() == ("y", 98)


def test_relations_that_write_through_update_are_heard(wire: Any) -> None:
    category, products = CategoryFactory(), ProductFactory.create_batch(2)
    receiver = wire(Native)
    category.product_set.add(*products)
    category.product_set.remove(products[0])
    category.product_set.clear()
    counts = [heard[2] for heard in receiver.heard if heard[0] == "post_queryset_update"]
    assert counts == [2, 1, 1]


def test_set_null_of_a_deletion_is_heard(wire: Any) -> None:
    category = CategoryFactory()
    ProductFactory(category=category)
    receiver = wire(Native)
    category.delete()
    assert ("pre_queryset_update", "Product", ["category"], None) in receiver.heard
    assert Product.objects.get().category_id is None


def get_other_category() -> int:
    return Category.objects.values_list("pk", flat=True).get(name="other")


# Django updates by a queryset where it has loaded nothing, and by keys where it has.
@pytest.mark.parametrize(
    ("on_delete", "options", "is_loaded"),
    [
        (models.SET_NULL, {"null": True}, False),
        (models.SET_DEFAULT, {"default": get_other_category}, True),
        (models.SET(get_other_category), {}, True),
    ],
    ids=["SET_NULL", "SET_DEFAULT", "SET"],
)
@pytest.mark.parametrize("count", [1, 250])
def test_children_of_a_deleted_row_are_heard_once_each(
    wire: Any, make_model: Any, on_delete: Any, options: Any, is_loaded: bool, count: int
) -> None:
    field = models.ForeignKey(Category, on_delete, **options)
    child = make_model("Child", models.Model, name=models.CharField(max_length=9), parent=field)
    gone, stays, other = (CategoryFactory(name=name) for name in ("gone", "stays", "other"))
    kin = child.objects.bulk_create(child(name=f"k{n}", parent=gone) for n in range(count))
    child.objects.create(name="stranger", parent=stays)
    native, rows = wire((Native, {"models": [child]}), (AllRows, {"models": [child]}))
    with mock.patch.object(
        UpdateQuery, "update_batch", autospec=True, side_effect=UpdateQuery.update_batch
    ) as update_batch:
        gone.delete()
    assert update_batch.called is is_loaded

    assert [(what, name) for what, name, *_ in native.heard] == [
        ("pre_queryset_update", "Child"),
        ("post_queryset_update", "Child"),
    ]
    assert native.heard[0][2] == ["parent"]
    assert native.heard[1][2] == count
    names = sorted(row.name for row in kin)
    assert sorted(name for phase, name, *_ in rows.heard if phase == "pre") == names
    assert sorted(item for item in rows.heard if item[0] == "post") == [
        ("post", name, False, ["parent"]) for name in names
    ]
    assert [sorted(items) for items in rows.flushed] == [names]
    parents = set(child.objects.exclude(name="stranger").values_list("parent", flat=True))
    assert parents == {None if on_delete is models.SET_NULL else other.pk}
    assert child.objects.get(name="stranger").parent == stays


def test_a_deletion_of_many_rows_tells_each_child_once(wire: Any) -> None:
    categories = CategoryFactory.create_batch(3)
    for category in categories:
        ProductFactory(name=category.name, category=category)
    native, rows = wire((Native, {"models": [Product]}), (AllRows, {"models": [Product]}))
    Category.objects.all().delete()
    assert [what for what, *_ in native.heard] == ["pre_queryset_update", "post_queryset_update"]
    assert sorted(name for phase, name, *_ in rows.heard if phase == "post") == [
        category.name for category in categories
    ]


def test_async_twins_are_heard_once(wire: Any) -> None:
    receiver = wire(Native)

    async def main() -> None:
        await Tag.objects.abulk_create([Tag(name="a")])
        tag = await Tag.objects.aget()
        await Tag.objects.abulk_update([tag], ["name"])
        await Tag.objects.aupdate(name="b")

    run_async(main())
    assert [heard[0] for heard in receiver.heard] == [
        "pre_bulk_create",
        "post_bulk_create",
        "pre_bulk_update",
        "post_bulk_update",
        "pre_queryset_update",
        "post_queryset_update",
    ]


def test_a_proxy_is_heard_as_itself(wire: Any) -> None:
    receiver = wire(Native)
    ProductProxy.objects.bulk_create([ProductProxy(name="a")])
    assert receiver.heard[0][1] == "ProductProxy"


# Row by row


def test_row_methods_hear_bulk_create_with_the_keys_that_were_given(wire: Any) -> None:
    receiver = wire(Rows)
    Tag.objects.bulk_create([Tag(name="a"), Tag(name="b")])
    assert receiver.heard == [
        ("pre", "a"),
        ("pre", "b"),
        ("post", "a", True, None),
        ("post", "b", True, None),
    ]
    assert receiver.flushed == [["a", "b"]]


def test_row_methods_hear_bulk_update_with_its_fields(wire: Any) -> None:
    tags = TagFactory.create_batch(2, name="a")
    receiver = wire(Rows)
    Tag.objects.bulk_update(tags, ["name"])
    assert receiver.heard[2:] == [("post", "a", False, ["name"])] * 2
    assert receiver.flushed == [["a", "a"]]


def test_what_a_row_method_stamps_in_bulk_is_written(wire: Any) -> None:
    wire(StampsRows)
    [product] = Product.objects.bulk_create([Product(name="a")])
    assert Product.objects.get().stock == 97
    Product.objects.update(stock=1)
    product.name = "b"
    Product.objects.bulk_update([product], ["name"])
    assert Product.objects.values_list("name", "stock").get() == ("b", 97)


def test_row_methods_hear_update_only_if_they_ask_for_all(wire: Any) -> None:
    TagFactory(name="a")
    receiver = wire(Rows)
    Tag.objects.update(name="b")
    assert receiver.heard == []
    receiver = wire(AllRows)
    Tag.objects.update(name="c")
    assert receiver.heard == [("pre", "b"), ("post", "c", False, ["name"])]
    assert receiver.flushed == [["c"]]


def test_with_conflicts_nobody_says_that_a_row_is_new(wire: Any) -> None:
    receiver = wire(Rows)
    Tag.objects.bulk_create([Tag(name="a")], ignore_conflicts=True)
    assert receiver.heard[-1] == ("post", "a", None, None)
    if connection.features.supports_update_conflicts_with_target:
        tag = Tag.objects.get()
        Tag.objects.bulk_create(
            [Tag(pk=tag.pk, name="b")],
            update_conflicts=True,
            unique_fields=["id"],
            update_fields=["name"],
        )
        assert receiver.heard[-1] == ("post", "b", None, None)
        assert Tag.objects.get().name == "b"


@pytest.mark.parametrize("cls", [Rows, Native])
def test_bulk_switched_off_hears_nothing(wire: Any, cls: Any) -> None:
    receiver, other = wire((cls, {"bulk": False}), AllRows)
    tags = Tag.objects.bulk_create([Tag(name="a")])
    Tag.objects.bulk_update(tags, ["name"])
    Tag.objects.update(name="b")
    assert receiver.heard == []
    assert len(other.heard) == 6


def test_a_stamp_without_bulk_is_left_as_it_is(wire: Any) -> None:
    wire(("django_signal_kit.receivers.LastModified", {"models": [Product], "bulk": False}))
    [made] = Product.objects.bulk_create([Product(name="a")])
    Product.objects.update(name="b")
    Product.objects.bulk_update([made], ["name"])
    assert Product.objects.get().updated_at is None
    made.save()
    assert Product.objects.get().updated_at is not None


def test_async_row_methods_hear_bulk_writes(wire: Any) -> None:
    receiver = wire(AsyncRows)
    Tag.objects.bulk_create([Tag(name="a"), Tag(name="b")])
    assert receiver.heard == [("post", "a"), ("post", "b")]


# Update, with rows


@pytest.mark.parametrize(
    "make",
    [
        lambda: Product.objects.filter(category__name="c"),
        lambda: Product.objects.annotate(n=Count("tags")).filter(n=0, category__name="c"),
        lambda: Product.objects.filter(category__name="c").distinct(),
        lambda: Product.objects.filter(category__name="c").order_by("-name"),
        lambda: Product.objects.filter(category__name="c").values("name"),
        lambda: Product.objects.filter(category__name="c").only("name"),
        lambda: Product.objects.filter(category__name="c").select_related("category"),
        lambda: Category.objects.get(name="c").product_set.all(),
        lambda: ProductProxy.objects.filter(category__name="c"),
    ],
    ids=[
        "join",
        "aggregate",
        "distinct",
        "ordered",
        "values",
        "only",
        "select_related",
        "manager",
        "proxy",
    ],
)
def test_any_queryset_tells_the_rows_that_it_updates(wire: Any, make: Any) -> None:
    ProductFactory(name="other")
    ProductFactory(name="a", stock=1, category=CategoryFactory(name="c"))
    receiver = wire(AllRows)
    queryset = make()
    assert queryset.update(name="x", stock=F("stock") + 1) == 1
    assert receiver.heard == [("pre", "a"), ("post", "x", False, ["name", "stock"])]
    assert Product.objects.get(name="x").stock == 2
    assert Product.objects.filter(name="other").count() == 1


def test_an_instance_as_a_value_is_djangos_own(wire: Any) -> None:
    ProductFactory(name="a")
    category = CategoryFactory()
    receiver = wire(AllRows)
    receiver.heard.clear()
    assert Product.objects.update(category=category) == 1
    assert Product.objects.get().category == category
    assert receiver.heard == [("pre", "a"), ("post", "a", False, ["category"])]


def test_update_of_nothing_is_nothing(wire: Any) -> None:
    receiver = wire(AllRows)
    assert Tag.objects.filter(pk=None).update(name="x") == 0
    assert Tag.objects.none().update(name="x") == 0
    assert Tag.objects.filter(name="nobody").update(name="x") == 0
    assert receiver.heard == []


# Errors


def test_errors_are_djangos_own_and_leave_the_transaction_usable(wire: Any) -> None:
    TagFactory()
    wire(AllRows)
    with transaction.atomic():
        with pytest.raises(TypeError, match="slice"):
            Tag.objects.all()[:1].update(name="x")
        with pytest.raises(ValueError, match="Batch size"):
            Tag.objects.bulk_update([Tag.objects.get()], ["name"], batch_size=-1)
        with pytest.raises(FieldDoesNotExist, match="nme"):
            Tag.objects.update(nme="x")
        Tag.objects.create(name="b")
    assert Tag.objects.filter(name="b").exists()


def test_a_failed_bulk_create_leaves_nothing(wire: Any) -> None:
    receiver = wire(Rows)
    token = Token.objects.create(name="a")
    receiver.flushed.clear()
    new = Token(name="b")
    with pytest.raises(IntegrityError):
        Token.objects.bulk_create([new, Token(pk=token.pk, name="c")])
    assert receiver.flushed == []
    assert new._state.adding
    Token.objects.bulk_create([new])
    assert receiver.flushed == [["b"]]


class Refusing(Rows):
    def flush(self, items: list[Any]) -> None:
        raise ValueError("refused")


def test_a_refused_flush_takes_the_bulk_write_with_it(wire: Any) -> None:
    tag = TagFactory(name="a")
    wire((Refusing, {"bulk": "all"}))
    new = Tag(name="b")
    with pytest.raises(ValueError, match="refused"):
        Tag.objects.bulk_create([new])
    assert (new.pk, new._state.adding) == (None, True)
    tag.name = "c"
    with pytest.raises(ValueError, match="refused"):
        Tag.objects.bulk_update([tag], ["name"])
    with pytest.raises(ValueError, match="refused"):
        Tag.objects.update(name="d")
    assert [tag.name for tag in Tag.objects.all()] == ["a"]


def test_bulk_writes_in_a_batch_are_one_unit(wire: Any) -> None:
    receiver = wire(AllRows)
    with batch():
        Tag.objects.bulk_create([Tag(name="a")])
        Tag.objects.update(name="b")
        Tag.objects.create(name="c")
    assert receiver.flushed == [["a", "b", "c"]]


# Uncovered


def test_an_uncovered_model_costs_the_same_queries(wire: Any) -> None:
    def write() -> list[str]:
        with CaptureQueriesContext(connection) as queries:
            Plain.objects.bulk_create([Plain(id=n, name=str(n)) for n in range(1, 4)])
            plain = Plain.objects.first()
            assert plain is not None
            Plain.objects.bulk_update([plain], ["name"])
            Plain.objects.update(number=F("number") + 1)
            Plain.objects.all().delete()
        return [query["sql"] for query in queries]

    wire()
    bare = write()
    receiver = wire(AllRows)
    assert write() == bare
    assert receiver.heard == []
    assert Plain not in bulk.covered


def test_an_explicit_through_model_is_heard_as_rows_and_an_automatic_one_is_not(wire: Any) -> None:
    receiver = wire(AllRows)
    first, second = Person.objects.create(name="a"), Person.objects.create(name="b")
    first.friends.add(second)
    Club.objects.create(name="c").members.add(Person.objects.first())
    assert [heard[1] for heard in receiver.heard if heard[0] == "post"] == ["a", "b", "c", "?"]


class Members(ModelReceiver):
    """Hears the rows of a through model that is written out."""

    models = ["testapp.Membership"]
    flush_on = "before_commit"
    bulk = "all"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.flushed: list[list[Any]] = []

    def post_save(self, instance: Any, created: Any, **kwargs: Any) -> None:
        self.collect(("create" if created else "update", instance.person.name))

    def post_delete(self, instance: Any, **kwargs: Any) -> None:
        self.collect(("delete", instance.person.name))

    def flush(self, items: list[Any]) -> None:
        self.flushed.append(sorted(items))


def test_each_row_of_an_explicit_through_model_is_counted_once(wire: Any) -> None:
    club = Club.objects.create(name="c")
    ann, bea, cid = (Person.objects.create(name=name) for name in ("ann", "bea", "cid"))
    receiver = wire(Members)

    def get_flushed() -> list[list[Any]]:
        flushed, receiver.flushed = receiver.flushed, []
        return flushed  # type: ignore[no-any-return]

    club.members.add(ann, bea)
    assert get_flushed() == [[("create", "ann"), ("create", "bea")]]
    club.members.add(ann)
    assert get_flushed() == []
    with batch():
        club.members.set([bea, cid])
    assert get_flushed() == [[("create", "cid"), ("delete", "ann")]]
    cid.clubs.remove(club)
    assert get_flushed() == [[("delete", "cid")]]
    club.members.clear()
    assert get_flushed() == [[("delete", "bea")]]
    club.members.through.objects.create(club=club, person=ann)
    club.members.through.objects.update(role="head")
    assert get_flushed() == [[("create", "ann")], [("update", "ann")]]
    club.delete()
    assert get_flushed() == [[("delete", "ann")]]
