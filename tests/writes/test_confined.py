"""What an update is confined to, where others may write between its reading and its statement."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, models
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from django_signal_kit import ModelReceiver
from django_signal_kit.writes import confined
from tests.apps.testapp.models import Restaurant, Tag
from tests.factories import RestaurantFactory, TagFactory

pytestmark = pytest.mark.django_db(transaction=True)


class Counting(ModelReceiver):
    models = [Tag]
    bulk = "all"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.count = 0

    def post_save(self, **kwargs: Any) -> None:
        self.count += 1


@pytest.fixture(params=[True, False], ids=["parameters sent apart", "parameters in the text"])
def binding(request: Any) -> Iterator[None]:
    if connection.vendor != "postgresql":
        pytest.skip("only PostgreSQL takes the parameters of a statement apart from its text")
    options = connection.settings_dict["OPTIONS"]
    before = dict(options)
    connection.close()
    options["server_side_binding"] = request.param
    yield
    connection.close()
    options.clear()
    options.update(before)


@pytest.mark.parametrize("binding", [True], indirect=True)
def test_so_many_rows_that_their_keys_cannot_be_parameters(binding: None, wire: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO testapp_tag (name) SELECT 'a' FROM generate_series(1, 66000)")
    receiver = wire(Counting)
    assert Tag.objects.filter(name="a").update(name="b") == 66_000
    assert receiver.count == 66_000
    assert not Tag.objects.exclude(name="b").exists()


@pytest.mark.parametrize(
    "make",
    [
        lambda number: (models.IntegerField(primary_key=True), number),
        lambda number: (models.CharField(max_length=9, primary_key=True), f"a,{number}\"'{{"),
        lambda number: (models.UUIDField(primary_key=True), uuid.UUID(int=number)),
        lambda number: (
            models.DecimalField(max_digits=4, decimal_places=2, primary_key=True),
            number,
        ),
        lambda number: (models.BooleanField(primary_key=True), bool(number % 2)),
    ],
    ids=["number", "text", "uuid", "decimal", "boolean"],
)
def test_keys_of_any_type(
    binding: None, make_model: Any, wire: Any, monkeypatch: Any, make: Any
) -> None:
    monkeypatch.setattr(confined, "CHUNK", 1)
    keyed = make_model("Keyed", models.Model, key=make(0)[0], number=models.IntegerField())
    made = {make(number)[1] for number in range(1, 6)}
    keyed.objects.bulk_create([keyed(pk=key, number=1) for key in made])
    receiver = wire((Counting, {"models": [keyed]}))
    assert keyed.objects.filter(number=1).update(number=F("number") + 1) == len(made)
    assert receiver.count == len(made)
    assert set(keyed.objects.values_list("number", flat=True)) == {2}


def test_a_child_and_its_parent(binding: None, wire: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(confined, "CHUNK", 1)
    RestaurantFactory.create_batch(3, name="a", stars=1)
    receiver = wire((Counting, {"models": [Restaurant]}))
    assert Restaurant.objects.update(stars=F("stars") + 1) == 3
    assert Restaurant.objects.filter(stars=2).update(name="b", stars=3) == 3
    assert receiver.count == 6
    assert Restaurant.objects.filter(name="b", stars=3).count() == 3


def test_on_sqlite_the_statement_is_the_users_own(wire: Any) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("others may write in between")
    TagFactory.create_batch(3, name="a")
    wire(Counting)
    with CaptureQueriesContext(connection) as queries:
        Tag.objects.filter(name="a").update(name="b")
    [sql] = [q["sql"] for q in queries if q["sql"].startswith("UPDATE")]
    assert sql.endswith("""SET "name" = 'b' WHERE "testapp_tag"."name" = 'a'""")
