"""bulk_update() tells of the rows that it has written, once each, whatever names their keys."""

from __future__ import annotations

import datetime
import uuid
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.core.cache import cache
from django.core.exceptions import FieldDoesNotExist
from django.db import connection, models, transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from django_signal_kit import ModelReceiver
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.receivers import AuditLog, CacheInvalidation, LastModified
from tests.apps.rarities.models import OrderLine
from tests.apps.testapp.models import Product, Restaurant, Tag, Ticket, Token
from tests.factories import CategoryFactory, ProductFactory, RestaurantFactory, TagFactory
from tests.relations.told import tell

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def audit(wire: Any) -> Any:
    ContentType.objects.clear_cache()
    return wire((AuditLog, {"models": ["testapp.*", "rarities.*"]}))


def told() -> list[tuple[str, Any]]:
    """Key and changes of each entry; the log is empty afterwards."""
    found = [(entry.object_pk, entry.changes) for entry in AuditEntry.objects.order_by("pk")]
    AuditEntry.objects.all().delete()
    return found


class Hearing(ModelReceiver):
    models = [Tag]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.heard: list[Any] = []

    def pre_bulk_update(self, objs: Any, **kwargs: Any) -> None:
        self.heard.append([obj.name for obj in objs])

    def post_bulk_update(self, objs: Any, count: int, **kwargs: Any) -> None:
        self.heard.append(([obj.name for obj in objs], count))


# Which rows


def test_an_object_that_is_given_twice_is_told_once(audit: Any) -> None:
    tag = TagFactory(name="a")
    tell()
    tag.name = "b"
    assert Tag.objects.bulk_update([tag, tag], ["name"]) == 1
    assert told() == [(str(tag.pk), {"name": ["a", "b"]})]


@pytest.mark.parametrize(("batch_size", "stored"), [(None, "b"), (3, "b"), (1, "c"), (2, "b")])
def test_of_two_objects_of_a_row_that_is_told_whose_values_it_has_got(
    wire: Any, batch_size: int | None, stored: str
) -> None:
    ContentType.objects.clear_cache()
    receiver, _ = wire(Hearing, (AuditLog, {"models": [Tag]}))
    tag = TagFactory(name="a")
    tell()
    copies = [Tag(pk=tag.pk, name="b"), Tag(pk=str(tag.pk), name="c")]
    Tag.objects.bulk_update(copies, ["name"], batch_size=batch_size)
    assert Tag.objects.get().name == stored
    assert told() == [(str(tag.pk), {"name": ["a", stored]})]
    assert receiver.heard[0] == ["b", "c"]
    assert receiver.heard[1][0] == [stored]


def test_a_row_that_is_gone_is_told_to_nobody(wire: Any) -> None:
    kept, gone = TagFactory(name="a"), TagFactory(name="a")
    Tag.objects.filter(pk=gone.pk).delete()
    receiver = wire(Hearing)
    kept.name = gone.name = "b"
    assert Tag.objects.bulk_update([gone, kept], ["name"]) == 1
    assert receiver.heard == [["b", "b"], (["b"], 1)]
    assert Tag.objects.bulk_update([gone], ["name"]) == 0
    assert receiver.heard[2:] == [["b"], ([], 0)]


def test_a_manager_that_filters_tells_what_it_finds(audit: Any) -> None:
    hidden = Ticket._base_manager.create(name="a", is_closed=True)
    seen = [Ticket.objects.create(name="a") for _ in range(2)]
    tell()
    for ticket in (hidden, *seen):
        ticket.name, ticket.is_closed = "b", True
    # Afterwards the manager hides them all.
    assert Ticket.objects.bulk_update([hidden, *seen], ["name", "is_closed"]) == 2
    assert told() == [
        (str(ticket.pk), {"name": ["a", "b"], "is_closed": [False, True]}) for ticket in seen
    ]


@pytest.mark.parametrize(("batch_size", "stored"), [(1, "b"), (2, "b"), (None, "b")])
def test_a_row_that_its_first_values_hide_keeps_them(
    audit: Any, batch_size: int | None, stored: str
) -> None:
    tag = TagFactory(name="a")
    tell()
    copies = [Tag(pk=tag.pk, name="b"), Tag(pk=tag.pk, name="c")]
    assert Tag.objects.filter(name="a").bulk_update(copies, ["name"], batch_size) == 1
    assert Tag.objects.get().name == stored
    assert told() == [(str(tag.pk), {"name": ["a", stored]})]


def test_a_queryset_that_filters_tells_what_it_finds(audit: Any) -> None:
    products = ProductFactory.create_batch(3, category=CategoryFactory(name="hot"), stock=1)
    products[1].category = None
    products[1].save()
    tell()
    for product in products:
        product.stock = 2
    hot = Product.objects.filter(category__name="hot")
    assert hot.bulk_update(products, ["stock"]) == 2
    assert [key for key, _ in told()] == [str(products[0].pk), str(products[2].pk)]


def test_a_manager_that_finds_all_costs_no_query_more(wire: Any) -> None:
    tags = TagFactory.create_batch(3)
    wire((Hearing, {"models": [Tag]}))
    with CaptureQueriesContext(connection) as queries:
        Tag.objects.bulk_update(tags, ["name"])
    kinds = [query["sql"].split()[0] for query in queries]
    assert [kind for kind in kinds if kind not in ("BEGIN", "COMMIT")] == ["UPDATE"]


def test_django_cuts_its_statements_as_ever(audit: Any) -> None:
    tags = TagFactory.create_batch(5, name="a")
    tell()
    for tag in tags:
        tag.name = "b"
    with CaptureQueriesContext(connection) as queries:
        assert Tag.objects.bulk_update([*tags, *tags], ["name"], 3) == 10
    assert len([q for q in queries if q["sql"].startswith("UPDATE") and "CASE" in q["sql"]]) == 4
    assert [changes for _, changes in told()] == [{"name": ["a", "b"]}] * 5


def test_columns_of_a_parent_are_told_of_the_rows_that_are_there(audit: Any) -> None:
    kept, gone = RestaurantFactory(name="a"), RestaurantFactory(name="a")
    Restaurant.objects.filter(pk=gone.pk).delete()
    tell()
    kept.name = gone.name = "b"
    Restaurant.objects.bulk_update([gone, kept], ["name"])
    assert told() == [(str(kept.pk), {"name": ["a", "b"]})]


@pytest.mark.parametrize("name", ["category", "category_id"])
def test_an_expression_is_told_as_it_came_out(audit: Any, name: str) -> None:
    category = CategoryFactory()
    products = ProductFactory.create_batch(2, stock=1)
    tell()
    for product in products:
        product.stock, product.category_id = F("stock") + 1, category.pk
    Product.objects.bulk_update(products, ["stock", name])
    assert [changes for _, changes in told()] == [
        {"stock": [1, 2], "category": [None, category.pk]}
    ] * 2


def test_errors_are_those_of_django(audit: Any) -> None:
    tag = TagFactory(name="a")
    tell()
    tag.name = "b"
    wrong: list[tuple[type[Exception], str, Any]] = [
        (ValueError, "Batch size", lambda: Tag.objects.bulk_update([tag], ["name"], -1)),
        (ValueError, "Field names", lambda: Tag.objects.bulk_update([tag], [])),
        (ValueError, "primary key set", lambda: Tag.objects.bulk_update([Tag()], ["name"])),
        (ValueError, "primary key fields", lambda: Tag.objects.bulk_update([tag], ["id"])),
        (FieldDoesNotExist, "nme", lambda: Tag.objects.bulk_update([tag], ["nme"])),
    ]
    with transaction.atomic():
        for cls, words, act in wrong:
            with pytest.raises(cls, match=words):
                act()
        Tag.objects.create(name="c")
    with pytest.raises(TypeError, match="slice"):
        Tag.objects.all()[:1].bulk_update([tag], ["name"])
    assert sorted(Tag.objects.values_list("name", flat=True)) == ["a", "c"]


# Keys


def test_keys_may_be_text(wire: Any) -> None:
    ContentType.objects.clear_cache()
    wire(
        (AuditLog, {"models": [Product]}),
        (CacheInvalidation, {"models": [Product], "keys": ["{pk}", "{slug}"]}),
    )
    products = [ProductFactory(name="a", slug=f"s{number}") for number in range(3)]
    keys = [*(product.slug for product in products), *(str(product.pk) for product in products)]
    cache.set_many(dict.fromkeys(keys, "page"))
    tell()
    rows = [Product(pk=str(product.pk), name="b") for product in products]
    assert Product.objects.bulk_update(rows, ["name"]) == 3
    assert told() == [(str(product.pk), {"name": ["a", "b"]}) for product in products]
    assert cache.get_many(keys) == {}


def make_uuid() -> list[Any]:
    key = uuid.uuid4()
    return [key, str(key).upper(), key.hex, f"{{{key}}}", key.int]


KEYS: dict[str, tuple[Any, list[Any]]] = {
    "uuid": (models.UUIDField(primary_key=True), make_uuid()),
    "decimal": (
        models.DecimalField(max_digits=8, decimal_places=2, primary_key=True),
        [Decimal("1.50"), Decimal("1.5"), "1.5", "1.500"],
    ),
    "datetime": (
        models.DateTimeField(primary_key=True),
        [
            datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=datetime.UTC),
            datetime.datetime(
                2024, 1, 2, 5, 4, 5, tzinfo=datetime.timezone(datetime.timedelta(hours=2))
            ),
            "2024-01-02T03:04:05Z",
            "2024-01-02 05:04:05+02:00",
        ],
    ),
    "date": (
        models.DateField(primary_key=True),
        [datetime.date(2024, 1, 2), "2024-01-02"],
    ),
    "number": (models.IntegerField(primary_key=True), [7, "7", " 7 ", True + 6]),
    "text": (models.CharField(max_length=20, primary_key=True), ["7", 7]),
}


@pytest.mark.parametrize("kind", KEYS)
def test_a_row_is_one_row_however_its_key_is_written(
    make_model: Any, wire: Any, kind: str
) -> None:
    field, forms = KEYS[kind]
    keyed = make_model(
        "Keyed", models.Model, key=field.clone(), name=models.CharField(max_length=9)
    )
    ContentType.objects.clear_cache()
    wire((AuditLog, {"models": [keyed]}))
    for form in forms:
        for other in forms:
            keyed.objects.all().delete()
            tell()
            keyed.objects.create(pk=form, name="a")
            copies = [keyed(pk=key, name="b") for key in (other, form)]
            keyed.objects.bulk_update(copies, ["name"])
            keyed(pk=other, name="c").save(force_update=True)
            keyed(pk=other, name="d").save()
            keyed.objects.filter(pk=other).update(name="e")
            row = keyed.objects.get()
            row.name = "f"
            row.save()
            found = AuditEntry.objects.for_object((keyed, other)).order_by("pk")
            assert [entry.changes["name"] for entry in found] == [
                [None, "a"],
                ["a", "b"],
                ["b", "c"],
                ["c", "d"],
                ["d", "e"],
                ["e", "f"],
            ]
            keyed(pk=other).delete()
            keyed.objects.bulk_create([keyed(pk=other, name="g")])
            assert len(set(AuditEntry.objects.values_list("object_pk", flat=True))) == 1


def test_a_key_of_two_columns_may_be_text(audit: Any) -> None:
    OrderLine.objects.create(order=1, number=2, text="a")
    tell()
    line = OrderLine(order="1", number="2", text="b")
    assert OrderLine.objects.bulk_update([line], ["text"]) == 1
    assert told() == [("[1, 2]", {"text": ["a", "b"]})]
    line = OrderLine(order="1", number="2", text="c")
    line.save()
    assert told() == [("[1, 2]", {"text": ["b", "c"]})]


@pytest.mark.parametrize("key", [2**63, -(2**63) - 1, 2**70, str(2**70)])
@pytest.mark.parametrize("is_known", [False, True], ids=["first", "later"])
def test_a_number_that_no_column_holds_fails_as_it_does_with_django(
    wire: Any, key: Any, is_known: bool
) -> None:
    def outcomes() -> list[Any]:
        found: list[Any] = []
        if is_known:
            TagFactory(name="x").save()
        for act in (
            lambda: Tag(pk=key, name="a").save(),
            lambda: Tag(pk=key, name="a").save(force_update=True),
            lambda: Tag.objects.create(pk=key, name="a"),
            lambda: Tag.objects.bulk_update([Tag(pk=key, name="a")], ["name"]),
            lambda: Tag.objects.bulk_create([Tag(pk=key, name="a")]),
            lambda: Tag.objects.filter(pk=key).update(name="b"),
            lambda: Tag(pk=key).delete(),
        ):
            try:
                found.append(act())  # type: ignore[no-untyped-call]
            except Exception as error:
                found.append(type(error))
        return found

    wire()
    bare = outcomes()
    ContentType.objects.clear_cache()
    wire((AuditLog, {"models": [Tag]}))
    assert outcomes() == bare
    assert not AuditEntry.objects.filter(object_pk=str(key)).exists()


def test_a_key_that_is_none_fails_as_it_does_with_django(wire: Any) -> None:
    def outcomes() -> list[Any]:
        found: list[Any] = []
        for act in (
            lambda: Token(pk="no uuid", name="a").save(),
            lambda: Token.objects.bulk_update([Token(pk="no uuid", name="a")], ["name"]),
            lambda: Token.objects.filter(pk="no uuid").update(name="b"),
            lambda: Tag(pk="no number", name="a").save(),
            lambda: Tag.objects.bulk_update([Tag(pk="no number", name="a")], ["name"]),
        ):
            try:
                found.append(act())  # type: ignore[no-untyped-call]
            except Exception as error:
                found.append((type(error), str(error)))
        return found

    wire()
    bare = outcomes()
    ContentType.objects.clear_cache()
    wire((AuditLog, {"models": [Tag, Token]}))
    assert outcomes() == bare


# Rows that are there, of instances that were made by hand


@pytest.mark.parametrize("how", [{"force_update": True}, {"raw": True}])
def test_a_row_with_a_key_of_its_own_is_known_by_an_instance_made_by_hand(
    wire: Any, how: Any
) -> None:
    ContentType.objects.clear_cache()
    wire((AuditLog, {"models": [Token], "raw": True}))
    token = Token.objects.create(name="a")
    tell()
    Token(pk=token.pk, name="b").save_base(**how)
    assert told() == [(str(token.pk), {"name": ["a", "b"]})]


def test_a_new_row_with_a_key_of_its_own_is_not_looked_for(wire: Any) -> None:
    ContentType.objects.clear_cache()
    wire((AuditLog, {"models": [Token]}))
    with CaptureQueriesContext(connection) as queries:
        Token.objects.create(name="a")
    asked = [q for q in queries if q["sql"].startswith("SELECT") and "testapp_token" in q["sql"]]
    assert asked == []


def test_a_stamp_goes_to_each_object_and_into_the_statement(wire: Any) -> None:
    wire((LastModified, {"models": [Product]}))
    products = ProductFactory.create_batch(2)
    Product.objects.update(updated_at=None)
    Product.objects.bulk_update(products, ["name"])
    assert not Product.objects.filter(updated_at=None).exists()
