"""What is not valid is not written, whichever way it is written; many rows are asked at once."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from django.core import serializers
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import connection, transaction
from django.db.models import F, Value
from django.db.models.functions import Lower
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from django_signal_kit import batch
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.exceptions import InvalidRowsError
from django_signal_kit.receivers import AuditLog, Normalize, Validate
from tests.apps.validity.models import Country, Hotel, Resort, Room, Visit
from tests.cleaning.refusals import refused, refused_rows
from tests.conftest import run_async

pytestmark = pytest.mark.django_db
autocommit = pytest.mark.django_db(transaction=True)

MODELS = {"models": ["validity.*"]}


def no_digits(value: Any) -> None:
    if any(map(str.isdigit, value)):
        raise ValidationError("No digits.")


class Picky(Validate):
    def should_validate(self, instance: Any) -> bool:
        return not instance.name.startswith("draft")

    def get_validators(self, field: Any) -> Any:
        return [no_digits] if field.name == "street" else super().get_validators(field)

    def clean(self, instance: Any) -> None:
        if instance.free_rooms == instance.rooms:
            raise ValidationError("An empty house.")


def count_selects(act: Any) -> int:
    with CaptureQueriesContext(connection) as queries:
        act()
    return sum(query["sql"].startswith("SELECT") for query in queries)


# One row


@pytest.mark.parametrize(
    ("values", "errors"),
    [
        ({"name": ""}, {"name": ["This field cannot be blank."]}),
        ({"name": "x" * 21}, None),
        ({"name": "spam"}, {"name": ["No spam."]}),
        ({"stars": 6}, {"stars": ["Value 6 is not a valid choice."]}),
        ({"stars": "many"}, {"stars": ["“many” value must be an integer."]}),
        ({"email": "nobody"}, {"email": ["Enter a valid email address."]}),
        ({"name": "Ritz", "stars": 2}, {"stars": ["The Ritz has more."]}),
        ({"free_rooms": 2}, {"__all__": ["Constraint “hotel_free” is violated."]}),
        ({"rooms": -1, "free_rooms": -1}, {"__all__": ["Below zero."]}),
        ({"country_id": "zz"}, None),
    ],
)
def test_a_save_is_refused_as_full_clean_would(
    validate: Any, values: dict[str, Any], errors: Any
) -> None:
    hotel = Hotel(**{"name": "Astor", **values})
    with pytest.raises(ValidationError) as by_django:
        copy.copy(hotel).full_clean()
    assert refused(hotel.save) == by_django.value.message_dict
    assert errors is None or by_django.value.message_dict == errors
    assert not Hotel.objects.exists()
    assert hotel.pk is None


@autocommit
def test_what_is_valid_is_saved_and_converted(validate: Any) -> None:
    Country.objects.create(code="fr")
    hotel = Hotel(name="Astor", rooms="7", country_id="fr")
    hotel.save()
    assert hotel.rooms == 7
    hotel.rooms = 8
    hotel.save()
    assert Hotel.objects.get().rooms == 8


def test_a_closed_choice_of_foreign_keys_is_closed(validate: Any) -> None:
    Country.objects.create(code="xx", is_open=False)
    assert list(refused(lambda: Hotel.objects.create(name="A", country_id="xx"))) == ["country"]


def test_only_what_is_written_is_validated(validate: Any) -> None:
    Hotel.objects.create(name="Astor")
    Hotel.objects.filter(name="Astor").update(email="", rooms=F("rooms"))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE validity_hotel SET email = 'broken'")
    hotel = Hotel.objects.get()
    hotel.rooms = 5
    hotel.save(update_fields=["rooms"])
    assert list(refused(hotel.save)) == ["email"]
    hotel.rooms = 5000
    assert list(refused(lambda: hotel.save(update_fields=["rooms"]))) == ["rooms"]
    hotel.country_id = "zz"
    assert list(refused(lambda: hotel.save(update_fields=["country_id"]))) == ["country"]


def test_what_was_not_loaded_is_not_loaded(validate: Any) -> None:
    Hotel.objects.create(name="Astor", email="a@example.com")
    hotel = Hotel.objects.only("name").get()
    hotel.name = "Bristol"
    with CaptureQueriesContext(connection) as queries:
        hotel.save()
    assert "email" in hotel.get_deferred_fields()
    assert not [query for query in queries if '"validity_hotel"."email"' in query["sql"]]


def test_expressions_are_left_to_the_database(validate: Any) -> None:
    hotel = Hotel.objects.create(name="Astor")
    hotel.rooms = F("rooms") + 1
    hotel.save()
    Hotel.objects.update(rooms=F("rooms") + 5000)
    hotel.refresh_from_db()
    assert hotel.rooms == 5002


def test_a_fixture_is_loaded_as_it_is(validate: Any) -> None:
    (found,) = serializers.deserialize(
        "json",
        '[{"model": "validity.hotel", "pk": 1, "fields": {"name": "spam", '
        '"changed_at": "2024-05-01T00:00:00Z"}}]',
    )
    found.save()
    assert Hotel.objects.get().name == "spam"


def test_a_child_of_a_concrete_model_and_its_parent(validate: Any) -> None:
    resort = Resort.objects.create(name="Astor", beach="North")
    assert list(refused(lambda: Resort.objects.create(name="Astor", beach="South"))) == ["name"]
    assert list(refused(lambda: Resort.objects.create(name="B", beach="North"))) == ["beach"]
    resort.name = "spam"
    assert list(refused(resort.save)) == ["name"]
    resort.name = "Bristol"
    resort.save()
    assert Hotel.objects.get().name == "Bristol"


def test_a_full_clean_of_its_own_is_called(validate: Any) -> None:
    assert list(refused(lambda: Room.objects.create(number=13))) == ["number"]
    rooms = [Room(number=number) for number in (12, 13, 14)]
    assert list(refused_rows(lambda: Room.objects.bulk_create(rooms))) == [1]


@autocommit
def test_async_writes(validate: Any) -> None:
    async def write() -> None:
        await Hotel.objects.acreate(name="spam")

    assert list(refused(lambda: run_async(write()))) == ["name"]


# Many rows


@autocommit
def test_one_error_lists_every_bad_row_of_a_bulk_write(validate: Any) -> None:
    Hotel.objects.create(name="Astor")
    hotels = [Hotel(name=name) for name in ("A", "spam", "B", "Astor", "C", "A")]
    with pytest.raises(InvalidRowsError) as caught:
        Hotel.objects.bulk_create(iter(hotels))
    assert caught.value.messages == [
        "Row 1: name: No spam.",
        "Row 3: name: Hotel with this Name already exists.",
        "Row 5: name: Hotel with this Name already exists.",
    ]
    assert pickle.loads(pickle.dumps(caught.value)).messages == caught.value.messages
    assert Hotel.objects.count() == 1


@autocommit
def test_three_bad_rows_among_two_thousand(validate: Any) -> None:
    Country.objects.create(code="fr")
    Hotel.objects.create(name="Taken")
    hotels = [Hotel(name=f"n{n}", country_id="fr", street=f"s{n}") for n in range(2_000)]
    hotels[17].free_rooms = 9
    hotels[1_000].country_id = "zz"
    hotels[1_999].name = "Taken"
    rows: dict[int, Any] = {}
    selects = count_selects(
        lambda: rows.update(refused_rows(lambda: Hotel.objects.bulk_create(hotels)))
    )
    assert {position: list(errors) for position, errors in rows.items()} == {
        17: ["__all__"],
        1_000: ["country"],
        1_999: ["name"],
    }
    # Ten for each of six rules, and those that find the three among two hundred.
    assert selects < 6 * 10 + 3 * 2 * 10
    assert Hotel.objects.count() == 1


def test_a_bulk_write_asks_once_for_each_rule(validate: Any) -> None:
    Country.objects.create(code="fr")

    def make(start: int, number: int) -> list[Hotel]:
        return [
            Hotel(name=f"n{n}", country_id="fr", street=f"s{n}", number=n, slug=f"s{n}")
            for n in range(start, start + number)
        ]

    few = count_selects(lambda: Hotel.objects.bulk_create(make(0, 2)))
    many = count_selects(lambda: Hotel.objects.bulk_create(make(10, 100)))
    assert many == few
    hotels = list(Hotel.objects.all())
    few = count_selects(lambda: Hotel.objects.bulk_update(hotels[:2], ["name", "country"]))
    many = count_selects(lambda: Hotel.objects.bulk_update(hotels, ["name", "country"]))
    assert many == few


@autocommit
def test_bulk_update(validate: Any) -> None:
    first, second = (Hotel.objects.create(name=name, rooms=9) for name in "AB")
    first.name, second.name, second.email = "B", "spam", "broken"
    assert refused_rows(lambda: Hotel.objects.bulk_update([first, second], ["name"])) == {
        1: {"name": ["No spam."]}
    }
    second.name = "B"
    # The name of the second row is written anew, so the first clashes only with its new one.
    assert list(refused_rows(lambda: Hotel.objects.bulk_update([first, second], ["name"]))) == [1]
    first.name, second.name, first.rooms = "C", "A", 2000
    Hotel.objects.bulk_update([second, first], ["name"])
    assert list(Hotel.objects.order_by("pk").values_list("name", "rooms", "email")) == [
        ("C", 9, ""),
        ("A", 9, ""),
    ]


@autocommit
def test_in_a_transaction_of_ones_own_nothing_is_broken(validate: Any) -> None:
    with transaction.atomic():
        Hotel.objects.create(name="A")
        refused(lambda: Hotel.objects.create(name="A"))
        refused_rows(lambda: Hotel.objects.bulk_create([Hotel(name="B", free_rooms=9)]))
        Hotel.objects.create(name="B")
    assert Hotel.objects.count() == 2


@autocommit
def test_in_a_batch(validate: Any) -> None:
    with batch():
        Hotel.objects.create(name="A")
        assert list(refused(lambda: Hotel.objects.create(name="A"))) == ["name"]
    assert Hotel.objects.count() == 1


def test_a_value_that_the_database_cannot_compare_is_refused_or_left_to_it(validate: Any) -> None:
    hotels = [Hotel(name="A"), Hotel(name="B", rooms=10**30)]
    assert list(refused_rows(lambda: Hotel.objects.bulk_create(hotels))) == [1]


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_each_database_is_asked_of_its_own_rows(validate: Any) -> None:
    Country.objects.create(code="fr")
    Hotel.objects.create(name="Astor", slug="astor", street="Quay", number=1)
    values = {"name": "Astor", "slug": "astor", "street": "Quay", "number": 1}
    Hotel(**values).save(using="other")
    abroad = Hotel.objects.using("other")
    assert list(refused_rows(lambda: abroad.bulk_create([Hotel(name="Astor")]))) == [0]
    assert list(refused(lambda: Hotel(name="B", country_id="fr").save(using="other"))) == [
        "country"
    ]
    assert list(refused(lambda: abroad.update(country="fr"))) == ["country"]
    assert Hotel.objects.count() == abroad.count() == 1


# Values of QuerySet.update()


def test_literal_values_of_an_update(validate: Any) -> None:
    Country.objects.create(code="fr")
    closed = Country.objects.create(code="xx", is_open=False)
    Hotel.objects.create(name="A")
    hotels = Hotel.objects.all()
    assert refused(lambda: hotels.update(stars=6, email="nobody")) == {
        "stars": ["Value 6 is not a valid choice."],
        "email": ["Enter a valid email address."],
    }
    assert list(refused(lambda: hotels.update(country="zz"))) == ["country"]
    assert list(refused(lambda: hotels.update(country_id="zz"))) == ["country"]
    assert list(refused(lambda: hotels.update(country=closed))) == ["country"]
    hotels.update(country=Country.objects.get(code="fr"), stars=5, email="")
    hotels.update(country=None, name=Lower(Value("SPAM")))
    assert Hotel.objects.values_list("stars", "country", "name").get() == (5, None, "spam")


def test_a_deletion_may_set_null(validate: Any) -> None:
    country = Country.objects.create(code="fr")
    visit = Visit.objects.create(country=country)
    country.delete()
    assert Visit.objects.get().country is None
    assert list(refused(Visit().save)) == ["country"]
    visit.refresh_from_db()
    assert list(refused(visit.save)) == ["country"]


# Options and hooks


def test_chosen_validators_alone(wire: Any) -> None:
    path = f"{__name__}.no_digits"
    wire((Validate, {**MODELS, "full_clean": False, "validators": {"name": [path]}}))
    with CaptureQueriesContext(connection) as queries:
        Hotel.objects.create(name="spam", stars=9)
    assert not [query for query in queries if query["sql"].startswith("SELECT")]
    assert refused(lambda: Hotel.objects.create(name="A1")) == {"name": ["No digits."]}
    assert refused(lambda: Hotel.objects.update(name="A1")) == {"name": ["No digits."]}
    assert refused_rows(lambda: Hotel.objects.bulk_create([Hotel(name="A1")])) == {
        0: {"name": ["No digits."]}
    }


def test_excluded_fields(wire: Any) -> None:
    wire((Validate, {**MODELS, "exclude_fields": ["email", "stars"]}))
    hotel = Hotel.objects.create(name="A", email="broken", stars=9)
    Hotel.objects.update(stars=8)
    assert list(refused(lambda: Hotel.objects.create(name="spam", email="b"))) == ["name"]
    assert hotel.pk


def test_hooks(wire: Any) -> None:
    wire((Picky, {"models": ["validity.Hotel"]}))
    Hotel.objects.create(name="draft", email="broken", free_rooms=1)
    assert refused(lambda: Hotel.objects.create(name="A", street="5th", free_rooms=1)) == {
        "street": ["No digits."],
        "__all__": ["An empty house."],
    }
    rows = [Hotel(name="draft 2", email="broken"), Hotel(name="B", free_rooms=1)]
    assert refused_rows(lambda: Hotel.objects.bulk_create(rows)) == {
        1: {"__all__": ["An empty house."]}
    }


def test_what_is_normalized_before_is_valid(wire: Any) -> None:
    wire(
        (Normalize, {"models": ["validity.Hotel"], "fields": {"email": ["strip"]}}),
        (Validate, MODELS),
    )
    assert Hotel.objects.create(name="A", email=" a@example.com ").email == "a@example.com"


@autocommit
def test_what_is_refused_leaves_no_entry_in_the_log(wire: Any) -> None:
    wire((AuditLog, MODELS), (Validate, MODELS))
    refused(lambda: Hotel.objects.create(name="spam"))
    refused_rows(lambda: Hotel.objects.bulk_create([Hotel(name="spam")]))
    assert not AuditEntry.objects.exists()


def test_it_may_log_and_let_pass(wire: Any, failures: Any) -> None:
    wire((Validate, {**MODELS, "on_error": "log"}))
    Hotel.objects.create(name="spam")
    Hotel.objects.bulk_create([Hotel(name="spam 2")])
    assert [failure["exception"].messages for failure in failures] == [
        ["No spam."],
        ["Row 0: name: No spam."],
    ]
    assert Hotel.objects.count() == 2


@pytest.mark.parametrize(
    ("options", "id", "word"),
    [
        ({"validators": {"nam": [no_digits]}}, "E012", "Did you mean 'name'?"),
        ({"exclude_fields": ["nam"]}, "E012", "Did you mean 'name'?"),
        ({"validators": {"name": "slug"}}, "E038", "Write a list"),
        ({"validators": {"name": ["no.such"]}}, "E038", "cannot be imported"),
        ({"validators": {"name": [3]}}, "E038", "cannot be called"),
    ],
)
def test_bad_options_are_named(wire: Any, options: Any, id: str, word: str) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        wire((Validate, {**MODELS, **options}))
    assert f"signal_kit.{id}" in str(caught.value)
    assert word in str(caught.value)


# As Django has it


hotels = st.lists(
    st.builds(
        lambda **values: values,
        name=st.sampled_from(["", "Astor", "ASTOR", "Ritz", "spam", "a", "b", "c", "d"]),
        stars=st.sampled_from([1, 3, 6, None]),
        country_id=st.sampled_from([None, "fr", "xx", "zz"]),
        rooms=st.sampled_from([-1, 1, 5, 1001]),
        free_rooms=st.sampled_from([0, 2]),
        street=st.sampled_from(["Main", "Quay"]),
        number=st.sampled_from([None, 1, 2]),
        slug=st.sampled_from(["", "astor", "x", "not a slug"]),
        is_active=st.booleans(),
    ),
    min_size=1,
    max_size=6,
    unique_by=(lambda values: values["name"],),
)


@given(written=hotels)
def test_many_rows_are_refused_as_each_by_itself_would(written: list[dict[str, Any]]) -> None:
    with transaction.atomic():
        Country.objects.bulk_create([Country(code="fr"), Country(code="xx", is_open=False)])
        Hotel.objects.create(name="Astor", street="Quay", number=1, slug="astor")
        Hotel.objects.create(name="Idle", street="Main", number=2, slug="x", is_active=False)
        expected: dict[int, Any] = {}
        for position, values in enumerate(written):
            try:
                Hotel(**values).full_clean()
            except ValidationError as error:
                expected[position] = error.message_dict
        found = Validate(**MODELS)._find_errors(
            Hotel, [Hotel(**values) for values in written], "default", None, is_new=True
        )
        twins = find_twins(written)
        assert {
            position: error.message_dict
            for position, error in found.items()
            if position not in twins
        } == {position: errors for position, errors in expected.items() if position not in twins}
        assert set(expected) <= set(found)
        transaction.set_rollback(True)


def find_twins(written: list[dict[str, Any]]) -> set[int]:
    """The positions of rows that have the street and number of an earlier one."""
    places = [(values["street"], values["number"]) for values in written]
    return {n for n, place in enumerate(places) if place[1] and place in places[:n]}
