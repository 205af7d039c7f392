"""What a row was before a write, and what it is after it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from django_signal_kit import ModelReceiver
from django_signal_kit.rows.snapshots import get_new_row, get_old_row
from tests.apps.testapp.models import Product, Tag, Ticket, Token
from tests.factories import ProductFactory, TagFactory

pytestmark = pytest.mark.django_db(transaction=True)


class Watching(ModelReceiver):
    """Remembers what it is told about the row before each write."""

    models = ["testapp.*"]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.seen: list[Any] = []

    def get_old_fields(self, model: Any) -> Any:
        return [field for field in model._meta.concrete_fields if field.name in ("name", "stock")]

    def pre_save(self, instance: Any, using: str, **kwargs: Any) -> None:
        self.seen.append(get_old_row(instance, using))

    def post_save(self, instance: Any, using: str, **kwargs: Any) -> None:
        assert get_old_row(instance, using) is self.seen[-1]

    def pre_delete(self, instance: Any, using: str, **kwargs: Any) -> None:
        self.seen.append(get_old_row(instance, using))


class AlsoWatching(Watching):
    def get_old_fields(self, model: Any) -> Any:
        return [field for field in model._meta.concrete_fields if field.name == "slug"]


def test_receivers_of_a_model_share_one_query(wire: Any) -> None:
    product = ProductFactory(name="a", stock=1, slug="s")
    first, second = wire(Watching, AlsoWatching)
    with CaptureQueriesContext(connection) as queries:
        product.save()
    assert len(queries) == 2
    assert first.seen == second.seen == [{"name": "a", "stock": 1, "slug": "s"}]


def test_a_new_row_is_not_looked_up(wire: Any) -> None:
    watching = wire(Watching)
    with CaptureQueriesContext(connection) as queries:
        Token.objects.create(name="a")
        Tag.objects.create(pk=7, name="b")
    assert watching.seen == [None, None]
    assert len(queries) == 2


def test_a_row_made_by_hand_with_a_key_is_looked_up(wire: Any) -> None:
    TagFactory(pk=7, name="a")
    watching = wire(Watching)
    Tag(pk=7, name="b").save()
    Tag(pk=8, name="c").save()
    assert watching.seen == [{"name": "a"}, None]


def test_rows_that_are_deleted_together_are_read_together(wire: Any) -> None:
    TagFactory.create_batch(30)
    watching = wire(Watching)
    with CaptureQueriesContext(connection) as queries:
        Tag.objects.all().delete()
    assert len(watching.seen) == 30
    assert len([query for query in queries if query["sql"].startswith("SELECT")]) == 2


def test_the_row_is_locked_where_the_database_can(wire: Any) -> None:
    if not connection.features.has_select_for_update:
        pytest.skip("this database locks as a whole")
    tag = TagFactory()
    wire(Watching)
    with CaptureQueriesContext(connection) as queries, transaction.atomic():
        tag.save()
    sql = next(q["sql"] for q in queries if q["sql"].startswith("SELECT"))
    expected = "FOR NO KEY UPDATE" if connection.vendor == "postgresql" else "FOR UPDATE"
    assert expected in sql


def test_a_manager_that_hides_the_row_hides_nothing(wire: Any) -> None:
    ticket = Ticket.objects.create(name="a", is_closed=True)
    assert not Ticket.objects.exists()
    watching = wire(Watching)
    ticket.save()
    assert watching.seen == [{"name": "a"}]


class TestNewRow:
    def test_memory_is_believed_where_it_is_certain_to_agree(self) -> None:
        product = ProductFactory(price=Decimal("1.5"), data={"a": 1})
        fields = list(Product._meta.concrete_fields)
        with CaptureQueriesContext(connection) as queries:
            row = get_new_row(product, fields, "default")
        assert len(queries) == 0
        assert row["price"] == Decimal("1.50")
        fresh = Product.objects.values(*[field.attname for field in fields]).get()
        assert row == fresh

    def test_what_only_the_database_knows_is_read_in_one_query(self) -> None:
        product = ProductFactory(stock=1, price=1)
        Product.objects.filter(pk=product.pk).update(stock=2, price=3)
        product.stock, product.price = F("stock"), F("price")
        fields = [Product._meta.get_field(name) for name in ("stock", "price", "name")]
        with CaptureQueriesContext(connection) as queries:
            row = get_new_row(product, fields, "default")
        assert len(queries) == 1
        assert row == {"stock": 2, "price": Decimal("3.00"), "name": product.name}

    def test_json_is_copied(self) -> None:
        product = ProductFactory(data={"a": [1]})
        row = get_new_row(product, [Product._meta.get_field("data")], "default")
        product.data["a"].append(2)
        assert row == {"data": {"a": [1]}}
