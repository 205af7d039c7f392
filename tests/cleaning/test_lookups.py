"""Calls that look before they save keep Django's promise: the row that is there is found."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, OperationalError, connection, connections, transaction
from django.db.models import F, Value
from django.test.utils import CaptureQueriesContext

from django_signal_kit import muted
from django_signal_kit.receivers import Normalize, Validate
from tests.apps.belongings.models import Board
from tests.apps.testapp.models import Category, Product, ProductProxy, Tag
from tests.apps.validity.models import Booking, Country, Hotel, Resort
from tests.cleaning.refusals import refused
from tests.conftest import run_async

pytestmark = pytest.mark.django_db(transaction=True)

LOWER = {
    "models": ["testapp.*", "belongings.*", "validity.*"],
    "fields": {"name": ["strip", "casefold"], "code": ["strip", "casefold"]},
}
# SQLite has one writer, who would keep the others waiting for good.
several_writers = pytest.mark.skipif(
    connection.vendor == "sqlite", reason="SQLite has one writer at a time."
)
THREADS = 4
PATIENCE = 60


@pytest.fixture
def normalize(wire: Any) -> Any:
    return wire((Normalize, LOWER))


def stored(model: Any) -> list[str]:
    return list(model.objects.order_by("pk").values_list("name", flat=True))


def count_queries(act: Callable[[], object]) -> int:
    with CaptureQueriesContext(connection) as queries:
        act()
    return sum("SAVEPOINT" not in query["sql"] for query in queries)


# Another is quicker

meanwhile: list[Callable[[], object]] = []


def elsewhere(function: Callable[[], Any]) -> Any:
    """Do it on another connection, to its end."""

    def run() -> Any:
        try:
            return function()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result(PATIENCE)


class Overtaken(Validate):
    """Between the look and the save another connection does what is in ``meanwhile``."""

    def pre_save(self, instance: Any, **kwargs: Any) -> None:
        if meanwhile:
            elsewhere(meanwhile.pop())
        super().pre_save(instance=instance, **kwargs)


@pytest.fixture
def overtaken(wire: Any) -> Any:
    meanwhile.clear()
    return wire((Overtaken, {"models": ["validity.*", "belongings.*"]}))


def test_the_row_that_another_has_just_made_is_found(overtaken: Any) -> None:
    meanwhile.append(lambda: Hotel.objects.create(name="Sun", stars=3))
    hotel, made = Hotel.objects.get_or_create(name="Sun")
    assert (hotel.stars, made) == (3, False)
    assert Hotel.objects.count() == 1


@several_writers
def test_so_does_update_or_create_and_updates_it(overtaken: Any) -> None:
    meanwhile.append(lambda: Hotel.objects.create(name="Sun", stars=3))
    hotel, made = Hotel.objects.update_or_create(name="Sun", defaults={"rooms": 7})
    assert (hotel.stars, made) == (3, False)
    assert Hotel.objects.get().rooms == 7


def test_so_do_the_async_twins(overtaken: Any) -> None:
    meanwhile.append(lambda: Hotel.objects.create(name="Sun", stars=3))
    hotel, made = run_async(Hotel.objects.aget_or_create(name="Sun"))
    assert (hotel.stars, made) == (3, False)


def test_so_do_related_managers(overtaken: Any) -> None:
    country = Country.objects.create(code="es")
    meanwhile.append(lambda: Hotel.objects.create(name="Sun", country=country, stars=3))
    hotel, made = country.hotel_set.get_or_create(name="Sun")
    assert (hotel.stars, made) == (3, False)


def test_so_it_is_with_every_kind_of_uniqueness(overtaken: Any) -> None:
    def make(**values: Any) -> None:
        Hotel.objects.create(**{"name": "Sun", "number": 1, "stars": 3, **values})

    for lookup in ({"street": "Main", "number": 1}, {"slug": "sun"}):
        Hotel.objects.all().delete()
        meanwhile.append(partial(make, **lookup))
        hotel, made = Hotel.objects.get_or_create(**lookup, defaults={"name": "Moon"})
        assert (hotel.stars, made) == (3, False)
    hotel = Hotel.objects.get()
    day = "2024-05-01"
    meanwhile.append(lambda: Booking.objects.create(hotel=hotel, code="a", day=day, guest="Ann"))
    # Only Django knows this rule: the database has no constraint for it.
    found, made = Booking.objects.get_or_create(
        day=day, guest="Ann", defaults={"code": "b", "hotel": hotel}
    )
    assert (found.code, made) == ("a", False)


def test_the_row_of_another_is_no_excuse_for_a_wrong_one(overtaken: Any) -> None:
    """What stays missing is refused as ever, and as a plain save is."""
    Hotel.objects.create(name="Sun", slug="sun")
    for act in (
        lambda: Hotel.objects.get_or_create(name="Moon", defaults={"slug": "sun"}),
        lambda: Hotel.objects.update_or_create(name="Moon", defaults={"slug": "sun"}),
        lambda: Hotel.objects.create(name="Moon", slug="sun"),
    ):
        assert list(refused(act)) == ["__all__"]
    assert list(refused(lambda: Hotel.objects.get_or_create(name="spam"))) == ["name"]
    assert "name" in refused(lambda: Hotel.objects.create(name="Sun"))
    assert Hotel.objects.count() == 1


def test_a_refusal_leaves_the_transaction_of_the_caller_usable(overtaken: Any) -> None:
    with transaction.atomic():
        refused(lambda: Hotel.objects.get_or_create(name="spam"))
        Hotel.objects.get_or_create(name="Sun")
    assert stored(Hotel) == ["Sun"]


def test_two_that_are_found_at_the_second_look_are_too_many(overtaken: Any) -> None:
    def make() -> None:
        Hotel.objects.create(name="Sun", rooms=7, street="a")
        Hotel.objects.create(name="Moon", rooms=7, street="b")

    meanwhile.append(make)
    with pytest.raises(Hotel.MultipleObjectsReturned):
        Hotel.objects.get_or_create(rooms=7, defaults={"name": "Sun"})


def test_an_error_of_the_look_itself_is_the_callers(overtaken: Any) -> None:
    with pytest.raises(ValidationError):
        Board.objects.get_or_create(id="no uuid")


def test_what_is_found_at_once_costs_one_query(overtaken: Any) -> None:
    Hotel.objects.create(name="Sun")
    assert count_queries(lambda: Hotel.objects.get_or_create(name="Sun")) == 1


@several_writers
@pytest.mark.parametrize("name", ["get_or_create", "update_or_create"])
def test_many_at_once_make_one_row_of_each_name(wire: Any, name: str) -> None:
    wire((Normalize, LOWER), (Validate, {"models": ["validity.*"]}))
    names = [f"Hotel {number}" for number in range(15)]
    barrier = threading.Barrier(THREADS, timeout=PATIENCE)

    def call(each: str) -> Any:
        for _ in range(20):
            try:
                return getattr(Hotel.objects, name)(name=each, defaults={"rooms": 5})
            except OperationalError:
                # A deadlock, of which the database chooses the victim.
                continue
        raise AssertionError("No attempt succeeded.")

    def run(number: int) -> int:
        try:
            made = 0
            for each in names:
                barrier.wait()
                made += call(each.upper() if number % 2 else f" {each}")[1]
            return made
        finally:
            connections.close_all()

    with ThreadPoolExecutor(THREADS) as pool:
        made = list(pool.map(run, range(THREADS)))
    assert sorted(stored(Hotel)) == sorted(each.casefold() for each in names)
    assert sum(made) == len(names)


# As it is written


def test_a_row_is_found_by_what_it_was_made_of(normalize: Any) -> None:
    first, made = Tag.objects.get_or_create(name=" Ann ")
    assert (first.name, made) == ("ann", True)
    assert Tag.objects.get_or_create(name=" Ann ") == (first, False)
    assert Tag.objects.get_or_create(name__exact="ANN") == (first, False)
    assert Tag.objects.filter(pk__gt=0).get_or_create(name="ANN") == (first, False)
    assert stored(Tag) == ["ann"]


def test_update_or_create_finds_it_and_cleans_what_it_writes(normalize: Any) -> None:
    board = Board.objects.create(name="a", code="x")
    found, made = Board.objects.update_or_create(code=" X ", defaults={"name": " B "})
    assert (found.pk, made) == (board.pk, False)
    found, made = Board.objects.update_or_create(
        code=" Y ", defaults={"name": "C"}, create_defaults={"name": " D "}
    )
    assert (found.code, made) == ("y", True)
    assert set(Board.objects.values_list("code", "name")) == {("x", "b"), ("y", "d")}


def test_so_do_async_twins_and_related_managers(normalize: Any) -> None:
    async def call() -> None:
        await Tag.objects.aget_or_create(name="A")
        await Tag.objects.aget_or_create(name=" a")
        await Tag.objects.aupdate_or_create(name="A ", defaults={"name": "B"})

    run_async(call())
    assert stored(Tag) == ["b"]
    category = Category.objects.create(name="c")
    for name in ("Tea", " TEA"):
        tea, _ = category.product_set.get_or_create(name=name)
        tea.tags.get_or_create(name=f"{name} tag")
        tea.tags.update_or_create(name=f"{name} tag", defaults={})
    assert stored(Product) == ["tea"]
    assert stored(Tag) == ["b", "tea tag"]
    assert tea.tags.count() == 1
    assert run_async(tea.tags.aget_or_create(name="Tea TAG"))[1] is False


def test_proxies_and_multi_table_children_are_found_too(normalize: Any) -> None:
    ProductProxy.objects.get_or_create(name="Tea")
    assert ProductProxy.objects.get_or_create(name="TEA")[1] is False
    Resort.objects.get_or_create(name="Sea", defaults={"beach": "a"})
    assert Resort.objects.get_or_create(name="SEA", defaults={"beach": "b"})[1] is False


def test_a_key_may_be_what_is_cleaned(normalize: Any) -> None:
    Country.objects.get_or_create(code="ES")
    for name in ("code", "pk", "pk__exact"):
        assert Country.objects.get_or_create(**{name: " ES"})[1] is False
    assert Country.objects.get().code == "es"


def test_other_look_ups_are_left_alone(normalize: Any) -> None:
    Tag.objects.create(name="a")
    for lookup in ({"name__contains": "A "}, {"name__in": [" A"]}, {"name": Value(" A ")}):
        with muted("Normalize"):
            found = Tag.objects.filter(**lookup).exists()
        assert Tag.objects.get_or_create(**lookup, defaults={"name": "b"})[1] is not found
        Tag.objects.exclude(name="a").delete()
    # And those that do not save.
    assert not Tag.objects.filter(name=" a b ").exists()
    with pytest.raises(Product.DoesNotExist):
        Product.objects.get(name=" TEA ")
    Product.objects.create(name="x", slug="X")
    assert Product.objects.get_or_create(name=F("name"))[1] is False


def test_a_row_that_is_older_than_the_receiver_is_found_as_it_is(wire: Any) -> None:
    old = Tag.objects.create(name=" Ann ")
    wire((Normalize, LOWER))
    assert Tag.objects.get_or_create(name=" Ann ") == (old, False)
    new = Tag.objects.create(name="ann")
    assert Tag.objects.get_or_create(name=" Ann ") == (new, False)


def test_what_costs_what(normalize: Any) -> None:
    Tag.objects.create(name="a")
    assert count_queries(lambda: Tag.objects.get_or_create(name="a")) == 1
    assert count_queries(lambda: Tag.objects.get_or_create(name=" A ")) == 1


def test_what_an_override_leaves_alone_is_looked_for_as_it_is(wire: Any) -> None:
    wire((NotDrafts, {"models": ["testapp.Product"], "fields": {"name": ["strip"]}}))
    for slug, name in (("draft", " a "), ("tea", " b ")):
        made = [Product.objects.get_or_create(name=name, slug=slug)[1] for _ in range(2)]
        assert made == [True, False]
    assert stored(Product) == [" a ", "b"]


class NotDrafts(Normalize):
    def pre_save(self, instance: Any, **kwargs: Any) -> None:
        if instance.slug != "draft":
            super().pre_save(instance=instance, **kwargs)


def test_what_is_muted_does_not_change_a_look_up(normalize: Any) -> None:
    with muted("Normalize"):
        assert Tag.objects.get_or_create(name=" A ")[1] is True
    assert stored(Tag) == [" A "]


def fail(value: str) -> str:
    if "!" in value:
        raise ValueError("no shouting")
    return value.strip()


def test_a_cleaner_that_fails_fails_the_call_or_is_logged(wire: Any, failures: Any) -> None:
    options = {"models": [Tag], "fields": {"name": [fail]}}
    wire((Normalize, options))
    with pytest.raises(ValueError, match="no shouting"):
        Tag.objects.get_or_create(name=" a!")
    wire((Normalize, {**options, "on_error": "log"}))
    assert Tag.objects.get_or_create(name=" a!")[1] is True
    assert Tag.objects.get_or_create(name=" a!")[1] is False
    told = {(failure["signal_name"], str(failure["exception"])) for failure in failures}
    assert told == {("pre_save", "no shouting")}
    assert stored(Tag) == [" a!"]


def test_a_row_that_cannot_be_made_is_refused_as_django_does(normalize: Any) -> None:
    Board.objects.create(name="a", code="x")
    with pytest.raises(IntegrityError):
        Board.objects.get_or_create(name="b", defaults={"code": " X "})
