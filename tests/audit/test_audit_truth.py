"""What logs get wrong, beyond what ``test_audit_log.py`` tells: rarer keys, relations, writers."""

from __future__ import annotations

import asyncio
import threading
import time
from functools import partial
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ValidationError
from django.db import DatabaseError, IntegrityError, connection, models, transaction
from django.db.models import F, IntegerField, Value
from django.db.models.functions import Concat
from django.utils import timezone

from django_signal_kit import batch, context
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.receivers import AuditLog
from tests.apps.rarities.models import Label, OrderLine, Reading
from tests.apps.relations.models import Chapter
from tests.apps.testapp.models import (
    Note,
    Place,
    Product,
    ProductProxy,
    Restaurant,
    Tag,
    Token,
)
from tests.conftest import run_async
from tests.factories import (
    CategoryFactory,
    ProductFactory,
    RestaurantFactory,
    TagFactory,
    UserFactory,
)
from tests.relations.told import tell
from tests.threads import in_threads

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def audit(wire: Any) -> Any:
    ContentType.objects.clear_cache()
    return wire((AuditLog, {"models": ["testapp.*", "rarities.*"]}))


# What fails


def test_a_save_that_the_database_refuses_leaves_no_entry() -> None:
    reading = Reading.objects.create(text="a")
    tell()
    reading.text, reading.size = "b", None
    with pytest.raises(IntegrityError):
        reading.save()
    assert tell() == []
    reading.size = "l"
    reading.save()
    assert tell() == [("update", {"text": ["a", "b"], "size": ["s", "l"]})]


def test_a_save_of_a_value_that_is_none_leaves_no_entry() -> None:
    reading = Reading.objects.create()
    tell()
    reading.amount = "a dozen"
    with pytest.raises(ValidationError):
        reading.save()
    assert tell() == []


def test_bulk_writes_that_fail_leave_no_entry() -> None:
    token = Token.objects.create(name="a")
    tell()
    with pytest.raises(IntegrityError):
        Token.objects.bulk_create([Token(name="b"), Token(pk=token.pk, name="c")])
    with pytest.raises(IntegrityError):
        Token.objects.update(name=None)
    with pytest.raises(IntegrityError):
        token.name = None
        Token.objects.bulk_update([token], ["name"])
    assert tell() == []
    assert [token.name for token in Token.objects.all()] == ["a"]


def test_a_save_of_a_row_that_is_gone_leaves_no_entry() -> None:
    tag = TagFactory(name="a")
    Tag.objects.filter(pk=tag.pk).delete()
    tell()
    tag.name = "b"
    with pytest.raises(DatabaseError):
        tag.save(update_fields=["name"])
    with pytest.raises(DatabaseError):
        tag.save(force_update=True)
    assert tell() == []


def test_a_save_that_brings_a_row_back_is_a_create() -> None:
    tag = TagFactory(name="a")
    Tag.objects.filter(pk=tag.pk).delete()
    tell()
    tag.save()
    assert tell() == [("create", {"id": [None, tag.pk], "name": [None, "a"]})]


def test_a_bulk_update_of_a_row_that_is_gone_leaves_no_entry() -> None:
    tag, gone = TagFactory(name="a"), TagFactory(name="b")
    Tag.objects.filter(pk=gone.pk).delete()
    tell()
    tag.name = gone.name = "c"
    assert Tag.objects.bulk_update([tag, gone], ["name"]) == 1
    assert tell() == [("update", {"name": ["a", "c"]})]


def test_a_deletion_of_a_row_that_is_gone_leaves_no_entry() -> None:
    tag = TagFactory()
    same = Tag.objects.get()
    tag.delete()
    tell()
    same.delete()
    assert tell() == []


def test_of_a_block_only_what_was_kept_is_told() -> None:
    product, tags = ProductFactory(name="a"), TagFactory.create_batch(2)
    tell()
    with batch():
        product.tags.add(tags[0])
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            product.tags.add(tags[1])
            Product.objects.update(name="b")
            TagFactory()
            tags[1].delete()
            raise ZeroDivisionError
        Product.objects.update(name="c")
    assert tell() == [
        ("m2m_add", {"tags": {"added": [tags[0].pk]}}),
        ("update", {"name": ["a", "c"]}),
    ]


# Values


def test_nothing_and_the_word_none_and_an_empty_text_are_three_things() -> None:
    reading = Reading.objects.create(data=None)
    tell()
    for value in ("None", "", None, "null", [], None):
        reading.data = value
        reading.save()
    assert [changes["data"] for _, changes in tell()] == [
        [None, "None"],
        ["None", ""],
        ["", None],
        [None, "null"],
        ["null", []],
        [[], None],
    ]


def test_an_address_without_a_text_is_none(make_model: Any, wire: Any) -> None:
    address = models.GenericIPAddressField(null=True, blank=True)
    model = make_model("Visitor", models.Model, address=address)
    wire((AuditLog, {"models": [model._meta.label]}))
    row = model.objects.create(address="")
    # As a form does that nobody has filled in.
    row.save()
    model.objects.update(address="::1")
    model.objects.update(address="")
    model.objects.bulk_create([model(address="")])
    told = AuditEntry.objects.order_by("pk").values_list("action", "changes__address")
    assert list(told) == [
        ("create", None),
        ("update", [None, "::1"]),
        ("update", ["::1", None]),
        ("create", None),
    ]


def test_a_number_and_its_text_are_two_things_in_json_and_one_in_a_number() -> None:
    reading = Reading.objects.create(data={"n": 1}, whole=1, number=1.0)
    tell()
    reading.data, reading.whole, reading.number = {"n": "1"}, "1", "1"
    reading.save()
    assert tell() == [("update", {"data": [{"n": 1}, {"n": "1"}]})]


def test_a_choice_is_told_as_it_is_stored() -> None:
    reading = Reading.objects.create(size=Reading.Size.SMALL)
    [(_, created)] = tell()
    assert created["size"] == [None, "s"]
    reading.size = Reading.Size.LARGE
    reading.save()
    assert tell() == [("update", {"size": ["s", "l"]})]
    Reading.objects.update(size=Reading.Size.SMALL)
    assert tell() == [("update", {"size": ["l", "s"]})]


def test_a_foreign_key_is_told_by_its_key_and_costs_no_look_at_the_other_row() -> None:
    old, new = CategoryFactory(), CategoryFactory()
    product = ProductFactory(category=old)
    tell()
    product = Product.objects.get()
    product.category_id = new.pk
    product.save(update_fields=["category_id"])
    assert not Product.category.is_cached(product)
    assert tell() == [("update", {"category": [old.pk, new.pk]})]
    Product.objects.update(category=old)
    assert tell() == [("update", {"category": [new.pk, old.pk]})]


def test_what_the_database_computes_is_told_as_it_came_out() -> None:
    note = Note.objects.create(text="abc")
    [(_, created)] = tell()
    assert created["length"] == [None, 3]
    note.text = Concat(Value("x"), F("text"))
    note.save()
    assert tell() == [("update", {"text": ["abc", "xabc"], "length": [3, 4]})]


@pytest.mark.parametrize("old_values", ["database", "snapshot"])
@pytest.mark.parametrize(
    "write",
    [
        lambda note: note.save(update_fields=["text"]),
        lambda note: Note.objects.filter(pk=note.pk).update(text=note.text),
        lambda note: Note.objects.bulk_update([note], ["text"]),
        lambda note: Note.objects.update_or_create(pk=note.pk, defaults={"text": note.text}),
    ],
    ids=["save", "update", "bulk_update", "update_or_create"],
)
def test_what_the_database_computes_of_a_field_is_told_along_with_it(
    wire: Any, old_values: str, write: Any
) -> None:
    wire((AuditLog, {"models": ["testapp.Note"], "old_values": old_values}))
    note = Note.objects.create(text="one")
    moment = timezone.now()
    time.sleep(0.002)
    note.text = "three"
    write(note)
    assert AuditEntry.objects.latest("pk").changes == {"text": ["one", "three"], "length": [3, 5]}
    assert AuditEntry.objects.as_of(note, moment).length == 3


# Keys


def test_a_key_of_two_columns() -> None:
    line = OrderLine.objects.create(order=1, number=2, text="a")
    assert tell() == [("create", {"order": [None, 1], "number": [None, 2], "text": [None, "a"]})]
    line.text = "b"
    line.save()
    OrderLine.objects.filter(order=1).update(text=Concat(F("text"), Value("c")))
    entries = AuditEntry.objects.order_by("id")
    assert [entry.object_pk for entry in entries] == ["[1, 2]"] * 2
    assert tell() == [("update", {"text": ["a", "b"]}), ("update", {"text": ["b", "bc"]})]
    OrderLine.objects.bulk_create([OrderLine(order=1, number=3), OrderLine(order=2, number=2)])
    lines = list(OrderLine.objects.order_by("order", "number"))
    tell()
    for each in lines:
        each.text = "z"
    OrderLine.objects.bulk_update(lines, ["text"])
    assert [changes["text"] for _, changes in tell()] == [["bc", "z"], ["", "z"], ["", "z"]]
    lines[0].delete()
    OrderLine.objects.all().delete()
    keys = AuditEntry.objects.order_by("object_pk").values_list("object_pk", flat=True)
    assert list(keys) == ["[1, 2]", "[1, 3]", "[2, 2]"]
    assert [(action, changes["text"]) for action, changes in tell()] == [
        ("delete", ["z", None])
    ] * 3


def test_a_uuid_is_told_as_its_text_by_every_write() -> None:
    tokens = Token.objects.bulk_create([Token(name="a"), Token(name="b")])
    tokens[0].name = "c"
    Token.objects.bulk_update(tokens, ["name"])
    Token.objects.filter(pk=tokens[1].pk).update(name="d")
    Token.objects.all().delete()
    for token in tokens:
        found = AuditEntry.objects.filter(object_pk=str(token.pk)).order_by("id")
        assert [entry.action for entry in found] == ["create", "update", "delete"]


def test_rows_with_a_key_of_two_columns_are_found_in_any_way() -> None:
    OrderLine.objects.bulk_create(
        [OrderLine(order=order, number=number) for order in (1, 2) for number in (1, 2)]
    )
    tell()
    with transaction.atomic():
        OrderLine.objects.filter(pk__in=[(1, 1), (2, 2)]).update(text="a")
        OrderLine.objects.filter(pk=(1, 2)).update(text="b")
        OrderLine.objects.filter(order=2).order_by("number").distinct().update(text="c")
    assert [changes["text"] for _, changes in tell()] == [
        ["", "a"],
        ["", "a"],
        ["", "b"],
        ["", "c"],
        ["a", "c"],
    ]


# Relations


def test_rows_of_a_generic_relation_are_told_like_others() -> None:
    reading = Reading.objects.create()
    kind = ContentType.objects.get_for_model(Reading).pk
    tell()
    label = reading.labels.create(text="a")
    [(action, changes)] = tell()
    assert (action, changes["object_id"], changes["content_type"]) == (
        "create",
        [None, reading.pk],
        [None, kind],
    )
    other = Reading.objects.create()
    tell()
    other.labels.add(label)
    assert tell() == [("update", {"object_id": [reading.pk, other.pk]})]
    label.target = reading
    label.save()
    assert tell() == [("update", {"object_id": [other.pk, reading.pk]})]
    reading.labels.clear()
    [(action, changes)] = tell()
    assert (action, changes["text"]) == ("delete", ["a", None])


def test_a_deletion_takes_the_rows_of_a_generic_relation_along() -> None:
    reading = Reading.objects.create()
    for text in "ab":
        reading.labels.create(text=text)
    tell()
    reading.delete()
    assert [entry.action for entry in AuditEntry.objects.all()] == ["delete"] * 3
    assert len(set(AuditEntry.objects.values_list("unit", flat=True))) == 1
    assert sorted(changes["text"][0] for _, changes in tell(Label)) == ["a", "b"]


def test_the_other_side_of_a_foreign_key_writes_rows_like_any_other() -> None:
    category, products = CategoryFactory(), ProductFactory.create_batch(2)
    tell()
    category.product_set.add(*products)
    assert tell() == [("update", {"category": [None, category.pk]})] * 2
    category.product_set.remove(products[0])
    category.product_set.clear()
    assert tell() == [("update", {"category": [category.pk, None]})] * 2


def test_an_update_of_parent_and_child_columns_is_one_entry_a_row() -> None:
    RestaurantFactory(name="a", stars=1)
    RestaurantFactory(name="b", stars=2)
    tell()
    Restaurant.objects.update(name="c", stars=2)
    assert tell() == [
        ("update", {"name": ["a", "c"], "stars": [1, 2]}),
        ("update", {"name": ["b", "c"]}),
    ]
    Restaurant.objects.update(stars=F("stars") + 1)
    assert tell() == [("update", {"stars": [2, 3]})] * 2
    restaurants = list(Restaurant.objects.order_by("pk"))
    restaurants[0].name = "d"
    restaurants[1].stars = 9
    Restaurant.objects.bulk_update(restaurants, ["name", "stars"])
    assert tell() == [("update", {"name": ["c", "d"]}), ("update", {"stars": [3, 9]})]


def test_a_parent_that_is_deleted_with_its_child_is_one_entry() -> None:
    restaurant = RestaurantFactory(name="a", stars=3)
    tell()
    Place.objects.get(pk=restaurant.pk).delete()
    [(action, changes)] = tell()
    assert (action, changes["name"], changes["stars"]) == ("delete", ["a", None], [3, None])


def test_a_row_that_a_proxy_and_a_cascade_delete_is_one_entry(make_model: Any, wire: Any) -> None:
    proxy = make_model("ChapterProxy", Chapter, meta={"proxy": True})
    wire((AuditLog, {"models": [Chapter]}))
    with batch():
        for _ in range(2):
            parent = Chapter.objects.create(pk=1, name="parent")
            Chapter.objects.create(pk=2, name="child", parent=parent)
            # Of the child there are two instances then: of the proxy, and of its parent's cascade.
            proxy.objects.all().delete()
    told = AuditEntry.objects.filter(action="delete").order_by("id")
    assert sorted(told.values_list("object_pk", flat=True)) == ["1", "1", "2", "2"]


def test_a_child_of_a_child_is_deleted_in_one_entry(make_model: Any, wire: Any) -> None:
    inn = make_model("Inn", Restaurant, beds=IntegerField(default=0))
    wire((AuditLog, {"models": [Place]}))
    inn.objects.create(name="a", beds=2).delete()
    inn.objects.create(name="b", beds=3)
    Place.objects.all().delete()
    told = [(changes["name"], changes["beds"]) for action, changes in tell() if action == "delete"]
    assert told == [(["a", None], [2, None]), (["b", None], [3, None])]


def test_every_write_through_a_proxy_is_told_of_the_row() -> None:
    [proxy] = ProductProxy.objects.bulk_create([ProductProxy(name="a", slug="a")])
    if proxy.pk is None:
        proxy = ProductProxy.objects.get()
    tag = TagFactory()
    proxy.tags.add(tag)
    ProductProxy.objects.update(name="b")
    tag.products.clear()
    ProductProxy.objects.all().delete()
    assert [action for action, _ in tell(Product)] == [
        "create",
        "m2m_add",
        "update",
        "m2m_clear",
        "delete",
    ]


def save_name(model: Any, key: Any, name: str) -> None:
    own = model.objects.get(pk=key)
    own.name = name
    own.save()


def update_name(model: Any, key: Any, name: str) -> None:
    model.objects.filter(pk=key).update(name=name)


@pytest.mark.parametrize("act", [save_name, update_name])
def test_parent_and_child_written_at_once_tell_an_unbroken_story(act: Any) -> None:
    restaurant = RestaurantFactory(name="0")
    tell()

    def write(model: Any, prefix: str) -> None:
        for number in range(15):
            act(model, restaurant.pk, f"{prefix}{number}")

    in_threads(
        partial(write, Place, "a"),
        partial(write, Restaurant, "b"),
        partial(write, Restaurant, "c"),
    )
    story = [changes["name"] for _, changes in tell()]
    assert [old for old, _ in story] == ["0", *[new for _, new in story[:-1]]]


@pytest.mark.parametrize("act", ["clear", "remove"])
def test_a_link_that_two_remove_at_once_is_removed_once(act: str) -> None:
    product, tag = ProductFactory(), TagFactory()
    product.tags.add(tag)
    tell()
    has_removed, errors = threading.Event(), []

    def remove() -> None:
        getattr(Product.objects.get().tags, act)(*([tag] if act == "remove" else []))

    def wait_and_remove() -> None:
        try:
            has_removed.wait(30)
            remove()
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=wait_and_remove)
    thread.start()
    with transaction.atomic():
        remove()
        has_removed.set()
        # Long enough for the other one to come to where it has to wait.
        time.sleep(0.3)
    thread.join()
    assert errors == []
    assert tell() == [(f"m2m_{act}", {"tags": {"removed": [tag.pk]}})]


# Writes that are several in one


def test_get_or_create_and_update_or_create_tell_what_they_did() -> None:
    for name in "ab":
        Tag.objects.get_or_create(pk=7, defaults={"name": name})
    assert tell() == [("create", {"id": [None, 7], "name": [None, "a"]})]
    for name in "bb":
        Tag.objects.update_or_create(pk=7, defaults={"name": name})
    assert tell() == [("update", {"name": ["a", "b"]})]


def test_a_row_that_is_written_twice_is_told_twice_and_without_a_gap() -> None:
    tag = TagFactory(name="a")
    tell()
    with batch():
        for name in "bcb":
            tag.name = name
            tag.save()
        Tag.objects.update(name="z")
    assert [changes["name"] for _, changes in tell()] == [
        ["a", "b"],
        ["b", "c"],
        ["c", "b"],
        ["b", "z"],
    ]


def test_unchanged_bulk_writes_leave_no_entry() -> None:
    products = ProductFactory.create_batch(3, stock=5)
    tell()
    assert Product.objects.update(stock=5) == 3
    assert Product.objects.bulk_update(products, ["stock", "name"]) == 3
    assert tell() == []


# Who


def test_an_inner_block_keeps_the_actor_of_the_outer_one() -> None:
    ann = UserFactory(username="ann")
    with context(actor=ann, reason="outer"):
        with context(reason="inner"), batch():
            TagFactory()
        TagFactory()
    entries = AuditEntry.objects.order_by("id")
    assert [(entry.actor_text, entry.context["reason"]) for entry in entries] == [
        ("ann", "inner"),
        ("ann", "outer"),
    ]


def test_async_tasks_that_run_at_once_do_not_share_an_actor() -> None:
    users = {name: UserFactory(username=name) for name in ("ann", "bob")}

    async def work(name: str, barrier: asyncio.Barrier) -> None:
        with context(actor=users[name], reason=name):
            for number in range(5):
                # Both are inside their blocks before either writes.
                await barrier.wait()
                tag = await Tag.objects.acreate(name=name)
                await barrier.wait()
                tag.name = f"{name}{number}"
                await tag.asave()

    async def main() -> None:
        barrier = asyncio.Barrier(2)
        await asyncio.gather(*(work(name, barrier) for name in users))

    run_async(main())
    entries = list(AuditEntry.objects.all())
    assert len(entries) == 20
    for entry in entries:
        assert entry.actor_text == entry.context["reason"]
        assert entry.object_text.startswith(entry.actor_text)


def test_an_actor_follows_into_a_thread_that_async_code_starts() -> None:
    ann = UserFactory(username="ann")

    async def main() -> None:
        with context(actor=ann):
            await sync_to_async(TagFactory)()
        await sync_to_async(TagFactory)()

    run_async(main())
    actors = AuditEntry.objects.order_by("id").values_list("actor_text", flat=True)
    assert list(actors) == ["ann", ""]
