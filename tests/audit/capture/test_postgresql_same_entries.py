"""On PostgreSQL triggers tell of each write what Python tells of it, to the letter."""

from __future__ import annotations

import datetime
import decimal
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection, models, transaction
from django.db.models import F

from django_signal_kit import context
from django_signal_kit.audit.models import AuditEntry
from tests.apps.rarities.models import Reading
from tests.apps.testapp.models import Category, Line, Note, Page, Product, Tag, Token
from tests.audit.capture.both import assert_same, both, forget, tell
from tests.audit.test_values_of_all_fields import CASES, STATUS, _install_hstore
from tests.factories import CategoryFactory, PersonFactory, ProductFactory, TagFactory, UserFactory

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="is about PostgreSQL"),
]

MODELS = (
    "testapp.Category",
    "testapp.Line",
    "testapp.Note",
    "testapp.Page",
    "testapp.Person",
    "testapp.Product",
    "testapp.Tag",
    "testapp.Token",
    "rarities.Reading",
)


@pytest.fixture
def logs(wire: Any) -> Iterator[None]:
    with both(wire, *MODELS):
        yield


def run(sql: str, *params: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, params or None)


# Writes


def _create() -> None:
    ProductFactory(name="Äpfel “rot” \\ 'a' {x} 100%", category=CategoryFactory())


def _update() -> None:
    product = ProductFactory()
    product.price, product.name, product.api_token = decimal.Decimal("12.25"), "Other", "t0k"
    product.save()
    product.data = {"colours": ["red", None, 1.5], "nested": {"password": "x", "is_ok": True}}
    product.save(update_fields=["data"])


def _save_unchanged() -> None:
    ProductFactory().save()
    page = Page.objects.create(title="a")
    page.save()
    page.title = "b"
    page.save()


def _delete() -> None:
    ProductFactory(category=CategoryFactory()).delete()


def _cascade() -> None:
    category = CategoryFactory()
    product = ProductFactory(category=category)
    Line.objects.create(product=product, text="a")
    Line.objects.create(product=product, text="b")
    category.delete()
    product.delete()


def _bulk_create() -> None:
    Product.objects.bulk_create(ProductFactory.build_batch(25))


def _bulk_update() -> None:
    products = ProductFactory.create_batch(25)
    for number, product in enumerate(products):
        product.stock = number
        product.name = f"new {number}"
    Product.objects.bulk_update(products, ["stock", "name"], batch_size=10)


def _queryset_update() -> None:
    ProductFactory.create_batch(5, stock=1)
    Product.objects.update(stock=F("stock") + 1, name="same for all")
    Product.objects.filter(stock=7).update(stock=8)


def _queryset_delete() -> None:
    ProductFactory.create_batch(5)
    Line.objects.bulk_create(Line(product=product) for product in Product.objects.all())
    Line.objects.all().delete()
    Product.objects.all().delete()


def _keys() -> None:
    token = Token.objects.create(name="a")
    token.name = "b"
    token.save()
    token.delete()
    Tag.objects.create(id=2**62, name="far")


def _generated() -> None:
    note = Note.objects.create(text="abc", written_on=datetime.date(2026, 1, 2))
    note.text = "abcdef"
    note.save()


def _links() -> None:
    product, tags = ProductFactory(), TagFactory.create_batch(12)
    product.tags.add(*tags)
    product.tags.add(tags[0])
    product.tags.remove(tags[1], tags[2])
    product.tags.set(tags[5:7])
    tags[5].products.add(*ProductFactory.create_batch(3))
    tags[5].products.remove(product)


def _links_to_itself() -> None:
    ada, ben, cleo = PersonFactory.create_batch(3)
    ada.friends.add(ben, cleo)
    ada.follows.add(ben)
    ben.followers.add(cleo)
    ada.friends.remove(ben)


def _roll_back() -> None:
    product = ProductFactory()
    with transaction.atomic():
        product.stock = 1
        product.save()
        try:
            with transaction.atomic():
                product.stock = 2
                product.save()
                raise ValueError
        except ValueError:
            pass
        product.name = "after the savepoint"
        product.save()
    try:
        with transaction.atomic():
            ProductFactory()
            raise ValueError
    except ValueError:
        pass


def _get_and_update() -> None:
    Category.objects.get_or_create(name="a")
    Category.objects.update_or_create(name="a", defaults={"name": "b"})


@pytest.mark.parametrize(
    "write",
    [
        _create,
        _update,
        _save_unchanged,
        _delete,
        _cascade,
        _bulk_create,
        _bulk_update,
        _queryset_update,
        _queryset_delete,
        _keys,
        _generated,
        _links,
        _links_to_itself,
        _roll_back,
        _get_and_update,
    ],
)
def test_a_write_is_told_alike(logs: None, write: Callable[[], None]) -> None:
    with context(actor=UserFactory(), reason='it\'s "so" \\ ☃'):
        write()
    assert assert_same()


def test_a_cleared_relation_arrives_as_removed(logs: None) -> None:
    product, tags = ProductFactory(), TagFactory.create_batch(3)
    product.tags.add(*tags)
    forget()
    product.tags.clear()
    [[cleared]] = tell("python").values()
    [[removed]] = tell("triggers").values()
    assert (cleared["action"], removed["action"]) == ("m2m_clear", "m2m_remove")
    assert cleared["changes"] == removed["changes"]


def test_a_changed_key_is_told_alike(logs: None) -> None:
    tag = TagFactory()
    Tag.objects.filter(pk=tag.pk).update(id=tag.pk + 1000)
    assert assert_same()


def test_an_upsert_tells_what_was_made_and_what_was_changed(logs: None) -> None:
    tag = TagFactory(name="old")
    forget()
    Tag.objects.bulk_create(
        [Tag(id=tag.pk, name="new"), Tag(id=tag.pk + 1, name="made")],
        update_conflicts=True,
        unique_fields=["id"],
        update_fields=["name"],
    )
    assert [
        (entry.action, entry.changes)
        for entry in AuditEntry.objects.filter(context__capture="triggers").order_by("action")
    ] == [
        ("create", {"id": [None, tag.pk + 1], "name": [None, "made"]}),
        ("update", {"name": ["old", "new"]}),
    ]


def test_sql_of_ones_own_is_heard(logs: None) -> None:
    product = ProductFactory(stock=1)
    forget()
    with context(reason="import"):
        run("UPDATE testapp_product SET stock = stock + %s", 5)
        run("WITH gone AS (DELETE FROM testapp_product RETURNING id) SELECT * FROM gone")
        run("/* 100% */ INSERT INTO testapp_tag (name) VALUES ('50% off')")
    story = tell("triggers")
    assert [each["action"] for each in story["testapp.product", str(product.pk)]] == [
        "update",
        "delete",
    ]
    assert all(each["context"] == {"reason": "import"} for told in story.values() for each in told)
    assert tell("python") == {}


# Values


def _read(**values: Any) -> Callable[[], None]:
    def write() -> None:
        reading = Reading.objects.create()
        for name, value in values.items():
            setattr(reading, name, value)
        reading.save()
        reading.delete()

    return write


UTC = datetime.UTC
VALUES = {
    "text": [{"text": text} for text in ("", "☃ é 😀", "a\nb\t\x01\x1f\x7f", "'\"\\", " tea ")],
    "number": [
        {"number": number}
        for number in (
            *(
                0.0,
                -0.0,
                1.0,
                1.5,
                0.1,
                -2.5,
                1e15,
                1e16,
                123456789012345680.0,
                1e22,
                1e-7,
                5e-324,
            ),
            *(1234567890123456.0, 9007199254740993.0, 1.7976931348623157e308, 0.1 + 0.2),
            *(math.inf, -math.inf, math.nan),
        )
    ],
    "amount": [{"amount": decimal.Decimal(text)} for text in ("0", "-1.5", "1234567890.0001")],
    "at": [
        {"at": datetime.datetime(*given, tzinfo=UTC)}
        for given in ((2026, 11, 25, 10, 30), (2026, 7, 1, 0, 0, 0, 1), (999, 1, 1), (2026, 1, 2))
    ],
    "lasted": [
        {"lasted": datetime.timedelta(**given)}
        for given in (
            {},
            {"seconds": 1},
            {"days": 400, "hours": 23, "microseconds": 5},
            {"days": -1},
            {"days": -1, "seconds": 3599, "microseconds": 999999},
            {"microseconds": -1},
            {"days": 999999},
        )
    ],
    "content": [{"content": content} for content in (b"", b"\x00\xff", bytes(range(256)) * 3)],
    "data": [
        {"data": data}
        for data in (
            [],
            {},
            0,
            "",
            'a"b\\c',
            True,
            [1, 1.0, None, {"b": {"a": [2]}, "a": "é"}],
            {"a": 1, "apiKey": {"x": 1}, "list": [{"Authorization": None}], "author": "x"},
            {"passwordless": 1, "password_changed_at": 2, "has_token": 3, "tokens": [4]},
            '{"password": "in a text"}',
        )
    ],
}


@pytest.mark.parametrize("name", VALUES)
def test_a_value_is_told_alike(logs: None, name: str) -> None:
    for values in VALUES[name]:
        _read(**values)()
    assert assert_same()


def test_the_session_does_not_change_what_is_told(logs: None) -> None:
    run(
        "SET datestyle = 'SQL, DMY'; SET intervalstyle = 'sql_standard'; "
        "SET bytea_output = 'escape'; SET timezone = 'Asia/Tokyo'; SET extra_float_digits = -5; "
        "SET standard_conforming_strings = on; SET search_path = public"
    )
    try:
        run(
            "INSERT INTO rarities_reading (text, number, at, lasted, content, size) VALUES ('a', "
            "0.1::float8 + 0.2, '2026-03-01T00:00:00Z', '1 year 2 days', '\\xff00', 's')"
        )
        run("INSERT INTO testapp_note (text, written_on) VALUES ('a', '2026-01-02'::date)")
    finally:
        connection.close()
    changes = {}
    for entry in AuditEntry.objects.all():
        changes |= entry.changes
    assert changes["number"] == [None, 0.30000000000000004]
    assert changes["at"] == [None, "2026-03-01T00:00:00+00:00"]
    assert changes["lasted"] == [None, "P367DT00H00M00S"]
    assert changes["content"] == [None, "/wA="]
    assert changes["written_on"] == [None, "2026-01-02"]


def test_a_number_in_json_that_becomes_another_one_is_a_change(logs: None) -> None:
    reading = Reading.objects.create(data={"a": 1})
    forget()
    reading.data = {"a": 1.0}
    reading.save()
    [[told]] = tell("triggers").values()
    assert str(told["changes"]) == "{'data': [{'a': 1}, {'a': 1.0}]}"


def test_null_in_json_is_no_value(logs: None) -> None:
    reading = Reading.objects.create(data=models.Value(None, models.JSONField()))
    reading.data = None
    reading.save()
    assert "data" not in str(tell("triggers"))


@pytest.mark.parametrize("given", CASES)
def test_each_kind_of_field_is_told_alike(
    given: Any, make_model: Any, wire: Any, media: Any
) -> None:
    field, one, two = given()
    if type(field).__name__ == "HStoreField":
        _install_hstore()
    name = models.CharField(max_length=9, default="")
    holder = make_model("Holder", models.Model, STATUS=STATUS, name=name, value=field)
    with both(wire, "testapp.Holder"):
        row = holder.objects.create(value=one)
        row = holder.objects.get(pk=row.pk)
        row.save()
        row.name = "b"
        row.save()
        holder.objects.filter(pk=row.pk).update(value=two)
        holder.objects.filter(pk=row.pk).update(value=two)
        holder.objects.bulk_update(holder.objects.all(), ["value"])
        holder.objects.all().delete()
        assert assert_same()
