"""Rows of a bulk write that are recorded together are recorded as they are one by one."""

from __future__ import annotations

import json
from collections import defaultdict
from decimal import Decimal
from functools import partial
from typing import Any, ClassVar
from unittest import mock
from uuid import UUID

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.db.models import F, Value
from django.db.models.functions import Concat, Now, Upper
from hypothesis import given
from hypothesis import strategies as st

from django_signal_kit import ModelReceiver, batch, context, muted
from django_signal_kit.audit.changes import compare
from django_signal_kit.audit.entries import Entry, encode
from django_signal_kit.audit.lines import make_line, write_changed, write_created, write_deleted
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.audit.plans import _is_plain, _store_text
from django_signal_kit.receivers import AuditLog, LastModified
from django_signal_kit.rows.values import UNKNOWN, redact_with_hash, to_json
from django_signal_kit.sight.capturing import Capture
from django_signal_kit.units import unit
from django_signal_kit.writes import matched
from tests.apps.rarities.models import LongKey, Speechless
from tests.apps.relations.models import Team
from tests.apps.testapp.models import Page, Product, ProductProxy, Restaurant, Tag, Token
from tests.factories import CategoryFactory, ProductFactory, TagFactory, UserFactory

pytestmark = pytest.mark.django_db

OPTIONS = {"models": ["testapp.*", "rarities.*", "relations.*"]}
NASTY = ["", "é\x00\ud800", "\x1f", "%s {} \\ \"'", "\u2028", "x" * 90]


#: Name of a log -> the entries that it has written.
told: dict[str, list[Entry]] = defaultdict(list)


class AtOnce(AuditLog):
    """As it is, and says what it writes."""

    def flush(self, items: list[Entry]) -> None:
        told[type(self).__name__] += items
        super().flush(items)


class OneByOne(AtOnce):
    """Hears each row."""

    def post_save(self, instance: Any, created: Any, **kwargs: Any) -> None:  # type: ignore[override]
        super().post_save(instance, created, **kwargs)


class Meddler(ModelReceiver):
    """Changes the instances that others are told of."""

    def post_bulk_create(self, objs: Any, **kwargs: Any) -> None:
        self.meddle(objs)

    def post_bulk_update(self, objs: Any, **kwargs: Any) -> None:
        self.meddle(objs)

    def post_queryset_update(self, rows: Any, **kwargs: Any) -> None:
        self.meddle(rows or ())

    def meddle(self, rows: Any) -> None:
        for row in rows:
            row.name = "meddled"


@pytest.fixture(autouse=True)
def _forget() -> None:
    ContentType.objects.clear_cache()
    told.clear()


def make(count: int, **values: Any) -> list[Product]:
    return [
        Product(name=f"Row {n}", price=Decimal(n), data={"n": n, "token": "s3cret"}, **values)
        for n in range(count)
    ]


def create() -> None:
    Product.objects.bulk_create(make(3))


def create_odd() -> None:
    products = make(len(NASTY), api_token="s3cret", category=CategoryFactory())
    for product, text in zip(products, NASTY, strict=True):
        product.data = {text.replace("\x00", "").replace("\ud800", ""): [text[:1].strip("\x00é")]}
        product.slug, product.price = "12", "12.50"
        product.name = text.replace("\x00", "").replace("\ud800", "") + " s3cret"
    Product.objects.bulk_create(products)


def create_by_expressions() -> None:
    products = make(2)
    products[0].name, products[1].stock = Upper(Value("a")), Value(4)  # type: ignore[assignment]
    Product.objects.bulk_create(products)


def create_what_is_there() -> None:
    Team.objects.create(code="A1")
    Team.objects.bulk_create([Team(code="A1"), Team(code="A2")], ignore_conflicts=True)


def upsert() -> None:
    Team.objects.create(code="A1", player_count=1)
    teams = [Team(code="A1", player_count=2), Team(code="A2", player_count=3)]
    unique = None if connection.vendor == "mysql" else ["code"]
    Team.objects.bulk_create(
        teams, update_conflicts=True, update_fields=["player_count"], unique_fields=unique
    )


def create_with_keys() -> None:
    Token.objects.bulk_create([Token(name="a"), Token(id=str(UUID(int=7)), name="b")])


def create_with_long_keys() -> None:
    LongKey.objects.bulk_create([LongKey(pk="k" * 300), LongKey(pk="short")])


def create_speechless() -> None:
    Speechless.objects.bulk_create([Speechless(), Speechless()])


def create_proxies() -> None:
    ProductProxy.objects.bulk_create([ProductProxy(name="a"), ProductProxy(name="b")])
    Product.objects.bulk_create([Product(name="a"), ProductProxy(name="b")])


def update_in_bulk() -> None:
    products = Product.objects.bulk_create(make(4))
    for product in products[1:]:
        product.name, product.stock, product.data = "new", product.stock + 1, {"n": True}
    products[3].stock = F("stock") + 5
    Product.objects.bulk_update(products, ["name", "stock", "data"])


def update_proxies_in_bulk() -> None:
    ProductFactory.create_batch(2)
    proxies = list(ProductProxy.objects.all())
    for proxy in proxies:
        proxy.name = "new"
    Product.objects.bulk_update(proxies, ["name"])


def update_children_in_bulk() -> None:
    places = [Restaurant.objects.create(name=f"Place {n}", stars=n) for n in range(3)]
    for place in places:
        place.stars, place.name = 5, "new"
    Restaurant.objects.bulk_update(places, ["stars", "name"])
    Restaurant.objects.update(stars=F("stars") + 1, name="newer")


def update() -> None:
    category = CategoryFactory()
    Product.objects.bulk_create(make(3))
    Product.objects.update(name="new", price="2.50", category=category)
    Product.objects.update(name="new", price="2.50", category_id=category.pk)
    Product.objects.update(data={"n": 1.0}, category=None)


def update_by_expressions() -> None:
    Product.objects.bulk_create(make(3))
    Product.objects.update(stock=F("id") + 1, name=Concat("name", Value("!")))
    Product.objects.filter(stock__gt=1).update(stock=0)


def update_keys() -> None:
    made = Token.objects.bulk_create([Token(name="a"), Token(name="b")])
    Token.objects.filter(pk=made[0].pk).update(id=UUID(int=9), name="c")


def update_stamps() -> None:
    Product.objects.bulk_create(make(3))
    Product.objects.update(updated_at=Now())
    Product.objects.update(stock=3)
    pages = Page.objects.bulk_create([Page(title="a"), Page(title="b")])
    pages[0].title = "c"
    Page.objects.bulk_update(pages, ["title", "changed_at"])


def add() -> None:
    ProductFactory().tags.add(*TagFactory.create_batch(3))


WRITES = [
    *(create, create_odd, create_by_expressions, create_what_is_there, upsert, create_with_keys),
    *(create_with_long_keys, create_speechless, create_proxies, update_in_bulk),
    *(
        update_proxies_in_bulk,
        update_children_in_bulk,
        update,
        update_by_expressions,
        update_keys,
        update_stamps,
        add,
    ),
]


@pytest.mark.parametrize("others", [(), (Meddler,), (LastModified,)])
@pytest.mark.parametrize("write", WRITES)
def test_they_tell_the_same(wire: Any, write: Any, others: Any) -> None:
    some = {"models": ["testapp.Product"] if LastModified in others else ["testapp.*"]}
    more = [(other, some) for other in others]
    wire((AtOnce, OPTIONS), (OneByOne, OPTIONS), *more)
    write()
    assert told["AtOnce"]
    assert told["AtOnce"] == told["OneByOne"]


@pytest.mark.parametrize(
    "options",
    [
        {"stamps": True},
        {"hash_secrets": True, "redact": ["slug"]},
        {"fields": ["name", "updated_at", "stock"]},
        {"exclude_fields": ["name", "data"]},
        {"on_error": "log"},
        {"contract": "best_effort"},
        {"old_values": "snapshot"},
    ],
    ids=str,
)
def test_they_tell_the_same_as_they_are_set(wire: Any, options: dict[str, Any]) -> None:
    options = {"models": ["testapp.*"], **options}
    wire((AtOnce, options), (OneByOne, options))
    for write in (create_odd, update_in_bulk, update, update_stamps):
        write()
    assert told["AtOnce"]
    assert told["AtOnce"] == told["OneByOne"]


def test_they_tell_the_same_of_more_rows_than_are_kept_in_memory(
    wire: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire((AtOnce, OPTIONS), (OneByOne, OPTIONS))
    monkeypatch.setattr(matched, "CHUNK", 2)
    monkeypatch.setattr(unit, "CHUNK", 2)
    Product.objects.bulk_create(make(7))
    with batch():
        Product.objects.update(stock=F("id"), data={"a": 1})
        Product.objects.filter(stock__gt=0).update(stock=0, id=F("id") + 100)
    assert len(told["AtOnce"]) == 21
    assert told["AtOnce"] == told["OneByOne"]


def test_they_tell_the_same_of_who_does_it(wire: Any) -> None:
    wire((AtOnce, OPTIONS), (OneByOne, OPTIONS))
    with context(actor="Jane", reason="x" * 9, deep={"n": [1]}):
        update()
    assert told["AtOnce"] == told["OneByOne"]
    assert {entry.actor_text for entry in told["AtOnce"]} == {"Jane"}


class Counting(AtOnce):
    """Says something else of each row."""

    number = 0
    _calls = 0

    def get_context(self) -> Any:
        self._calls += 1
        return {"call": self._calls}

    def get_object_text(self, instance: Any) -> str:
        return f"Product {instance.name}"


def test_hooks_are_asked_for_each_row(wire: Any) -> None:
    wire((Counting, OPTIONS))
    Tag.objects.bulk_create([Tag(name="a"), Tag(name="b")])
    assert [json.loads(entry.context)["call"] for entry in told["Counting"]] == [1, 2]
    assert [entry.object_text for entry in told["Counting"]] == ["Product a", "Product b"]


class Choosy(AtOnce):
    def should_record(self, instance: Any, action: str, changes: Any) -> bool:
        return bool(instance.name == "b")


class Terse(AtOnce):
    def get_changes(self, instance: Any, old: Any, new: Any) -> Any:
        return {"terse": [None, 1]}


class Silent(AtOnce):
    def record(self, instance: Any, action: str, changes: Any, **options: Any) -> None:
        if instance.name == "a":
            super().record(instance, action, changes, **options)


class Collecting(AtOnce):
    _names: ClassVar[list[str]] = []

    def collect(self, item: Any, **options: Any) -> Any:
        self._names.append(item.object_text)
        return super().collect(item, **options)


def test_whoever_decides_about_a_row_is_asked_about_each(wire: Any) -> None:
    Collecting._names.clear()
    wire(*((cls, OPTIONS) for cls in (Choosy, Terse, Silent, Collecting)))
    Tag.objects.bulk_create([Tag(name="a"), Tag(name="b")])
    assert [entry.object_text for entry in told["Choosy"]] == ["b"]
    assert {entry.changes for entry in told["Terse"]} == {'{"terse":[null,1]}'}
    assert [entry.object_text for entry in told["Silent"]] == ["a"]
    assert Collecting._names == ["a", "b"]


@pytest.mark.parametrize("name", ["record", "should_record", "pre_save", "collect"])
@pytest.mark.parametrize("is_instance", [True, False])
def test_so_is_who_is_put_there_later(wire: Any, name: str, is_instance: bool) -> None:
    receiver = wire((AtOnce, OPTIONS))
    ProductFactory.create_batch(2)
    place = receiver if is_instance else AuditLog
    with mock.patch.object(place, name) as replaced:
        Product.objects.update(name="b")
    assert replaced.call_count == 2


@pytest.mark.parametrize("name", ["record", "should_record", "get_changes"])
def test_so_is_who_is_put_there_later_about_a_single_row(wire: Any, name: str) -> None:
    wire((AtOnce, OPTIONS))
    product = ProductFactory()
    product.name = "b"
    with mock.patch.object(AuditLog, name, return_value={}) as replaced:
        product.save()
        product.delete()
    assert replaced.call_count == 2


def test_so_is_what_an_instance_has_of_its_own(wire: Any) -> None:
    wire((Changed, OPTIONS))
    Tag.objects.bulk_create([Tag(name="a"), Tag(name="b")])
    assert [entry.object_text for entry in told["Changed"]] == ["b"]


class Changed(AtOnce):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.should_record = lambda instance, *args: instance.name == "b"  # type: ignore[method-assign]


def test_whoever_is_asked_about_each_hears_of_proxies_among_them(wire: Any) -> None:
    wire((OneByOne, OPTIONS))
    update_proxies_in_bulk()
    assert [entry.action for entry in told["OneByOne"]] == ["create"] * 2 + ["update"] * 2


class TakingTurns(AtOnce):
    _actors: ClassVar[list[Any]] = []

    def get_actor(self) -> Any:
        return self._actors.pop(0)


def test_each_row_has_the_actor_that_is_told_of_it(wire: Any) -> None:
    users = [UserFactory(), None, UserFactory()]
    TakingTurns._actors[:] = users
    wire((TakingTurns, OPTIONS))
    Tag.objects.bulk_create([Tag(name=name) for name in "abc"])
    found = AuditEntry.objects.order_by("pk").values_list("actor_id", "actor_text")
    assert [*found] == [(user and user.pk, str(user or "")) for user in users]


def test_what_is_said_of_all_rows_may_be_long(wire: Any) -> None:
    wire((AtOnce, OPTIONS))
    with context(reason="x" * 50_000):
        Tag.objects.bulk_create([Tag(name=str(number)) for number in range(400)])
    assert AuditEntry.objects.count() == 400


def test_muted_means_muted(wire: Any) -> None:
    wire((AtOnce, OPTIONS), (OneByOne, OPTIONS))
    with muted("AtOnce"):
        create()
    assert not told["AtOnce"]
    assert len(told["OneByOne"]) == 3


def test_a_trace_and_counters_know_each_row(wire: Any) -> None:
    wire((AtOnce, OPTIONS))
    with Capture() as captured:
        create()
    assert len(captured.get_items("AtOnce")) == 3
    assert [len(items) for items in captured.get_flushes("AtOnce")] == [3]


# The text of what is told

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    # One that signals is equal to nothing: it raises.
    | st.decimals().filter(lambda value: not value.is_snan())
    | st.uuids()
    | st.dates()
    | st.datetimes(timezones=st.timezones() | st.none())
    | st.times()
    | st.timedeltas()
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner),
    max_leaves=8,
)
rows = st.dictionaries(st.sampled_from(["a", "é", "token"]), values | st.just(UNKNOWN))
STORES: list[Any] = [
    *(to_json, _store_text, redact_with_hash, str),
    partial(to_json, extra_secrets=("a",), replace=redact_with_hash),
]


@given(rows, rows, st.sampled_from(STORES))
def test_the_text_is_that_of_the_values(old: Any, new: Any, store: Any) -> None:
    is_same: Any = lambda one, other: one == other  # noqa: E731
    stored = tuple((name, name, store, is_same) for name in ("a", "é", "token"))
    lines = [make_line(*field, is_plain=_is_plain(store)) for field in stored]
    assert write_created(lines, new) == encode(compare(stored, None, new))
    assert write_deleted(lines, old) == encode(compare(stored, old, None))
    pieces = write_changed(lines, old, new)
    found = compare(stored, old, new)
    assert [*pieces] == [*found]
    assert f"{{{','.join(pieces.values())}}}" == encode(found)
