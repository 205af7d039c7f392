"""What the database holds of a row, by SQL that is made once."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection, models, transaction
from django.test.utils import CaptureQueriesContext

from django_signal_kit.rows import database
from django_signal_kit.rows.columns import get_columns
from django_signal_kit.rows.database import forget_statements, read_row, read_rows
from tests.apps.testapp.models import Note, Product, Restaurant, Tag, Token
from tests.factories import ProductFactory, RestaurantFactory, TagFactory

pytestmark = pytest.mark.django_db(transaction=True)


def read(instance: models.Model) -> Any:
    model = type(instance)
    with transaction.atomic():
        return read_row(model, instance.pk, list(get_columns(model).values()), "default")


@pytest.mark.parametrize(
    "make",
    [
        lambda: ProductFactory(price="12.50", data={"a": [1, {"b": None}]}, image="a.png"),
        lambda: RestaurantFactory(stars=3),
        lambda: Token.objects.create(name="a"),
        lambda: Note.objects.create(text="abc"),
    ],
    ids=["product", "multi-table child", "UUID key", "generated column"],
)
def test_it_is_what_the_orm_reads(make: Any) -> None:
    instance = make()
    forget_statements()
    expected = type(instance).objects.values(*get_columns(type(instance))).get()
    for _ in range(2):
        found = read(instance)
        assert found == expected
        assert {name: type(value) for name, value in found.items()} == {
            name: type(value) for name, value in expected.items()
        }


def test_the_sql_is_compiled_once(monkeypatch: Any) -> None:
    tag, other = TagFactory(), TagFactory()
    forget_statements()
    read(tag)

    def compile_again(*args: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(database, "_compile", compile_again)
    assert read(other)["name"] == other.name


def test_a_row_that_is_not_there_is_none() -> None:
    assert read(Tag(pk=99)) is None
    assert read(Tag(pk=99)) is None


def test_a_key_in_another_form_finds_its_row() -> None:
    tag, token = TagFactory(), Token.objects.create(name="a")
    assert read(Tag(pk=str(tag.pk)))["id"] == tag.pk
    assert read(Token(pk=str(token.pk)))["id"] == token.pk


def test_rows_are_read_together_and_one_by_itself() -> None:
    tags = TagFactory.create_batch(database.CHUNK + 1)
    columns = list(get_columns(Tag).values())
    keys = [tag.pk for tag in tags]
    with CaptureQueriesContext(connection) as queries:
        found = read_rows(Tag, keys, columns, "default")
    assert len(queries) == 2
    assert {pk: row["name"] for pk, row in found.items()} == {tag.pk: tag.name for tag in tags}
    assert read_rows(Tag, keys[:1], columns, "default") == {keys[0]: found[keys[0]]}
    assert read_rows(Tag, [0], columns, "default") == {}


def test_parents_are_read_with_their_child() -> None:
    restaurant = RestaurantFactory(name="a", stars=2)
    found = read(restaurant)
    assert (found["name"], found["stars"]) == ("a", 2)
    assert Restaurant.objects.count() == 1
    assert Product.objects.count() == 0
