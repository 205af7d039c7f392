"""What each ready-made receiver adds to one operation: microseconds and statements."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.signals import request_finished, request_started
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.apps.relations.models import Article, Topic
from tests.apps.testapp.models import Category, Product, Tag
from tests.apps.validity.models import Hotel
from tests.benchmarks.interleave import compare, show

pytestmark = pytest.mark.django_db(transaction=True)

RECEIVERS = "django_signal_kit.receivers"
_TRANSACTION = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE")
ROWS = 1000
_numbers = count(1)


@dataclass(frozen=True)
class Case:
    """``act`` is one operation, given what ``prepare`` has made."""

    receiver: str
    what: str
    act: Callable[[Any], object]
    prepare: Callable[[], Any] = lambda: None
    options: dict[str, Any] = field(default_factory=dict)
    #: Rows that one operation is about; the figures are for one row.
    rows: int = 1

    def __str__(self) -> str:
        return f"{self.receiver}: {self.what}"


def create(_: Any) -> None:
    Product(name=f" Lamp {next(_numbers)} ").save(force_insert=True)


def create_many(_: Any) -> None:
    Product.objects.bulk_create(Product(name=f" Lamp {next(_numbers)} ") for _ in range(ROWS))


def make_product() -> Product:
    return Product.objects.create(name="Lamp", category=Category.objects.create(name="Light"))


def update(product: Product) -> None:
    product.stock += 1
    product.save()


def make_hotel() -> Hotel:
    return Hotel.objects.create(name=f"Hotel {next(_numbers)}")


def update_hotel(hotel: Hotel) -> None:
    hotel.rooms = next(_numbers) % 1000
    hotel.save()


def make_hotels() -> list[Hotel]:
    names = [f"Hotel {next(_numbers)}" for _ in range(ROWS)]
    return [Hotel(name=name, street=name, number=1, slug=name.replace(" ", "")) for name in names]


def create_hotels(_: Any) -> None:
    Hotel.objects.bulk_create(make_hotels())


def clean_and_create_hotels() -> None:
    hotels = make_hotels()
    for hotel in hotels:
        hotel.full_clean()
    Hotel.objects.bulk_create(hotels)


def make_products() -> None:
    create_many(None)


def load(_: Any) -> None:
    list(Product.objects.all()[:ROWS])


def load_in_request(_: Any) -> None:
    request_started.send(sender=None, environ={"PATH_INFO": "/"})
    load(None)
    request_finished.send(sender=None)


def create_user(_: Any) -> None:
    name = f"user {next(_numbers)}"
    User(username=name, email="somebody@example.com").save(force_insert=True)


def create_users(_: Any) -> None:
    User.objects.bulk_create(User(username=f"user {next(_numbers)}") for _ in range(ROWS))


def come_and_go(_: Any) -> None:
    Tag.objects.create(name="brass").delete()


def delete_many(_: Any) -> None:
    Tag.objects.bulk_create(Tag(name="brass") for _ in range(ROWS))
    Tag.objects.all().delete()


def make_article() -> tuple[Article, list[Topic]]:
    topics = Topic.objects.bulk_create(Topic(name=f"topic {n}") for n in range(2))
    for article in Article.objects.bulk_create(Article() for _ in range(2)):
        article.topics.set(topics)
    return article, topics


def link(given: tuple[Article, list[Topic]]) -> None:
    article, topics = given
    article.topics.remove(*topics)
    article.topics.add(*topics)


PRODUCTS: dict[str, Any] = {"models": ["testapp.Product"]}
HOTELS: dict[str, Any] = {"models": ["validity.Hotel"]}
TAGS: dict[str, Any] = {"models": ["testapp.Tag"]}
TOPICS: dict[str, Any] = {"models": ["relations.Topic"]}
CLEAN = {**PRODUCTS, "fields": {"name": ["strip", "nfc"]}}
KEYS = {**PRODUCTS, "keys": ["product:{pk}"]}
PROFILE = {"related": "belongings.Profile"}
COUNT = {**TOPICS, "relation": "articles", "field": "article_count"}
LIMIT = {**TOPICS, "relation": "articles", "maximum": 50}
ATTRIBUTES = {**PRODUCTS, "attributes": {"quantity": 1}}

CASES = [
    Case("AuditLog", "update", update, make_product, PRODUCTS),
    Case("AuditLog", "`bulk_create()`", create_many, options=PRODUCTS, rows=ROWS),
    Case("CacheInvalidation", "update", update, make_product, KEYS),
    Case("CacheInvalidation", "`bulk_create()`", create_many, options=KEYS, rows=ROWS),
    Case("FileCleanup", "update", update, make_product, PRODUCTS),
    Case("LastModified", "update", update, make_product, PRODUCTS),
    Case("LastModified", "`bulk_create()`", create_many, options=PRODUCTS, rows=ROWS),
    Case("Normalize", "update", update, make_product, CLEAN),
    Case("Normalize", "`bulk_create()`", create_many, options=CLEAN, rows=ROWS),
    Case("Validate", "update", update_hotel, make_hotel, HOTELS),
    Case("Validate", "`bulk_create()`", create_hotels, options=HOTELS, rows=ROWS),
    Case("InitialAttributes", "loading", load, make_products, ATTRIBUTES, ROWS),
    Case("InstanceMonitor", "loading", load_in_request, make_products, PRODUCTS, ROWS),
    Case("CreateRelated", "create a user", create_user, options=PROFILE),
    Case("CreateRelated", "`bulk_create()`", create_users, options=PROFILE, rows=ROWS),
    Case("WelcomeEmail", "create a user", create_user),
    Case("DeletionLog", "create and delete", come_and_go, options=TAGS),
    Case("DeletionLog", "the same of 1,000", delete_many, options=TAGS, rows=ROWS),
    Case("OrphanCleanup", "unlink and link two", link, make_article, TOPICS),
    Case("M2MCount", "unlink and link two", link, make_article, COUNT),
    Case("M2MLimit", "unlink and link two", link, make_article, LIMIT),
]


@pytest.fixture(scope="module")
def table() -> Iterator[list[str]]:
    """Lines to be printed when all cases have been measured."""
    lines = [
        "| receiver | operation | Django alone | with it | statements more |",
        "|---|---|---|---|---|",
    ]
    yield lines
    print("\n" + "\n".join(lines))


def get_statements(act: Callable[[Any], object], given: Any) -> int:
    with CaptureQueriesContext(connection) as captured:
        act(given)
    return sum(not query["sql"].startswith(_TRANSACTION) for query in captured)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_it_costs(wired: Any, case: Case, table: list[str]) -> None:
    entry = {
        "RECEIVER": f"{RECEIVERS}.{case.receiver}" if "." not in case.receiver else case.receiver,
        "OPTIONS": case.options,
    }
    given = case.prepare()
    statements = {}
    for name, wiring in (("bare", wired()), ("with it", wired(entry))):
        with wiring:
            case.act(given)
            statements[name] = get_statements(case.act, given)
    result = compare(
        {
            "bare": (wired(), lambda: case.act(given)),
            "with it": (wired(entry), lambda: case.act(given)),
        },
        rounds=21 if case.rows == 1 else 9,
        number=max(1, 100 // case.rows),
    )
    bare = result.medians["bare"] / case.rows
    more = result.difference("with it") / case.rows
    table.append(
        f"| `{case.receiver}` | {case.what} | {bare:,.1f} µs | {more:+,.1f} µs "
        f"| {statements['with it'] - statements['bare']} |"
    )


def test_rows_validated_together_or_one_by_one(wired: Any) -> None:
    result = compare(
        {
            "full_clean() of each of 1,000": (wired(), clean_and_create_hotels),
            "with Validate": (
                wired({"RECEIVER": f"{RECEIVERS}.Validate", "OPTIONS": HOTELS}),
                lambda: create_hotels(None),
            ),
        },
        rounds=7,
        number=1,
    )
    show("bulk_create() of 1,000 hotels", result)
    assert result.ratio("with Validate") < 1
