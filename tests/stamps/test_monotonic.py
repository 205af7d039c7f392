"""A stamp never goes back, whoever writes the row meanwhile and whatever the clocks say."""

from __future__ import annotations

import datetime
import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError, connection, models, transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext, override_settings
from django.utils import timezone

from django_signal_kit import batch
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.receivers import AuditLog
from tests.apps.orders.models import Customer, Day, Label, Line, Order
from tests.apps.testapp.models import Page, Place, Product, Restaurant
from tests.factories import ProductFactory, RestaurantFactory
from tests.stamps.clock import FUTURE, OLD, AtGivenMoments, get_stamp
from tests.threads import in_threads

pytestmark = pytest.mark.django_db(transaction=True)

NEXT = FUTURE + datetime.timedelta(microseconds=1)


@pytest.fixture
def stamps(wire: Any) -> Any:
    return wire((AtGivenMoments, {"models": ["testapp.*"]}))


def save(product: Product) -> Product:
    product.save()
    return product


def save_some(product: Product) -> Product:
    product.name = "new"
    product.save(update_fields=["name"])
    return product


def save_deferred(product: Product) -> Product:
    product = Product.objects.only("name").get()
    product.name = "new"
    product.save()
    return product


def save_in_a_transaction(product: Product) -> Product:
    with transaction.atomic():
        product.save()
    return product


def update_or_create(product: Product) -> Product:
    return Product.objects.update_or_create(pk=product.pk, defaults={"stock": 8})[0]


@pytest.mark.parametrize(
    "way", [save, save_some, save_deferred, save_in_a_transaction, update_or_create]
)
def test_a_save_does_not_go_back_behind_the_stamp_that_is_there(
    stamps: Any, way: Callable[[Product], Product]
) -> None:
    product = ProductFactory()
    Product.objects.update(updated_at=FUTURE)
    product = way(product)
    assert product.updated_at == get_stamp(product) == NEXT
    product.save()
    assert product.updated_at == get_stamp(product) > NEXT


def test_an_update_does_not_go_back(stamps: Any) -> None:
    early, late, none = ProductFactory.create_batch(3)
    Product.objects.filter(pk=early.pk).update(updated_at=OLD)
    Product.objects.filter(pk=late.pk).update(updated_at=FUTURE)
    Product.objects.filter(pk=none.pk).update(updated_at=None)
    before = timezone.now()
    with CaptureQueriesContext(connection) as queries:
        Product.objects.update(name="x")
    assert len(queries) == 1
    assert before <= get_stamp(early) <= timezone.now()
    assert get_stamp(none) == get_stamp(early)
    assert get_stamp(late) == NEXT


def test_a_row_of_two_tables_does_not_go_back(stamps: Any) -> None:
    restaurant = RestaurantFactory()
    Place.objects.update(updated_at=FUTURE)
    restaurant.save(update_fields=["stars"])
    assert restaurant.updated_at == get_stamp(restaurant) == NEXT
    Restaurant.objects.update(stars=3)
    assert get_stamp(restaurant) > NEXT


def test_a_field_that_stamps_itself_does_not_go_back(wire: Any) -> None:
    wire((AtGivenMoments, {"models": [Page], "field": "changed_at"}))
    page = Page.objects.create(title="a")
    Page.objects.update(changed_at=FUTURE)
    page.save()
    assert page.changed_at == get_stamp(page, "changed_at") == NEXT


def test_a_day_does_not_go_back(wire: Any) -> None:
    wire((AtGivenMoments, {"models": [Day]}))
    day = Day.objects.create()
    Day.objects.update(last_modified=FUTURE.date())
    day.save()
    assert day.last_modified == get_stamp(day, "last_modified") == FUTURE.date()
    Day.objects.update(name="x")
    assert get_stamp(day, "last_modified") == FUTURE.date()


def test_a_touch_does_not_go_back(wire: Any) -> None:
    wire((AtGivenMoments, {"models": [Line], "touch": ["order", "order__customer"]}))
    customer = Customer.objects.create(modified=FUTURE)
    order = Order.objects.create(number="1", customer=customer, updated_at=FUTURE)
    Line.objects.create(order=order)
    assert get_stamp(order) == get_stamp(customer, "modified") == NEXT


def test_without_time_zones(wire: Any) -> None:
    with override_settings(USE_TZ=False):
        wire((AtGivenMoments, {"models": [Product]}))
        product = ProductFactory()
        later = datetime.datetime(2101, 1, 1)
        Product.objects.update(updated_at=later)
        product.save()
        following = later + datetime.timedelta(microseconds=1)
        assert product.updated_at == get_stamp(product) == following
        Product.objects.update(name="x")
        assert get_stamp(product) > following


def test_who_comes_second_asks_for_the_moment_anew(stamps: Any) -> None:
    product = ProductFactory()
    there = timezone.now()
    Product.objects.update(updated_at=there)
    stamps._moments[:] = [there - datetime.timedelta(seconds=1)]
    with CaptureQueriesContext(connection) as queries:
        product.save()
    assert product.updated_at == get_stamp(product) > there
    words = [query["sql"].split()[0] for query in queries]
    assert words == ["UPDATE", "SELECT", "UPDATE"]


def test_a_moment_that_is_the_same_is_written(stamps: Any) -> None:
    product = ProductFactory()
    there = get_stamp(product)
    stamps._moments[:] = [there]
    with CaptureQueriesContext(connection) as queries:
        product.save()
    assert product.updated_at == get_stamp(product) == there
    assert [query["sql"].split()[0] for query in queries] == ["UPDATE"]


def test_a_row_that_is_gone_is_still_gone(stamps: Any) -> None:
    product = ProductFactory()
    Product.objects.all().delete()
    with pytest.raises(DatabaseError):
        product.save(force_update=True)
    product.save()
    assert product.updated_at == get_stamp(product)


def test_a_model_that_looks_before_it_updates(make_model: Any, wire: Any) -> None:

    careful = make_model(
        "Careful",
        models.Model,
        name=models.CharField(max_length=10, default=""),
        updated_at=models.DateTimeField(null=True),
        meta={"select_on_save": True},
    )
    wire((AtGivenMoments, {"models": [careful]}))
    row = careful.objects.create()
    with CaptureQueriesContext(connection) as queries:
        row.save()
    assert [query["sql"].split()[0] for query in queries] == ["SELECT", "UPDATE"]
    careful.objects.update(updated_at=FUTURE)
    row.save()
    assert row.updated_at == get_stamp(row) == NEXT
    assert careful.objects.count() == 1


def _make_rows(make_model: Any, **keys: Any) -> Any:
    stamp = models.DateTimeField(null=True)
    return make_model(
        "Keyed", models.Model, **keys, number=models.IntegerField(), updated_at=stamp
    )


KEYS: dict[str, tuple[Callable[[], dict[str, Any]], dict[str, Any]]] = {
    "number": (dict, {}),
    "text": (lambda: {"code": models.CharField(primary_key=True, max_length=9)}, {"code": "50%"}),
    "uuid": (lambda: {"id": models.UUIDField(primary_key=True, default=uuid.uuid4)}, {}),
    "other row": (
        lambda: {"label": models.OneToOneField(Label, models.CASCADE, primary_key=True)},
        {"label_id": 5},
    ),
    "two columns": (
        lambda: {
            "pk": models.CompositePrimaryKey("one", "two"),
            "one": models.IntegerField(),
            "two": models.IntegerField(),
        },
        {"one": 1, "two": 2},
    ),
}


@pytest.mark.parametrize("kind", KEYS)
def test_rows_of_all_kinds_of_keys(make_model: Any, wire: Any, kind: str) -> None:
    make_fields, values = KEYS[kind]
    Label.objects.create(pk=5)
    keyed = _make_rows(make_model, **make_fields())
    wire((AtGivenMoments, {"models": [keyed]}))
    row = keyed.objects.create(number=1, **values)
    keyed.objects.update(updated_at=OLD)
    row.number = 2
    with CaptureQueriesContext(connection) as queries:
        row.save()
    assert [query["sql"].split()[0] for query in queries] == ["UPDATE"]
    assert row.updated_at == get_stamp(row) > OLD
    assert keyed.objects.get().number == 2
    keyed.objects.update(updated_at=FUTURE)
    row.save(update_fields=["number"])
    assert row.updated_at == get_stamp(row) == NEXT
    assert keyed.objects.count() == 1


def test_a_key_that_was_given_as_text(stamps: Any) -> None:
    product = ProductFactory()
    product.pk = str(product.pk)
    product.name = "new"
    product.save()
    assert Product.objects.get().name == "new"


def test_a_model_with_an_update_of_its_own_is_asked(make_model: Any, wire: Any) -> None:
    asked = []

    def _do_update(self: Any, base_qs: Any, *args: Any, **kwargs: Any) -> Any:
        asked.append(self)
        return models.Model._do_update(self, base_qs, *args, **kwargs)  # type: ignore[attr-defined]

    keyed = _make_rows(make_model, _do_update=_do_update)
    wire((AtGivenMoments, {"models": [keyed]}))
    row = keyed.objects.create(number=1)
    keyed.objects.update(updated_at=FUTURE)
    row.save()
    assert row.updated_at == get_stamp(row) == NEXT
    assert asked == [row]


def test_what_another_asks_of_the_row_is_asked_at_each_try(make_model: Any, wire: Any) -> None:
    def _do_update(self: Any, base_qs: Any, *args: Any, **kwargs: Any) -> Any:
        rows = base_qs.filter(number=1)
        return models.Model._do_update(self, rows, *args, **kwargs)  # type: ignore[attr-defined]

    keyed = _make_rows(make_model, _do_update=_do_update)
    wire((AtGivenMoments, {"models": [keyed]}))
    row = keyed.objects.create(number=1)
    keyed.objects.update(updated_at=FUTURE, number=2)
    with pytest.raises(DatabaseError):
        row.save(update_fields=["number"])
    assert get_stamp(row) == FUTURE
    keyed.objects.update(number=1)
    row.save(update_fields=["number"])
    assert row.updated_at == get_stamp(row) > NEXT


def test_an_update_that_another_package_has_wrapped_is_asked(wire: Any, monkeypatch: Any) -> None:
    asked = []
    django = models.Model._do_update  # type: ignore[attr-defined]

    def _do_update(self: Any, *args: Any, **kwargs: Any) -> Any:
        asked.append(self)
        return django(self, *args, **kwargs)

    monkeypatch.setattr(models.Model, "_do_update", _do_update)
    wire((AtGivenMoments, {"models": [Product]}))
    product = ProductFactory()
    product.save()
    assert asked == [product]
    wire()


def test_the_log_says_what_was_written(stamps: Any, wire: Any) -> None:
    log = (AuditLog, {"models": [Product], "stamps": True})
    wire(log, (AtGivenMoments, {"models": [Product]}))
    product = ProductFactory()
    Product.objects.update(updated_at=FUTURE)
    product.name = "new"
    product.save()
    entry = AuditEntry.objects.latest("pk")
    assert entry.changes["updated_at"] == [FUTURE.isoformat(), NEXT.isoformat()]
    Product.objects.update(name="newer")
    entry = AuditEntry.objects.latest("pk")
    assert entry.changes["updated_at"][1] == get_stamp(product).isoformat()


def test_rows_that_are_read_for_an_update_cost_no_query_more(wire: Any) -> None:
    ProductFactory.create_batch(3)

    def count() -> list[str]:
        with CaptureQueriesContext(connection) as queries:
            Product.objects.update(stock=F("stock") + 1)
        return [query["sql"].split()[0] for query in queries]

    wire((AuditLog, {"models": [Product]}))
    alone = count()
    wire((AuditLog, {"models": [Product]}), (AtGivenMoments, {"models": [Product]}))
    assert count() == alone


@pytest.mark.skipif(
    "connection.vendor == 'sqlite'", reason="this database lets one writer in at a time"
)
@pytest.mark.parametrize("way", ["save", "update", "touch"])
def test_a_writer_that_has_waited_for_another_is_the_later_one(wire: Any, way: str) -> None:
    receiver = wire((AtGivenMoments, {"models": ["orders.*"], "touch": ["order"]}))
    order = Order.objects.create(number="1")
    stale = Order.objects.get()
    early = timezone.now()
    waits = threading.Event()

    def write() -> None:
        try:
            receiver._moments[:] = [early] * (2 if way == "touch" else 1)
            waits.set()
            if way == "save":
                stale.save()
            elif way == "update":
                Order.objects.update(number="1")
            else:
                Line.objects.create(order_id="1")
        finally:
            connection.close()

    writer = threading.Thread(target=write)
    with transaction.atomic():
        later = early + datetime.timedelta(seconds=1)
        Order.objects.filter(pk=order.pk).update(updated_at=later)
        writer.start()
        waits.wait(10)
        _wait_for_lock()
    writer.join(20)
    assert get_stamp(order) > later
    if way == "save":
        assert stale.updated_at == get_stamp(order)


def _wait_for_lock() -> None:
    """Until somebody waits for a row of ours."""
    waiting = {
        "postgresql": "SELECT count(*) FROM pg_locks WHERE NOT granted",
        "mysql": "SELECT count(*) FROM information_schema.innodb_trx "
        "WHERE trx_state = 'LOCK WAIT'",
    }[connection.vendor]
    for _ in range(100):
        with connection.cursor() as cursor:
            cursor.execute(waiting)
            if cursor.fetchone()[0]:
                return
        # MariaDB says anew who waits if nobody has asked for a tenth of a second.
        threading.Event().wait(0.15)
    raise AssertionError("nobody waits")


def test_many_writers_leave_the_latest_of_their_stamps(wire: Any) -> None:
    wire((AtGivenMoments, {"models": [Product]}))
    product = ProductFactory()
    seen: list[datetime.datetime] = []

    def write() -> None:
        for _ in range(10):
            mine = Product.objects.get(pk=product.pk)
            with batch():
                mine.save()
            seen.append(mine.updated_at)

    in_threads(*[write] * 4)
    assert len(seen) == len(set(seen)) == 40
    assert get_stamp(product) == max(seen)
