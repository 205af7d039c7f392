"""What was there before an upsert is told to who needs it; the log says what it cannot know."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.core.cache import cache
from django.core.exceptions import FieldDoesNotExist
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection, models, transaction
from django.test.utils import CaptureQueriesContext

from django_signal_kit import ModelReceiver
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.receivers import AuditLog, CacheInvalidation, FileCleanup, LastModified
from django_signal_kit.rows.snapshots import get_new_row, get_old_row
from tests.apps.rarities.models import OrderLine
from tests.apps.testapp.models import Product, Tag
from tests.factories import ProductFactory, TagFactory, UserFactory

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


def upsert(objs: Any, update: Any, by: Any = ("id",), **options: Any) -> Any:
    """``bulk_create(update_conflicts=True)``; MariaDB looks at all unique columns by itself."""
    if connection.features.supports_update_conflicts_with_target:
        options["unique_fields"] = list(by)
    return type(objs[0])._base_manager.bulk_create(
        objs, update_conflicts=True, update_fields=update, **options
    )


class Old(ModelReceiver):
    """What it is told of each row, before and after."""

    models = [Tag]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.told: list[Any] = []

    def get_old_fields(self, model: Any) -> Any:
        return [field for field in model._meta.concrete_fields if not field.primary_key]

    def pre_save(self, instance: Any, using: str, **kwargs: Any) -> None:
        get_old_row(instance, using)

    def post_save(self, instance: Any, using: str, **kwargs: Any) -> None:
        old = get_old_row(instance, using)
        fields = [field for field in type(instance)._meta.concrete_fields if field.name != "key"]
        new = get_new_row(instance, fields, using)
        self.told.append((None if old is None else old["name"], new["name"]))


@pytest.fixture
def make_unique(make_model: Any, wire: Any) -> Any:
    """A model with these columns, and what its receiver is told."""

    def make(**attributes: Any) -> Any:
        name = models.CharField(max_length=20)
        made = make_model("Unique", models.Model, **{"name": name, **attributes})
        return made, wire((Old, {"models": [made]}))

    return make


# Which rows are in the way


def test_by_the_key(wire: Any) -> None:
    tags = TagFactory.create_batch(3, name="a")
    receiver = wire(Old)
    upsert([Tag(pk=tags[0].pk, name="b"), Tag(name="new"), Tag(pk=tags[2].pk, name="c")], ["name"])
    assert receiver.told == [("a", "b"), (None, "new"), ("a", "c")]


def test_by_the_key_under_its_other_name(wire: Any) -> None:
    tag = TagFactory(name="a")
    receiver = wire(Old)
    upsert([Tag(pk=str(tag.pk), name="b")], ["name"], by=["pk"])
    assert receiver.told == [("a", "b")]


def test_by_a_unique_column(make_unique: Any) -> None:
    unique, receiver = make_unique(code=models.UUIDField(unique=True))
    code = uuid.uuid4()
    unique._base_manager.bulk_create([unique(code=code, name="a")])
    receiver.told.clear()
    objs = [unique(code=str(code).upper(), name="b"), unique(code=uuid.uuid4(), name="c")]
    upsert(objs, ["name"], by=["code"])
    assert receiver.told == [("a", "b"), (None, "c")]


@pytest.mark.parametrize(
    "meta",
    [
        {"unique_together": [("shop", "code")]},
        {"constraints": [models.UniqueConstraint(fields=["shop", "code"], name="one_code")]},
    ],
    ids=["together", "constraint"],
)
def test_by_columns_that_are_unique_together(make_unique: Any, meta: Any) -> None:
    unique, receiver = make_unique(
        shop=models.IntegerField(null=True), code=models.IntegerField(), meta=meta
    )
    made = [unique(shop=shop, code=code, name="a") for shop in (1, 2) for code in (1, 2)]
    made.append(unique(shop=None, code=1, name="a"))
    unique._base_manager.bulk_create(made, ignore_conflicts=True)
    receiver.told.clear()
    objs = [(1, 1), (2, "1"), (3, 1), (None, 1)]
    upsert(
        [unique(shop=shop, code=code, name="b") for shop, code in objs],
        ["name"],
        by=("shop", "code"),
    )
    # NULL equals nothing.
    assert receiver.told == [("a", "b"), ("a", "b"), (None, "b"), (None, "b")]
    assert unique._base_manager.filter(name="b").count() == 4


def test_by_a_column_that_knows_no_capitals(make_unique: Any) -> None:
    if connection.vendor != "mysql":
        pytest.skip("this database tells capitals from small letters")
    unique, receiver = make_unique(code=models.CharField(max_length=9, unique=True))
    unique._base_manager.bulk_create([unique(code="tea", name="a")], ignore_conflicts=True)
    receiver.told.clear()
    upsert([unique(code="TEA", name="b")], ["name"])
    assert receiver.told == [("a", "b")]


def test_by_a_key_of_two_columns(wire: Any) -> None:
    OrderLine.objects.create(order=1, number=2, text="a")
    receiver = wire(LinesOld)
    lines = [OrderLine(order="1", number=2, text="b"), OrderLine(order=1, number=3, text="c")]
    upsert(lines, ["text"], by=["order", "number"])
    assert receiver.told == ["a", None]


class LinesOld(Old):
    models = [OrderLine]

    def post_save(self, instance: Any, using: str, **kwargs: Any) -> None:
        old = get_old_row(instance, using)
        self.told.append(None if old is None else old["text"])


def test_many_rows_are_read_in_few_queries(wire: Any) -> None:
    tags = TagFactory.create_batch(450, name="a")
    receiver = wire(Old)
    with CaptureQueriesContext(connection) as queries:
        upsert([Tag(pk=tag.pk, name="b") for tag in tags], ["name"])
    assert receiver.told == [("a", "b")] * 450
    assert len([q for q in queries if q["sql"].startswith("SELECT")]) == 3


def test_a_value_that_nobody_knows_yet_is_looked_for_by_nobody(wire: Any) -> None:
    receiver = wire(Old)
    TagFactory(name="a")
    receiver.told.clear()
    upsert([Tag(name="b")], ["name"])
    assert receiver.told == [(None, "b")]


def test_errors_are_those_of_django(wire: Any) -> None:
    if not connection.features.supports_update_conflicts_with_target:
        pytest.skip("this database is told no columns")
    wire(Old)
    wrong: list[tuple[dict[str, Any], type[Exception]]] = [
        ({"unique_fields": ["idd"], "update_fields": ["name"]}, FieldDoesNotExist),
        ({"unique_fields": ["id"], "update_fields": ["nme"]}, FieldDoesNotExist),
        ({"unique_fields": ["id"]}, ValueError),
        ({"update_fields": ["name"]}, ValueError),
    ]
    with transaction.atomic():
        for options, cls in wrong:
            with pytest.raises(cls):
                Tag.objects.bulk_create([Tag(pk=1, name="a")], update_conflicts=True, **options)
        Tag.objects.create(name="b")
    assert Tag.objects.get().name == "b"


def test_what_nobody_asks_for_is_not_read(wire: Any) -> None:
    tag = TagFactory(name="a")
    ContentType.objects.clear_cache()
    wire((AuditLog, {"models": [Tag]}), (LastModified, {"models": [Product]}))
    ContentType.objects.get_for_model(Tag)
    with CaptureQueriesContext(connection) as queries:
        upsert([Tag(pk=tag.pk, name="b")], ["name"])
    kinds = [query["sql"].split()[0] for query in queries]
    assert [kind for kind in kinds if kind not in ("BEGIN", "COMMIT")] == ["INSERT", "INSERT"]


# What is done with it


def test_the_file_that_a_row_has_lost_goes(wire: Any, media: Path) -> None:
    wire((FileCleanup, {"models": [Product]}))
    product = ProductFactory(image=ContentFile(b"1", "one.png"), manual=ContentFile(b"1", "m.txt"))
    old, manual = product.image.name, product.manual.name
    [new] = upsert(
        [Product(pk=product.pk, name="b", image=ContentFile(b"2", "two.png"))], ["image"]
    )
    assert not default_storage.exists(old)
    assert default_storage.exists(new.image.name)
    # A column that is not updated keeps its file, though the object has none.
    assert Product.objects.get().manual.name == manual
    assert default_storage.exists(manual)


def test_pages_of_before_and_after_go(wire: Any) -> None:
    wire((CacheInvalidation, {"models": [Product], "keys": ["{pk}", "{slug}:{stock}"]}))
    product = ProductFactory(slug="tea", stock=1)
    keys = [str(product.pk), "tea:1", "tea:2"]
    cache.set_many(dict.fromkeys([*keys, ":2", "tea:3"], "page"))
    upsert([Product(pk=product.pk, slug="", stock=2)], ["stock"])
    assert cache.get_many(keys) == {}
    assert cache.get("tea:3") == "page"


def test_an_expression_is_read_back(wire: Any) -> None:
    wire((CacheInvalidation, {"models": [Product], "keys": ["{slug}:{stock}"]}))
    product = ProductFactory(slug="tea", stock=1)
    cache.set_many({"tea:1": "page", "tea:0": "page"})
    row = Product(pk=product.pk, slug="x", stock=models.Value(0) + 0)
    upsert([row], ["stock"])
    assert Product.objects.get().stock == 0
    assert cache.get_many(["tea:1", "tea:0"]) == {}


def test_the_log_says_what_it_does_not_know(wire: Any) -> None:
    ContentType.objects.clear_cache()
    wire((AuditLog, {"models": [Tag]}), Old)
    Tag.objects.create(pk=1, name="a")
    AuditEntry.objects.all().delete()
    upsert([Tag(pk=1, name="b"), Tag(pk=2, name="c")], ["name"])
    entries = AuditEntry.objects.order_by("object_pk")
    assert [(entry.action, entry.changes["name"]) for entry in entries] == [
        ("create", [None, "b"]),
        ("create", [None, "c"]),
    ]
    assert [entry.context for entry in entries] == [{"certain": False}] * 2


@pytest.mark.parametrize("name", ["editor", "editor_id"])
def test_a_stamp_is_updated_once_under_either_of_its_names(wire: Any, name: str) -> None:
    wire((LastModified, {"models": [Product], "by_field": "editor"}))
    product, ann = ProductFactory(), UserFactory()
    upsert([Product(pk=product.pk, name="b", editor=ann)], ["name", name])
    stored = Product.objects.get()
    assert (stored.name, stored.editor) == ("b", ann)
    assert stored.updated_at is not None


def test_an_ordinary_insert_reads_nothing(wire: Any) -> None:
    receiver = wire((Told, {"models": [Tag]}))
    with CaptureQueriesContext(connection) as queries:
        Tag.objects.bulk_create([Tag(pk=1, name="a"), Tag(pk=2, name="b")])
    assert [q["sql"].split()[0] for q in queries if q["sql"].startswith("SELECT")] == []
    assert receiver.told == [None, None]


class Told(Old):
    def post_save(self, instance: Any, using: str, **kwargs: Any) -> None:
        self.told.append(get_old_row(instance, using))
