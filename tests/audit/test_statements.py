"""What other receivers do in between is told as it happened: each statement with what it wrote.

Some are connected before the kit, so that they are called before it, and some after it.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import IntegrityError, connection, transaction
from django.db.models import F, Value
from django.db.models.deletion import Collector
from django.db.models.functions import Concat
from django.db.models.signals import (
    m2m_changed,
    post_delete,
    post_save,
    pre_delete,
    pre_save,
)
from django.test.utils import CaptureQueriesContext

from django_signal_kit import ModelReceiver, batch, muted, signals
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.receivers import AuditLog
from tests.apps.rarities.models import OrderLine
from tests.apps.testapp.models import (
    Category,
    Line,
    Note,
    Place,
    Product,
    ProductProxy,
    Restaurant,
    Tag,
    Token,
)
from tests.audit.replaying import replay
from tests.conftest import run_async
from tests.relations.told import forget, tell

pytestmark = pytest.mark.django_db(transaction=True)

Hear = Callable[..., None]
MODELS = ["testapp.*", "rarities.*"]


@pytest.fixture
def others() -> Iterator[Hear]:
    """``others(signal, function, sender)`` connects a receiver of somebody else's for the test,
    which does not receive what it does itself."""
    connected: list[Any] = []

    def hear(signal: Any, function: Any, sender: Any) -> None:
        is_busy = False

        def receive(**kwargs: Any) -> None:
            nonlocal is_busy
            if not is_busy:
                is_busy = True
                try:
                    function(**kwargs)
                finally:
                    is_busy = False

        signal.connect(receive, sender=sender, weak=False)
        connected.append((signal, receive, sender))

    yield hear
    for signal, receive, sender in connected:
        signal.disconnect(receive, sender=sender)


@pytest.fixture(params=["before", "after"])
def hear(request: Any, others: Hear, wire: Any) -> Callable[..., Any]:
    """``hear(signal, function, sender)``: somebody else's receiver, called before the log's or
    after it. Then the log hears."""

    def hear(signal: Any, function: Any, *senders: Any, **options: Any) -> Any:
        ContentType.objects.clear_cache()
        wire()
        if request.param == "after":
            wire((AuditLog, {"models": MODELS, **options}))
        for sender in senders:
            others(signal, function, sender)
        if request.param == "before":
            wire((AuditLog, {"models": MODELS, **options}))

    return hear


@pytest.fixture(params=["database", "snapshot"])
def old_values(request: Any) -> Any:
    return request.param


# Saves


def test_a_value_changed_in_memory_after_the_save_is_not_told(hear: Any, old_values: str) -> None:
    def shout(instance: Any, **kwargs: Any) -> None:
        instance.name = instance.name.upper()

    hear(post_save, shout, Product, old_values=old_values)
    product = Product.objects.create(name="tea")
    replay(Product)
    product.name = "coffee"
    product.save(update_fields=["name"])
    Product.objects.filter(pk=product.pk).update(name="coffee", stock=2)
    replay(Product)
    assert [entry.object_text for entry in AuditEntry.objects.order_by("pk")][1] == "coffee"


def test_a_value_in_a_document_changed_in_place_after_the_save_is_not_told(hear: Any) -> None:
    def add(instance: Any, **kwargs: Any) -> None:
        instance.data["parts"].append(1)

    hear(post_save, add, Product)
    product = Product.objects.create(name="a", data={"parts": []})
    replay(Product)
    product.save()
    replay(Product)


@pytest.mark.parametrize("names", [None, ["slug"]])
def test_a_save_in_the_post_save_of_another_comes_after_it(
    hear: Any, old_values: str, names: Any
) -> None:
    def save_again(instance: Any, created: bool, **kwargs: Any) -> None:
        instance.slug = f"{instance.slug}-{instance.name}"
        instance.save(update_fields=names)

    hear(post_save, save_again, Product, old_values=old_values)
    product = Product.objects.create(name="a")
    product.name = "b"
    product.save()
    product = Product.objects.get()
    product.name = "c"
    product.save(update_fields=["name"])
    replay(Product)
    told = [(action, changes.get("slug")) for action, changes in tell()]
    assert told == [
        ("create", [None, ""]),
        ("update", ["", "-a"]),
        *([("update", None), ("update", ["-a", "-a-b"])]),
        *([("update", None), ("update", ["-a-b", "-a-b-c"])]),
    ]


def test_a_copy_made_in_post_save_is_another_row(hear: Any, old_values: str) -> None:
    def copy_it(instance: Any, created: bool, **kwargs: Any) -> None:
        instance.pk, instance._state.adding = None, True
        instance.name = f"copy of {instance.name}"
        instance.save()

    hear(post_save, copy_it, Tag, old_values=old_values)
    Tag.objects.create(name="a")
    replay(Tag)
    first, second = AuditEntry.objects.order_by("pk")
    assert (first.object_text, second.object_text) == ("a", "copy of a")


def test_writes_of_other_rows_come_in_the_order_of_the_statements(hear: Any) -> None:
    def count(instance: Any, **kwargs: Any) -> None:
        Category.objects.filter(name="all").update(name="one more")
        Category.objects.create(name="new")
        Category.objects.filter(name="new").delete()

    hear(post_save, count, Product)
    Category.objects.create(name="all")
    forget()
    with transaction.atomic(), batch():
        Product.objects.create(name="a")
    told = list(AuditEntry.objects.order_by("pk").values_list("action", "object_text"))
    assert told == [
        ("create", "a"),
        ("update", "one more"),
        ("create", "new"),
        ("delete", "new"),
    ]
    times = list(AuditEntry.objects.order_by("pk").values_list("at", flat=True))
    assert times == sorted(times)


def by_update(instance: Any, **kwargs: Any) -> None:
    Product.objects.filter(pk=instance.pk).update(slug="busy")


def by_sql(instance: Any, **kwargs: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE testapp_product SET slug = 'busy' WHERE id = %s", [instance.pk or 0]
        )


def by_bulk_update(instance: Any, **kwargs: Any) -> None:
    Product.objects.bulk_update([Product(pk=instance.pk or 0, slug="busy")], ["slug"])


def by_save(instance: Any, **kwargs: Any) -> None:
    for product in Product.objects.filter(pk=instance.pk):
        product.slug = "busy"
        product.save()


def by_save_of_itself(instance: Any, **kwargs: Any) -> None:
    slug, instance.slug = instance.slug, "busy"
    instance.save()
    instance.slug = slug


def by_delete(instance: Any, **kwargs: Any) -> None:
    Product.objects.filter(pk=instance.pk).delete()


@pytest.mark.parametrize(
    "write", [by_update, by_bulk_update, by_save, by_save_of_itself, by_delete]
)
def test_a_row_written_in_pre_save_is_told_as_the_statement_finds_it(
    hear: Any, write: Any
) -> None:
    hear(pre_save, write, Product)
    product = Product(name="old", slug="open")
    product.save()
    with transaction.atomic():
        product.name = "new"
        product.save()
    replay(Product)


def test_a_row_written_by_sql_in_pre_save_is_told_as_the_statement_finds_it(hear: Any) -> None:
    hear(pre_save, by_sql, Product)
    product = Product(name="old", slug="open")
    product.save()
    forget()
    product.save()
    assert tell() == [("update", {"slug": ["busy", "open"]})]


def test_an_expression_is_told_as_the_statement_left_it(hear: Any) -> None:
    def count_on(instance: Any, **kwargs: Any) -> None:
        Product.objects.filter(pk=instance.pk).update(stock=F("stock") + 100)

    hear(post_save, count_on, Product)
    product = Product.objects.create(name="a", stock=1)
    product.stock = F("stock") + 1
    product.save(update_fields=["stock"])
    replay(Product)
    assert Product.objects.get().stock == 202


def test_what_the_database_makes_is_told_as_the_statement_left_it(hear: Any) -> None:
    def lengthen(instance: Any, **kwargs: Any) -> None:
        Note.objects.filter(pk=instance.pk).update(text=Concat(F("text"), Value("!")))

    hear(post_save, lengthen, Note)
    note = Note.objects.create(text="a")
    note.text = "bc"
    note.save()
    told = [(changes["text"], changes.get("length")) for _, changes in tell()]
    assert told == [
        ([None, "a"], [None, 1]),
        (["a", "a!"], [1, 2]),
        (["a!", "bc"], None),
        (["bc", "bc!"], [2, 3]),
    ]


@pytest.mark.parametrize("child", [False, True])
def test_a_row_in_two_tables(hear: Any, old_values: str, child: bool) -> None:
    def rename(instance: Any, **kwargs: Any) -> None:
        Place.objects.filter(pk=instance.pk).update(name="busy")
        instance.stars += 1
        instance.save(update_fields=["stars"] if child else None)

    hear(post_save, rename, Restaurant, old_values=old_values)
    restaurant = Restaurant.objects.create(name="a")
    restaurant.name = "b"
    restaurant.save()
    told = tell(Restaurant)
    assert [changes.get("stars") for _, changes in told] == [
        [None, 0],
        [0, 1],
        None if child else told[2][1].get("stars"),
        [1, 2],
    ]
    assert told[0][1]["name"] == [None, "a"]


def test_a_row_in_two_tables_written_in_pre_save(hear: Any) -> None:
    def write(instance: Any, **kwargs: Any) -> None:
        Place.objects.filter(pk=instance.pk).update(name="busy")

    hear(pre_save, write, Restaurant)
    restaurant = Restaurant.objects.create(name="a")
    forget()
    restaurant.stars = 2
    restaurant.save()
    assert tell(Restaurant) == [("update", {"name": ["busy", "a"], "stars": [0, 2]})]


def test_a_proxy(hear: Any, old_values: str) -> None:
    def save_again(instance: Any, **kwargs: Any) -> None:
        instance.slug = f"{instance.slug}1"
        Product.objects.get(pk=instance.pk).delete()
        instance.save()

    hear(post_save, save_again, ProductProxy, old_values=old_values)
    product = ProductProxy.objects.create(name="a")
    told = AuditEntry.objects.order_by("pk").values_list("action", "object_pk", "changes__slug")
    assert list(told) == [
        ("create", str(product.pk), [None, ""]),
        ("delete", str(product.pk), ["", None]),
        ("create", str(product.pk), [None, "1"]),
    ]


def test_a_key_of_two_columns(hear: Any) -> None:
    def move(instance: Any, **kwargs: Any) -> None:
        instance.text, instance.number = "moved", instance.number + 100
        instance.save()

    hear(post_save, move, OrderLine)
    OrderLine.objects.create(order=1, number=1, text="a")
    told = list(AuditEntry.objects.order_by("pk").values_list("action", "object_pk"))
    assert told == [("create", "[1, 1]"), ("create", "[1, 101]")]
    assert [changes["text"] for _, changes in tell()] == [[None, "a"], [None, "moved"]]


def test_a_key_that_is_there_before_the_row(hear: Any, old_values: str) -> None:
    def rename(instance: Any, **kwargs: Any) -> None:
        instance.name += "!"
        instance.save()

    hear(post_save, rename, Token, old_values=old_values)
    token = Token.objects.create(name="a")
    Token.objects.create(name="b")
    token.name = "c"
    token.save(force_update=True)
    replay(Token)


def test_a_save_that_fails_leaves_nothing_to_the_next(hear: Any, old_values: str) -> None:
    def refuse(instance: Any, **kwargs: Any) -> None:
        if instance.name == "refused":
            instance.name = "changed"
            raise ZeroDivisionError

    hear(post_save, refuse, Product, old_values=old_values)
    product = Product.objects.create(name="a")
    product.name = "refused"
    with pytest.raises(ZeroDivisionError):
        product.save()
    product.name, product.stock = "b", None
    with pytest.raises(IntegrityError):
        product.save()
    product.stock = 1
    product.save()
    replay(Product)


def test_a_savepoint_that_is_rolled_back_in_between(hear: Any, old_values: str) -> None:
    def try_it(instance: Any, **kwargs: Any) -> None:
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            instance.name = "tried"
            instance.save()
            Tag.objects.create(name="tried")
            raise ZeroDivisionError
        instance.slug = "kept"
        instance.save(update_fields=["slug"])

    hear(post_save, try_it, Product, old_values=old_values)
    with transaction.atomic():
        product = Product.objects.create(name="a")
    Product.objects.filter(pk=product.pk).update(stock=1)
    replay(Product, Tag)


def test_a_signal_sent_by_hand_in_between_tells_nothing_twice(hear: Any) -> None:
    def send(instance: Any, sender: Any, created: bool, using: str, **kwargs: Any) -> None:
        post_save.send(sender, instance=instance, created=created, using=using)

    hear(post_save, send, Tag)
    tag = Tag.objects.create(name="a")
    tag.name = "b"
    tag.save()
    replay(Tag)


def test_an_instance_bears_no_trace(wire: Any) -> None:
    def trace(tag: Tag) -> Any:
        return sorted(tag.__dict__), sorted(tag._state.__dict__)

    wire()
    bare = trace(Tag.objects.create(name="a"))
    wire((AuditLog, {"models": MODELS}))
    tag = Tag.objects.create(name="a")
    tag.save()
    assert trace(tag) == bare
    assert pickle.loads(pickle.dumps(tag)) == copy.copy(tag) == tag


# Deletions


def test_rows_that_a_pre_delete_receiver_deletes_are_told_once(hear: Any, old_values: str) -> None:
    def first_the_lines(instance: Any, **kwargs: Any) -> None:
        instance.lines.all().delete()

    hear(pre_delete, first_the_lines, Product, old_values=old_values)
    product = Product.objects.create(name="a")
    Line.objects.bulk_create(Line(product=product, text=text) for text in "ab")
    product.delete()
    replay(Product, Line)


def test_a_row_that_its_own_pre_delete_deletes_is_told_once(hear: Any) -> None:
    def delete(instance: Any, **kwargs: Any) -> None:
        Tag.objects.filter(pk=instance.pk).delete()

    hear(pre_delete, delete, Tag)
    Tag.objects.create(name="a").delete()
    Tag.objects.create(name="b")
    Tag.objects.all().delete()
    replay(Tag)


@pytest.mark.parametrize("write", [by_update, by_save, by_save_of_itself, by_bulk_update])
def test_a_row_written_in_pre_delete_is_told_with_its_last_values(hear: Any, write: Any) -> None:
    hear(pre_delete, write, Product)
    Product.objects.create(name="a", slug="open").delete()
    replay(Product)


def test_a_row_made_again_in_post_delete_is_there(hear: Any) -> None:
    def make_again(instance: Any, **kwargs: Any) -> None:
        key = instance.pk
        Tag.objects.create(pk=key, name="again")
        instance.pk = None
        instance.save()

    hear(post_delete, make_again, Tag)
    Tag.objects.create(name="a").delete()
    replay(Tag)


def test_a_row_whose_other_key_is_emptied_first(hear: Any) -> None:
    hear(post_delete, lambda instance, **kwargs: None, Category)
    category = Category.objects.create(name="a")
    product = Product.objects.create(name="a", category=category)
    Line.objects.create(product=product)
    collector = Collector(using="default")
    collector.collect(Category.objects.all())
    collector.collect(Product.objects.all())
    collector.delete()
    replay(Category, Product, Line)


def test_a_row_that_is_collected_as_its_proxy_too_is_told_once(hear: Any) -> None:
    hear(post_delete, lambda instance, **kwargs: None, Category)
    product = Product.objects.create(name="a")
    collector = Collector(using="default")
    collector.collect([product])
    collector.collect([ProductProxy.objects.get()])
    forget()
    collector.delete()
    assert [action for action, _ in tell()] == ["delete"]


def test_a_row_deleted_made_and_deleted_again_is_told_each_time(hear: Any) -> None:
    def make_again(instance: Any, **kwargs: Any) -> None:
        instance.lines.all().delete()
        Line.objects.create(pk=1000, product=instance, text="new")

    hear(pre_delete, make_again, Product)
    product = Product.objects.create(name="a")
    Line.objects.create(pk=1000, product=product, text="old")
    product.delete()
    replay(Product, Line)
    assert Line.objects.count() == 0


# Bulk writes and links


class Shouting(ModelReceiver):
    """Changes what it is told of, and saves some of it again."""

    models = ["testapp.Product"]
    bulk = "all"

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        if not instance.name.isupper():
            instance.name = instance.name.upper()
            if instance.stock == 1:
                instance.save()


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("bulk", ["create", "update", "queryset"])
def test_rows_of_a_bulk_write_changed_in_memory(
    wire: Any, old_values: str, first: bool, bulk: str
) -> None:
    ContentType.objects.clear_cache()
    log = (AuditLog, {"models": MODELS, "old_values": old_values})
    wire(log)
    products = [Product(name="a", stock=1), Product(name="b", stock=2)]
    if bulk != "create":
        Product.objects.bulk_create(products)
    wire(*([Shouting, log] if first else [log, Shouting]))
    if bulk == "create":
        Product.objects.bulk_create(products)
    elif bulk == "update":
        products = list(Product.objects.order_by("pk"))
        products[0].name, products[1].name = "c", "d"
        Product.objects.bulk_update(products, ["name"])
    else:
        Product.objects.update(name="e")
        Product.objects.filter(stock=2).update(stock=F("stock") + 1, name="f")
    if old_values == "database" or bulk == "create":
        replay(Product)


@pytest.mark.parametrize("signal", [signals.pre_bulk_update, signals.pre_queryset_update])
def test_rows_written_before_the_statement_of_a_bulk_write(hear: Any, signal: Any) -> None:
    def write(**kwargs: Any) -> None:
        Product.objects.filter(name="a").update(slug="busy")

    hear(signal, write, Product)
    products = Product.objects.bulk_create([Product(name="a"), Product(name="b")])
    if signal is signals.pre_bulk_update:
        for product in products:
            product.slug = "open"
        Product.objects.bulk_update(products, ["slug"])
    else:
        Product.objects.update(slug="open")
    replay(Product)


def test_a_link_that_ends_as_soon_as_it_is_made(hear: Any) -> None:
    def end(instance: Any, action: str, pk_set: Any, **kwargs: Any) -> None:
        if action == "post_add":
            instance.tags.remove(*pk_set)

    hear(m2m_changed, end, Product.tags.through)
    product, tag = Product.objects.create(name="a"), Tag.objects.create(name="a")
    forget()
    product.tags.add(tag)
    assert tell() == [
        ("m2m_add", {"tags": {"added": [tag.pk]}}),
        ("m2m_remove", {"tags": {"removed": [tag.pk]}}),
    ]


# Several databases, tasks, failures


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_an_instance_saved_into_two_databases(hear: Any, old_values: str) -> None:
    def copy_it(instance: Any, using: str, **kwargs: Any) -> None:
        if using == "default":
            instance.name = f"copy of {instance.name}"
            instance.save(using="other")

    hear(post_save, copy_it, Tag, old_values=old_values)
    tag = Tag.objects.create(name="a")
    told = [
        (entry.using, entry.action, entry.changes.get("name"))
        for alias in ("default", "other")
        for entry in AuditEntry.objects.using(alias).order_by("pk")
    ]
    assert sorted(told) == [
        ("default", "create", [None, "a"]),
        ("other", "create", [None, "copy of a"]),
    ]
    assert Tag.objects.get(pk=tag.pk).name == "a"


def test_an_asynchronous_save(hear: Any) -> None:
    def shout(instance: Any, **kwargs: Any) -> None:
        instance.name = instance.name.upper()

    async def write() -> None:
        tag = await Tag.objects.acreate(name="a")
        tag.name = "b"
        await tag.asave()
        await tag.adelete()

    hear(post_save, shout, Tag)
    run_async(write())
    replay(Tag)
    assert [changes["name"] for _, changes in tell()] == [[None, "a"], ["a", "b"], ["b", None]]


def test_a_log_that_may_fail_is_right_as_well(hear: Any) -> None:
    hear(pre_save, by_update, Product, contract="best_effort")
    product = Product.objects.create(name="a", slug="open")
    product.save()
    replay(Product)


def test_who_is_muted_reads_nothing(hear: Any, django_assert_num_queries: Any) -> None:
    hear(post_save, lambda instance, **kwargs: None, Product)
    product = Product.objects.create(name="a", stock=1)
    product.stock = F("stock") + 1
    with transaction.atomic(), muted(AuditLog), django_assert_num_queries(1):
        product.save()


@pytest.mark.parametrize(("write", "reads"), [(by_update, 3), (None, 1)])
def test_a_row_is_read_again_if_it_has_been_written(
    wire: Any, others: Hear, write: Any, reads: int
) -> None:
    def write_another(instance: Any, **kwargs: Any) -> None:
        Category.objects.create(name="another")

    # A log that may fail reads before the receivers that follow; the update reads, too.
    wire((AuditLog, {"models": MODELS, "contract": "best_effort"}))
    others(pre_save, write or write_another, Product)
    product = Product.objects.create(name="a")
    with transaction.atomic(), batch(), CaptureQueriesContext(connection) as queries:
        product.save()
    found = [query["sql"] for query in queries if query["sql"].startswith("SELECT")]
    assert len([sql for sql in found if "testapp_product" in sql]) == reads


@pytest.mark.parametrize("select_on_save", [False, True])
@pytest.mark.parametrize("how", [{}, {"force_update": True}, {"update_fields": ["name"]}])
def test_every_way_of_saving(
    hear: Any, old_values: str, select_on_save: bool, how: Any, monkeypatch: Any
) -> None:
    def shout(instance: Any, **kwargs: Any) -> None:
        instance.name = instance.name.upper()
        Product.objects.filter(pk=instance.pk).update(slug=F("name"))

    monkeypatch.setattr(Product._meta, "select_on_save", select_on_save)
    hear(post_save, shout, Product, old_values=old_values)
    product = Product(name="a")
    product.save(force_insert=True)
    product = Product.objects.defer("data", "slug").get()
    product.name = "b"
    product.save(**how)
    replay(Product)


def test_a_row_that_is_deleted_in_its_own_post_save(hear: Any, old_values: str) -> None:
    hear(post_save, lambda instance, **kwargs: instance.delete(), Tag, old_values=old_values)
    Tag.objects.create(name="a")
    assert [action for action, _ in replayed(Tag)] == ["create", "delete"]


def test_a_parent_that_its_children_write_when_they_go(hear: Any) -> None:
    def count(instance: Any, **kwargs: Any) -> None:
        Product.objects.filter(pk=instance.product_id).update(stock=F("stock") - 1)

    hear(post_delete, count, Line)
    product = Product.objects.create(name="a", stock=2)
    Line.objects.bulk_create(Line(product=product) for _ in range(2))
    product.delete()
    replay(Product, Line)


def test_a_row_of_a_queryset_that_is_deleted_with_another_of_it(
    hear: Any, old_values: str
) -> None:
    def delete_all(instance: Any, **kwargs: Any) -> None:
        Tag.objects.exclude(pk=instance.pk).delete()

    hear(pre_delete, delete_all, Tag, old_values=old_values)
    Tag.objects.bulk_create(Tag(name=name) for name in "abc")
    Tag.objects.all().delete()
    assert [action for action, _ in replayed(Tag)] == ["create"] * 3 + ["delete"] * 3


def replayed(model: Any) -> list[Any]:
    replay(model)
    return tell(model)
