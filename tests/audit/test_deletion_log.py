"""Each deletion that is committed is told once, by whom and why, and without secrets."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction
from django.db.models.signals import post_delete, pre_delete
from django.test.utils import CaptureQueriesContext

from django_signal_kit import batch, context, muted
from django_signal_kit.checks import check_signal_kit
from django_signal_kit.receivers import DeletionLog
from tests.apps.rarities.models import OrderLine, Speechless
from tests.apps.relations.models import Chapter
from tests.apps.testapp.models import Line, Product, Restaurant, Tag, Token
from tests.factories import ProductFactory, RestaurantFactory, TagFactory, UserFactory

pytestmark = pytest.mark.django_db(transaction=True)

NAME = "django_signal_kit.deletions"
TAGS = {"models": ["testapp.Tag"]}
PRODUCTS = {"models": ["testapp.Product", "testapp.Line"]}


class Kept(logging.Handler):
    """Keeps what a formatter for JSON would write."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def lines(self) -> list[Any]:
        known = {*vars(logging.makeLogRecord({})), "message", "asctime"}
        extra = [
            {name: value for name, value in vars(record).items() if name not in known}
            for record in self.records
        ]
        return json.loads(json.dumps(extra))  # type: ignore[no-any-return]

    @property
    def messages(self) -> list[str]:
        return [record.getMessage() for record in self.records]


@pytest.fixture
def kept() -> Iterator[Kept]:
    handler = Kept()
    logger = logging.getLogger(NAME)
    logger.addHandler(handler)
    logger.setLevel("INFO")
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


class Fails(logging.Handler):
    """Fails at the second line, and does not ask logging to swallow that."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1
        if self.count == 2:
            raise OSError("the disk is full")


class Careful(DeletionLog):
    def should_log(self, instance: Any) -> bool:
        return not instance.name.startswith("draft")

    def get_object_text(self, instance: Any) -> str:
        return f"the tag {instance.name}"

    def get_actor(self) -> Any:
        return "a robot"

    def get_context(self) -> Any:
        return {"shop": "Madrid"}

    def get_values(self, instance: Any) -> Any:
        return {"length": len(instance.name)}


def test_a_row_that_is_deleted_twice_is_one_line(wire: Any, kept: Kept) -> None:
    def delete(instance: Any, **kwargs: Any) -> None:
        if instance.name == "b":
            Tag.objects.filter(name="a").delete()

    wire((DeletionLog, TAGS))
    TagFactory(name="a")
    TagFactory(name="b")
    pre_delete.connect(delete, sender=Tag)
    try:
        Tag.objects.all().delete()
    finally:
        pre_delete.disconnect(delete, sender=Tag)
    assert sorted(line["object"] for line in kept.lines) == ["a", "b"]


def test_a_line_is_about_the_row_that_was_deleted(wire: Any, kept: Kept) -> None:
    def make_again(instance: Any, **kwargs: Any) -> None:
        instance.pk, instance.name = None, "again"
        instance.save()

    wire()
    post_delete.connect(make_again, sender=Tag)
    try:
        wire((DeletionLog, {**TAGS, "fields": ["name"]}))
        tag = TagFactory(name="a")
        pk = tag.pk
        tag.delete()
    finally:
        post_delete.disconnect(make_again, sender=Tag)
    [line] = kept.lines
    assert (line["pk"], line["object"], line["fields"]) == (pk, "a", {"name": "a"})


def test_a_deleted_row_is_one_line_with_all_there_is_to_tell(wire: Any, kept: Kept) -> None:
    wire((DeletionLog, TAGS))
    ann, tag = UserFactory(username="ann"), TagFactory(name="hot")
    pk = tag.pk
    with context(actor=ann, reason="spring clean", ticket=7):
        tag.delete()
    assert kept.messages == [f"Deleted testapp.Tag {pk} (hot)"]
    [line] = kept.lines
    assert len(line.pop("unit")) == 36
    assert line == {
        "receiver": "DeletionLog",
        "request_id": None,
        "model": "testapp.Tag",
        "pk": pk,
        "object": "hot",
        "fields": {},
        "using": "default",
        "actor": "ann",
        "actor_pk": ann.pk,
        "context": {"reason": "spring clean", "ticket": 7},
    }
    assert (kept.records[0].levelname, kept.records[0].name) == ("INFO", NAME)


def test_where_nobody_is_known_nobody_is_told(wire: Any, kept: Kept) -> None:
    wire((DeletionLog, TAGS))
    TagFactory().delete()
    with context(actor="a nightly script"):
        TagFactory().delete()
    assert [(line["actor"], line["actor_pk"]) for line in kept.lines] == [
        (None, None),
        ("a nightly script", None),
    ]


def test_each_row_of_a_block_is_told_with_who_deleted_it(wire: Any, kept: Kept) -> None:
    wire((DeletionLog, TAGS))
    first, second = TagFactory(), TagFactory()
    with batch():
        with context(actor="ann"):
            first.delete()
        with context(actor="bob"):
            second.delete()
    assert [line["actor"] for line in kept.lines] == ["ann", "bob"]
    assert len({line["unit"] for line in kept.lines}) == 1


def test_what_is_rolled_back_is_never_told(wire: Any, kept: Kept) -> None:
    wire((DeletionLog, TAGS))
    tag, other = TagFactory(name="stays"), TagFactory(name="goes")
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        tag.delete()
        raise ZeroDivisionError
    with transaction.atomic():
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            Tag.objects.get(name="stays").delete()
            raise ZeroDivisionError
        other.delete()
        assert kept.lines == []
    assert [line["object"] for line in kept.lines] == ["goes"]
    assert Tag.objects.get().name == "stays"


def test_cascades_to_covered_models_are_told_and_others_are_not(wire: Any, kept: Kept) -> None:
    wire((DeletionLog, PRODUCTS))
    product = ProductFactory(name="Saw")
    Line.objects.bulk_create(Line(product=product, text=text) for text in "ab")
    product.delete()
    assert sorted(line["model"] for line in kept.lines) == [
        "testapp.Line",
        "testapp.Line",
        "testapp.Product",
    ]
    wire((DeletionLog, {"models": ["testapp.Product"]}))
    product = ProductFactory(name="Axe")
    Line.objects.create(product=product)
    product.delete()
    assert [line["object"] for line in kept.lines[3:]] == ["Axe"]


def test_a_multi_table_child_is_told_once(wire: Any, kept: Kept) -> None:
    wire((DeletionLog, {"models": ["testapp.Place"]}))
    RestaurantFactory(name="Fig").delete()
    Restaurant.objects.create(name="Elm")
    Restaurant.objects.all().delete()
    assert [(line["model"], line["object"]) for line in kept.lines] == [
        ("testapp.Restaurant", "Fig"),
        ("testapp.Restaurant", "Elm"),
    ]


def test_a_row_that_a_proxy_and_a_cascade_delete_is_told_once(
    make_model: Any, wire: Any, kept: Kept
) -> None:
    proxy = make_model("ChapterProxy", Chapter, meta={"proxy": True})
    wire((DeletionLog, {"models": [Chapter]}))
    parent = Chapter.objects.create(name="parent")
    child = Chapter.objects.create(name="child", parent=parent)
    keys = sorted([parent.pk, child.pk])
    proxy.objects.all().delete()
    assert sorted(line["pk"] for line in kept.lines) == keys


def test_keys_of_each_kind_are_json(wire: Any, kept: Kept) -> None:
    wire((DeletionLog, {"models": ["testapp.Token", "rarities.OrderLine"]}))
    token = Token.objects.create()
    key = str(token.pk)
    token.delete()
    OrderLine.objects.create(order=1, number=2, text="a").delete()
    assert [line["pk"] for line in kept.lines] == [key, [1, 2]]


# Fields and secrets


def test_chosen_fields_are_told_as_json(wire: Any, kept: Kept) -> None:
    wire((DeletionLog, {**PRODUCTS, "fields": ["name", "price", "data", "editor"]}))
    product = ProductFactory(name="Saw", price="12.50", data={"a": [1], "password": "x"})
    Product.objects.get(pk=product.pk).delete()
    assert kept.lines[0]["fields"] == {
        "name": "Saw",
        "price": "12.50",
        "data": {"a": [1], "password": "[redacted]"},
        "editor": None,
    }


def test_all_fields_but_some(wire: Any, kept: Kept) -> None:
    wire((DeletionLog, {**PRODUCTS, "fields": "__all__", "exclude_fields": ["data", "image"]}))
    ProductFactory(api_token="t0p").delete()
    told = kept.lines[0]["fields"]
    assert set(told) == {field.name for field in Product._meta.concrete_fields} - {"data", "image"}
    assert told["api_token"] == "[redacted]"


def test_secrets_are_in_no_value_text_or_context(wire: Any, kept: Kept) -> None:
    options = {**PRODUCTS, "fields": ["slug", "api_token"], "redact": ["slug"]}
    wire((DeletionLog, options), REDACT=["iban"])
    with context(token="t0p", iban="ES91", data={"secret": "t0p"}):
        ProductFactory(name="Saw t0p", slug="ES91", api_token="t0p").delete()
    text = str(kept.lines) + str(kept.messages)
    assert "t0p" not in text
    assert "ES91" not in text
    assert kept.lines[0]["object"] == "Saw [redacted]"


def test_secrets_can_be_told_apart_by_a_hash(wire: Any, kept: Kept) -> None:
    wire((DeletionLog, {**PRODUCTS, "fields": ["api_token"], "hash_secrets": True}))
    for token in ("a", "b", "a"):
        ProductFactory(api_token=token).delete()
    first, second, third = (line["fields"]["api_token"] for line in kept.lines)
    assert first == third != second
    assert first.startswith("[redacted ")


def test_a_field_that_was_not_loaded_costs_no_query_and_is_left_out(wire: Any, kept: Kept) -> None:
    wire((DeletionLog, {**PRODUCTS, "fields": ["name", "slug"]}))
    ProductFactory(name="Saw")
    product = Product.objects.only("name").get()
    with CaptureQueriesContext(connection) as queries:
        product.delete()
    assert not any("slug" in query["sql"] for query in queries)
    assert kept.lines[0]["fields"] == {"name": "Saw"}


# What goes wrong


def test_a_row_that_cannot_say_its_name_is_deleted_and_told(wire: Any, kept: Kept) -> None:
    wire((DeletionLog, {"models": ["rarities.Speechless"]}))
    row = Speechless.objects.create()
    key = row.pk
    row.delete()
    assert not Speechless.objects.exists()
    assert kept.lines[0]["object"] == f"Speechless {key}"


def test_a_handler_that_fails_loses_neither_the_deletion_nor_the_other_lines(
    wire: Any, kept: Kept, failures: Any
) -> None:
    receiver = wire((DeletionLog, TAGS))
    TagFactory.create_batch(3)
    handler = Fails()
    # The kit tells of the failure through a parent of this logger.
    logging.getLogger("django_signal_kit").addHandler(handler)
    try:
        Tag.objects.all().delete()
    finally:
        logging.getLogger("django_signal_kit").removeHandler(handler)
    assert not Tag.objects.exists()
    told = [(failure["receiver"], str(failure["exception"])) for failure in failures]
    assert told == [(receiver, "the disk is full")]
    assert len(kept.lines) == 3
    assert handler.count == 4


def test_where_every_handler_fails_the_deletion_stands_all_the_same(wire: Any) -> None:
    class Never(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("no disk at all")

    wire((DeletionLog, {**TAGS, "level": "ERROR"}))
    TagFactory()
    handler = Never()
    logging.getLogger("django_signal_kit").addHandler(handler)
    try:
        Tag.objects.all().delete()
    finally:
        logging.getLogger("django_signal_kit").removeHandler(handler)
    assert not Tag.objects.exists()


def test_a_name_cannot_forge_a_line(wire: Any, kept: Kept) -> None:
    wire((DeletionLog, TAGS))
    TagFactory(name="a\nDeleted testapp.Tag 1 (é)\x1b[2J").delete()
    [message] = kept.messages
    assert "\n" not in message
    assert message.endswith(r"(a\nDeleted testapp.Tag 1 (é)\x1b[2J)")
    assert kept.lines[0]["object"].startswith("a\nDeleted")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"level": "INFOO"}, ["'INFOO'", "Did you mean 'INFO'?", "E037"]),
        ({"level": 1.5}, ["'level'", "E007"]),
        ({"fields": ["nam"]}, ["'nam'", "Did you mean 'name'?", "E012"]),
        ({"fields": "name"}, ["'name'", "E007"]),
        ({"exclude_fields": ["nam"]}, ["'nam'", "E012"]),
        ({"per": "batch"}, ["'per'", "E007"]),
    ],
)
def test_what_cannot_work_is_told_with_a_remedy(
    wire: Any, options: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        wire((DeletionLog, {**TAGS, **options}))
    for word in words:
        assert word in str(caught.value)


# Costs, levels, and lines for many


def test_a_thousand_rows_cost_no_query_more_than_with_any_receiver(wire: Any, kept: Kept) -> None:
    def hear(**kwargs: Any) -> None:
        pass

    def delete() -> list[str]:
        Tag.objects.bulk_create(Tag(name=f"tag {number}") for number in range(1000))
        with CaptureQueriesContext(connection) as queries:
            Tag.objects.all().delete()
        return [query["sql"].split()[0] for query in queries]

    wire()
    post_delete.connect(hear, sender=Tag)
    try:
        bare = delete()
    finally:
        post_delete.disconnect(hear, sender=Tag)
    wire((DeletionLog, TAGS))
    assert delete() == bare
    assert len(kept.records) == 1000


def test_a_unit_is_one_line_a_model_if_so_chosen(wire: Any, kept: Kept) -> None:
    wire((DeletionLog, {**PRODUCTS, "per": "unit", "fields": ["name"]}))
    products = ProductFactory.create_batch(3)
    Line.objects.create(product=products[0])
    with context(actor="ann"):
        Product.objects.all().delete()
    ProductFactory(name="Saw").delete()
    assert sorted(kept.messages[:2]) == [
        "Deleted 1 of testapp.Line",
        "Deleted 3 of testapp.Product",
    ]
    [line] = [line for line in kept.lines[:2] if line["model"] == "testapp.Product"]
    assert (line["actor"], line["count"], line["using"]) == ("ann", 3, "default")
    assert {row["fields"]["name"] for row in line["rows"]} == {item.name for item in products}
    assert {row["pk"] for row in line["rows"]} == {item.pk for item in products}
    assert set(line["rows"][0]) == {"pk", "object", "fields"}
    assert kept.messages[2:] == ["Deleted 1 of testapp.Product"]


def test_two_units_of_one_transaction_are_two_lines(wire: Any, kept: Kept) -> None:
    wire((DeletionLog, {**TAGS, "per": "unit"}))
    TagFactory.create_batch(4)
    with transaction.atomic():
        for tag in Tag.objects.all()[:2]:
            tag.delete()
        Tag.objects.all().delete()
    assert [line["count"] for line in kept.lines] == [1, 1, 2]


def test_the_level_is_by_name_or_number(wire: Any, kept: Kept) -> None:
    for level, name in (("WARNING", "WARNING"), (logging.ERROR, "ERROR"), (25, "Level 25")):
        wire((DeletionLog, {**TAGS, "level": level}))
        TagFactory().delete()
        assert kept.records[-1].levelname == name


def test_below_the_level_of_the_logger_nothing_is_even_collected(wire: Any, kept: Kept) -> None:
    wire((Careful, {**TAGS, "level": "DEBUG"}))
    TagFactory().delete()
    assert kept.records == []


class Elsewhere(DeletionLog):
    """Asks no logger."""

    def post_delete(self, instance: Any, using: str, **kwargs: Any) -> None: ...


def test_a_logger_that_takes_no_such_line_is_told(wire: Any, kept: Kept) -> None:
    def get_warnings(**options: Any) -> list[tuple[Any, ...]]:
        wire((DeletionLog, {**TAGS, **options}))
        return [(message.id, message.msg, message.hint) for message in check_signal_kit()]

    assert get_warnings() == get_warnings(level="ERROR") == []
    assert get_warnings(level="DEBUG") == [
        (
            "signal_kit.W011",
            "DeletionLog writes no line: the logger 'django_signal_kit.deletions' is not enabled "
            "for DEBUG.",
            "Give it a handler and the level 'DEBUG' in LOGGING.",
        )
    ]
    [(_, message, hint)] = get_warnings(logger="shop.deletions", level=15)
    assert message == (
        "DeletionLog writes no line: the logger 'shop.deletions' is not enabled for 15."
    )
    assert hint == "Give it a handler and the level 15 in LOGGING."
    wire((Elsewhere, {**TAGS, "level": "DEBUG"}))
    assert check_signal_kit() == []


def test_another_logger(wire: Any, kept: Kept) -> None:
    wire((DeletionLog, {**TAGS, "logger": "shop.deletions", "level": "WARNING"}))
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logging.getLogger("shop.deletions").addHandler(handler)
    try:
        TagFactory(name="hot").delete()
    finally:
        logging.getLogger("shop.deletions").removeHandler(handler)
    assert stream.getvalue().startswith("Deleted testapp.Tag ")
    assert kept.records == []


def test_hooks_say_what_is_told(wire: Any, kept: Kept) -> None:
    wire((Careful, TAGS))
    TagFactory(name="draft").delete()
    with context(actor="ann", reason="none"):
        TagFactory(name="hot").delete()
    [line] = kept.lines
    assert line["object"] == "the tag hot"
    assert (line["actor"], line["context"]) == ("a robot", {"shop": "Madrid"})
    assert line["fields"] == {"length": 3}


def test_what_is_muted_is_not_told(wire: Any, kept: Kept) -> None:
    wire((DeletionLog, TAGS))
    with muted("DeletionLog"):
        TagFactory().delete()
    assert kept.records == []


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_another_database_is_named(wire: Any, kept: Kept) -> None:
    wire((DeletionLog, TAGS))
    Tag.objects.using("other").create(name="hot").delete()
    with transaction.atomic():
        Tag.objects.using("other").create(name="cold").delete()
        # The transaction of another database does not hold it back.
        assert [line["using"] for line in kept.lines] == ["other", "other"]
