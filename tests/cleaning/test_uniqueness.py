"""A row that another one would be the twin of is refused, whether that is stored or not yet."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from tests.apps.validity.models import Booking, Country, Hotel
from tests.cleaning.refusals import refused, refused_rows

pytestmark = pytest.mark.django_db

DAY = datetime.date(2024, 5, 1)


def test_uniqueness(validate: Any) -> None:
    Hotel.objects.create(name="Astor", street="Quay", number=1, slug="astor")
    assert refused(lambda: Hotel.objects.create(name="Astor")) == {
        "name": ["Hotel with this Name already exists."]
    }
    assert list(refused(lambda: Hotel.objects.create(name="B", street="Quay", number=1))) == [
        "__all__"
    ]
    # MariaDB compares all names without regard to case.
    assert refused(lambda: Hotel.objects.create(name="ASTOR", street="Quay")) == (
        {"name": ["Hotel with this Name already exists."]}
        if connection.vendor == "mysql"
        else {"__all__": ["Constraint “hotel_lower_name” is violated."]}
    )
    assert refused(lambda: Hotel.objects.create(name="B", slug="astor")) == {
        "__all__": ["Constraint “hotel_slug” is violated."]
    }
    # The condition of the constraint is not met.
    Hotel.objects.create(name="B", slug="astor", is_active=False)
    Hotel.objects.create(name="C", street="Quay", number=None)
    Hotel.objects.create(name="D", street="Quay", number=None)


def test_a_row_does_not_clash_with_itself(validate: Any) -> None:
    hotel = Hotel.objects.create(name="Astor", street="Quay", number=1, slug="astor")
    hotel.save()
    # As Django has it, a row that is made by hand and has a key that there is, is an update.
    Hotel(pk=hotel.pk, name="Astor", street="Quay", number=1, slug="astor", rooms=3).save()
    Hotel(pk=str(hotel.pk), name="Astor", slug="astor", rooms=4).save()
    assert Hotel.objects.get().rooms == 4


def test_unique_for_date(validate: Any) -> None:
    hotel = Hotel.objects.create(name="Astor")
    Booking.objects.create(hotel=hotel, code="a", day=DAY, guest="Ann")
    again = Booking(hotel=hotel, code="b", day=DAY, guest="Ann")
    assert refused(again.save) == {"guest": ["Guest must be unique for Day date."]}
    assert list(refused_rows(lambda: Booking.objects.bulk_create([again]))) == [0]


def test_an_upsert_may_clash(validate: Any) -> None:
    Hotel.objects.create(name="A")
    Hotel.objects.bulk_create([Hotel(name="A"), Hotel(name="B")], ignore_conflicts=True)
    assert Hotel.objects.count() == 2
    bad = [Hotel(name="A"), Hotel(name="spam")]
    assert list(refused_rows(lambda: Hotel.objects.bulk_create(bad, ignore_conflicts=True))) == [1]


def test_a_key_that_is_taken(validate: Any) -> None:
    taken = Country.objects.create(code="fr")
    assert refused_rows(lambda: Country.objects.bulk_create([Country(code="fr")])) == {
        0: {"code": ["Country with this Code already exists."]}
    }
    taken.is_open = False
    taken.save()


def test_unique_constraints_within_a_bulk_write(validate: Any) -> None:
    hotel = Hotel.objects.create(name="Astor")
    bookings = [
        Booking(hotel=hotel, code=code, day=DAY, guest=f"g{n}") for n, code in enumerate("aba")
    ]
    assert refused_rows(lambda: Booking.objects.bulk_create(bookings)) == {
        2: {"code": ["Booking with this Code already exists."]}
    }


@pytest.mark.skipif(
    not connection.features.supports_partial_indexes,
    reason="has no unique constraints with conditions",
)
def test_a_twin_under_a_condition_is_left_to_the_database(validate: Any) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Hotel.objects.bulk_create([Hotel(name="B", slug="b"), Hotel(name="C", slug="b")])
    assert not Hotel.objects.exists()
