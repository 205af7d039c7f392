"""An update() that is heard is the one statement that Django makes of it, whatever its size."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.core.cache import cache
from django.core.exceptions import FieldError
from django.db import IntegrityError, connection, models, transaction
from django.db.models import Case, Count, Exists, F, Func, OuterRef, Subquery, Value, When, Window
from django.db.models.expressions import RawSQL
from django.db.models.functions import Concat, Rank
from django.test.utils import CaptureQueriesContext

from django_signal_kit import ModelReceiver, only
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.receivers import AuditLog, CacheInvalidation, LastModified
from django_signal_kit.rows.snapshots import get_old_row
from django_signal_kit.units.unit import get_unit
from django_signal_kit.writes import matched
from tests.apps.rarities.models import OrderLine
from tests.apps.testapp.models import Category, Line, Product, Restaurant, Tag, Token
from tests.conftest import get_path, run_async
from tests.factories import CategoryFactory, ProductFactory, RestaurantFactory, TagFactory
from tests.relations.told import tell
from tests.threads import in_threads

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=["few", "many"])
def size(request: Any, monkeypatch: Any) -> str:
    """Do the rows of an update fit into memory, or are they told of in parts of two?"""
    if request.param == "many":
        monkeypatch.setattr(matched, "CHUNK", 2)
        monkeypatch.setattr(matched, "FEW", 2)
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def audit(wire: Any) -> Any:
    ContentType.objects.clear_cache()
    return wire((AuditLog, {"models": ["testapp.*", "rarities.*"]}))


def told(model: Any = None) -> list[tuple[str, Any]]:
    """Key and changes of each entry; the log is empty afterwards."""
    entries = AuditEntry.objects.order_by("pk")
    if model is not None:
        entries = entries.filter(content_type=ContentType.objects.get_for_model(model))
    found = [(entry.object_pk, entry.changes) for entry in entries]
    AuditEntry.objects.all().delete()
    return found


# What is written


def make_products() -> None:
    categories = [CategoryFactory(pk=pk, name=name) for pk, name in ((1, "hot"), (2, "cold"))]
    tags = [TagFactory(pk=pk, name=str(pk)) for pk in (1, 2, 3)]
    for number in range(7):
        product = ProductFactory(
            pk=number + 1, name=f"p{number}", stock=number, category=categories[number % 2]
        )
        product.tags.set(tags[: number % 4])
        for _ in range(number % 3):
            Line.objects.create(product=product, text="x")


def newest(queryset: Any) -> Any:
    return queryset.order_by("-pk").values("stock")[:1]


WAYS: dict[str, Any] = {
    "all": lambda p: p.update(stock=3),
    "by a joined row": lambda p: p.filter(category__name="hot").update(stock=3),
    "by rows that join often": lambda p: p.filter(lines__text="x").update(stock=F("stock") + 1),
    "by links": lambda p: p.filter(tags__name__in=["1", "2"]).update(name="x"),
    "by a group": lambda p: p.annotate(n=Count("tags")).filter(n__gte=2).update(stock=9),
    "by a window": lambda p: (
        p.annotate(r=Window(Rank(), partition_by="category", order_by="stock"))
        .filter(r=2, category__name__gt="")
        .update(stock=9)
    ),
    "by a subquery": lambda p: p.filter(
        Exists(Line.objects.filter(product=OuterRef("pk")))
    ).update(stock=9),
    "by SQL": lambda p: p.extra(where=["stock %% 2 = 1"]).update(stock=9),
    "by itself": lambda p: p.filter(stock__gt=3).update(stock=F("stock") - 3),
    "excluded": lambda p: p.exclude(stock=2).update(stock=2),
    "by an annotation": lambda p: (
        p.annotate(n=F("stock") * 2).filter(n__gt=4).update(stock=F("n") + 1)
    ),
    "distinct": lambda p: p.filter(lines__text="x").distinct().update(stock=9),
    "ordered": lambda p: p.order_by("-stock", "pk").update(stock=F("stock") + 1),
    "ordered by another table": lambda p: p.order_by("category__name").update(stock=7),
    "turned round": lambda p: p.order_by("stock").reverse().update(stock=F("stock") + 1),
    "some columns": lambda p: p.only("name").update(stock=7),
    "values": lambda p: p.values("name").update(stock=7),
    "selected along": lambda p: p.select_related("category").update(stock=7),
    "a case": lambda p: p.update(stock=Case(When(stock__gt=3, then=0), default=F("stock"))),
    "a text of its own": lambda p: p.update(name=Concat(F("name"), Value("!"))),
    "a foreign key by its column": lambda p: p.update(category_id=2),
    "a foreign key by its row": lambda p: p.update(category=Category.objects.get(pk=1)),
    "nothing that matches": lambda p: p.filter(name="nobody").update(stock=1),
    "nothing at all": lambda p: p.none().update(stock=1),
    "keys": lambda p: p.filter(pk__in=[7, 1, 3, 3, 99]).update(stock=1),
    "the greatest of all": lambda p: p.update(stock=Subquery(newest(Product.objects.all()))),
    "the next number": lambda p: p.update(
        stock=RawSQL("(SELECT MAX(stock) + 1 FROM testapp_product)", [])
    ),
    "a window of its own": lambda p: (
        p.annotate(r=Window(Rank(), order_by="stock")).filter(r=2).update(stock=9)
    ),
    "a group of its own": lambda p: p.annotate(n=Count("pk")).filter(n=1).update(stock=9),
    "a window as a value": lambda p: p.update(stock=Window(Rank(), order_by="stock")),
    "a slice": lambda p: p[:2].update(stock=1),
    "a union": lambda p: p.union(p).update(stock=1),
    "a field that is not there": lambda p: p.update(stocc=1),
    "a relation": lambda p: p.update(tags=1),
    "the key by its other name": lambda p: p.filter(pk=1).update(pk=50),
}


NAMES = ("pk", "name", "stock", "category_id")


def read_table() -> dict[Any, Any]:
    return {key: values for key, *values in Product.objects.values_list(*NAMES)}


def run(way: Any) -> tuple[Any, ...]:
    """What comes of it: the result, or the class of the error, the table before and after, and
    the SQL."""
    for model in (Line, Product, Category, Tag):
        model.objects.all().delete()
    with only():
        make_products()
    AuditEntry.objects.all().delete()
    before = read_table()
    with CaptureQueriesContext(connection) as queries:
        try:
            result = way(Product.objects.all())
        except Exception as error:
            result = type(error)
    updates = [query["sql"] for query in queries if query["sql"].startswith("UPDATE")]
    # SQLite's lock is asked for by a write that changes nothing.
    updates = [sql for sql in updates if not sql.endswith("WHERE 0")]
    return result, before, read_table(), updates


@pytest.mark.parametrize("name", WAYS)
def test_what_is_written_is_what_django_alone_writes(wire: Any, size: str, name: str) -> None:
    wire()
    result, before, after, updates = run(WAYS[name])
    ContentType.objects.clear_cache()
    wire((AuditLog, {"models": [Product]}))
    *same, heard = run(WAYS[name])
    assert same == [result, before, after]
    # None at all if nothing matches, where the keys are in the statement.
    assert len(heard) <= len(updates) <= 1
    if connection.vendor == "sqlite":
        assert heard == updates
    # And all of it is told, once.
    labels = ("name", "stock", "category")
    changes = {
        str(key): {
            label: [old, new]
            for label, old, new in zip(labels, before[key], after[key], strict=True)
            if old != new
        }
        for key in before
    }
    assert sorted(told()) == sorted((key, change) for key, change in changes.items() if change)


def test_a_queryset_that_has_been_read_is_read_anew(audit: Any) -> None:
    TagFactory(name="a")
    tags = Tag.objects.all()
    assert [tag.name for tag in tags] == ["a"]
    tags.update(name="b")
    assert [tag.name for tag in tags] == ["b"]


def test_unique_numbers_move_up_in_one_statement(make_model: Any, wire: Any, size: str) -> None:
    if not connection.features.supports_deferrable_unique_constraints:
        pytest.skip("this database looks at each row for itself")
    constraint = models.UniqueConstraint(
        fields=["number"], name="one_number", deferrable=models.Deferrable.IMMEDIATE
    )
    ranked = make_model(
        "Ranked", models.Model, number=models.IntegerField(), meta={"constraints": [constraint]}
    )
    ContentType.objects.clear_cache()
    wire((AuditLog, {"models": [ranked]}))
    ranked.objects.bulk_create([ranked(number=number) for number in range(5)])
    tell()
    assert ranked.objects.update(number=F("number") + 1) == 5
    assert [changes["number"] for _, changes in tell()] == [[n, n + 1] for n in range(5)]
    with pytest.raises(IntegrityError):
        ranked.objects.update(number=7)
    assert tell() == []


def test_an_update_in_order_is_one_on_mariadb(make_model: Any, wire: Any, size: str) -> None:
    if connection.vendor != "mysql":
        pytest.skip("this database updates in no order")
    ranked = make_model("Ranked", models.Model, number=models.IntegerField(unique=True))
    ContentType.objects.clear_cache()
    wire((AuditLog, {"models": [ranked]}))
    ranked.objects.bulk_create([ranked(number=number) for number in range(5)])
    tell()
    with pytest.raises(IntegrityError):
        ranked.objects.order_by("number").update(number=F("number") + 1)
    assert ranked.objects.order_by("-number").update(number=F("number") + 1) == 5
    assert [changes["number"] for _, changes in tell()] == [[n, n + 1] for n in range(5)]


def test_what_a_receiver_adds_goes_into_the_same_statement(wire: Any, size: str) -> None:
    ContentType.objects.clear_cache()
    log = (AuditLog, {"models": [Product], "stamps": True})
    wire((LastModified, {"models": [Product]}), log)
    ProductFactory.create_batch(5, stock=1)
    tell()
    with CaptureQueriesContext(connection) as queries:
        assert Product.objects.update(stock=2) == 5
    updates = [q["sql"] for q in queries if q["sql"].startswith("UPDATE") and "stock" in q["sql"]]
    assert len(updates) == 1
    assert "updated_at" in updates[0]
    assert len(set(Product.objects.values_list("updated_at", flat=True))) == 1
    assert [(set(changes), changes["stock"]) for _, changes in tell()] == [
        ({"stock", "updated_at"}, [1, 2])
    ] * 5


def test_parents_and_children_are_written_as_django_writes_them(audit: Any, size: str) -> None:
    RestaurantFactory.create_batch(5, name="a", stars=1)
    tell()
    assert Restaurant.objects.filter(name="a").update(name="b", stars=F("stars") + 1) == 5
    assert tell() == [("update", {"name": ["a", "b"], "stars": [1, 2]})] * 5


def test_children_of_a_deleted_row_are_told_whatever_their_number(
    audit: Any, make_model: Any, size: str
) -> None:
    def other() -> int:
        return Category.objects.values_list("pk", flat=True).get(name="other")

    field = models.ForeignKey(Category, models.SET(other), null=True)
    child = make_model("Child", models.Model, parent=field)
    audit.models = [*audit.models, child]
    gone, kept = CategoryFactory(name="gone"), CategoryFactory(name="other")
    child.objects.bulk_create([child(parent=gone) for _ in range(5)])
    key = gone.pk
    tell()
    gone.delete()
    assert [change for _, change in told(child)] == [{"parent": [key, kept.pk]}] * 5


# Which rows


def test_each_row_is_told_once_however_often_it_joins(audit: Any, size: str) -> None:
    products = ProductFactory.create_batch(3, stock=1)
    for number, product in enumerate(products):
        for _ in range(number):
            Line.objects.create(product=product, text="x")
    tell()
    assert Product.objects.filter(lines__text="x").update(stock=2) == 2
    assert told() == [(str(product.pk), {"stock": [1, 2]}) for product in products[1:]]


def write_elsewhere(act: Any) -> None:
    """Run ``act`` on a connection of its own, to its end."""
    in_threads(act, timeout=20)


class Meanwhile(ModelReceiver):
    """Lets somebody else write between the reading of the rows and the statement."""

    models = [Tag]
    act: Any = None

    def pre_queryset_update(self, **kwargs: Any) -> None:
        act, self.act = self.act, None
        if act is not None:
            write_elsewhere(only()(act))


@pytest.mark.parametrize("receiver", [AuditLog, CacheInvalidation])
def test_a_row_that_comes_to_match_is_neither_written_nor_left_untold(
    wire: Any, size: str, receiver: Any
) -> None:
    if not connection.features.has_select_for_update:
        pytest.skip("nobody else writes to this database meanwhile")
    options = {"keys": ["{name}"]} if receiver is CacheInvalidation else {}
    ContentType.objects.clear_cache()
    meanwhile, _ = wire(Meanwhile, (receiver, {"models": [Tag], **options}))
    tags = TagFactory.create_batch(5, name="a")
    other = TagFactory(name="other")
    tell()

    def act() -> None:
        Tag.objects.create(name="a")
        Tag.objects.filter(pk=other.pk).update(name="a")

    meanwhile.act = act
    # The update comes first, and then the others.
    assert Tag.objects.filter(name="a").update(name="b") == 5
    assert sorted(Tag.objects.values_list("name", flat=True)) == ["a"] * 2 + ["b"] * 5
    if receiver is AuditLog:
        assert told() == [(str(tag.pk), {"name": ["a", "b"]}) for tag in tags]


def test_a_row_whose_join_goes_is_written_all_the_same_and_told(wire: Any, size: str) -> None:
    if not connection.features.has_select_for_update:
        pytest.skip("nobody else writes to this database meanwhile")
    if connection.vendor == "mysql":
        pytest.skip("this database locks the joined row as well")
    ContentType.objects.clear_cache()
    meanwhile, _ = wire((Meanwhile, {"models": [Product]}), (AuditLog, {"models": [Product]}))
    category = CategoryFactory(name="a")
    ProductFactory.create_batch(5, category=category, stock=1)
    tell()
    meanwhile.act = lambda: Category.objects.update(name="b")
    assert Product.objects.filter(category__name="a").update(stock=2) == 5
    assert tell() == [("update", {"stock": [1, 2]})] * 5


# Keys that the update changes


@pytest.mark.parametrize(
    "new", [F("id") + 100, 100 + F("pk"), Case(When(id__gt=0, then=F("id") + 100))], ids=str
)
def test_rows_are_told_by_the_keys_that_they_get(audit: Any, size: str, new: Any) -> None:
    keys = [TagFactory(name=str(number)).pk for number in range(5)]
    tell()
    assert Tag.objects.order_by("-pk").update(id=new, name=Concat(F("name"), Value("!"))) == 5
    assert sorted(told()) == sorted(
        (str(key + 100), {"id": [key, key + 100], "name": [str(number), f"{number}!"]})
        for number, key in enumerate(keys)
    )


@pytest.mark.parametrize("new", [55, "55", Value(55)], ids=repr)
def test_a_key_that_is_given_is_known_in_any_form(audit: Any, new: Any) -> None:
    key = TagFactory(name="a").pk
    tell()
    assert Tag.objects.filter(pk=key).update(id=new) == 1
    assert told() == [("55", {"id": [key, 55]})]


def test_a_uuid_that_is_given_as_text_is_known(audit: Any) -> None:
    token = Token.objects.create()
    new = "E621E1F8-C36C-495A-93FC-0C247A3E6E5F"
    tell()
    Token.objects.update(id=new)
    assert told() == [(new.lower(), {"id": [str(token.pk), new.lower()]})]


def test_a_part_of_a_key_of_two_columns(audit: Any, size: str) -> None:
    OrderLine.objects.bulk_create([OrderLine(order=1, number=number) for number in range(5)])
    tell()
    assert OrderLine.objects.update(number=F("number") + 10) == 5
    assert sorted(told()) == sorted((f"[1, {n + 10}]", {"number": [n, n + 10]}) for n in range(5))
    OrderLine.objects.update(order=2)
    assert sorted(told()) == sorted((f"[2, {n + 10}]", {"order": [1, 2]}) for n in range(5))


class RandomKey(Func):
    """Something else each time."""

    template = "%(expressions)s + ABS(RANDOM() / 9223372037)"
    output_field = models.IntegerField()

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "%(expressions)s + 1 + (RANDOM() * 1000000007)::bigint"
        return super().as_sql(compiler, connection, template=template, **context)

    def as_mysql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "%(expressions)s + 1 + FLOOR(RAND() * 1000000007)"
        return super().as_sql(compiler, connection, template=template, **context)


def test_a_key_that_nobody_can_know_is_said_to_be_unknown(audit: Any, size: str) -> None:
    products = ProductFactory.create_batch(5, stock=1, name="a")
    tell()
    assert Product.objects.update(id=RandomKey("id"), stock=F("stock") + 1, name="b") == 5
    unknown = "[unknown]"
    assert told() == [
        (
            str(product.pk),
            {"id": [product.pk, unknown], "stock": [1, unknown], "name": ["a", "b"]},
        )
        for product in products
    ]


def test_pages_of_the_old_and_the_new_key_go(wire: Any, size: str) -> None:
    wire((CacheInvalidation, {"models": [Tag], "keys": ["tag:{pk}"]}))
    tags = TagFactory.create_batch(5)
    names = [f"tag:{tag.pk + more}" for tag in tags for more in (0, 100)]
    cache.set_many(dict.fromkeys(names, "page"))
    Tag.objects.order_by("-pk").update(id=F("id") + 100)
    assert cache.get_many(names) == {}


def test_an_expression_that_django_refuses_is_refused_by_django(audit: Any) -> None:
    ProductFactory()
    with pytest.raises(FieldError, match="Joined field references"):
        Product.objects.update(id=F("category__name"))
    with pytest.raises(FieldError, match="Cannot resolve"):
        Product.objects.update(id=F("nothing"))


# What receivers see


class Looking(ModelReceiver):
    """What it finds before the write, and after it."""

    models = [Tag]
    bulk = "all"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.seen: list[Any] = []

    def get_old_fields(self, model: Any) -> Any:
        return [model._meta.get_field("name")]

    def pre_save(self, instance: Any, using: str, **kwargs: Any) -> None:
        self.seen.append(("pre", instance.name, get_old_row(instance, using)))

    def post_save(self, instance: Any, using: str, update_fields: Any, **kwargs: Any) -> None:
        self.seen.append(("post", instance.name, get_old_row(instance, using)))


class Counting(ModelReceiver):
    models = [Tag]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.seen: list[Any] = []

    def pre_queryset_update(self, rows: Any, **kwargs: Any) -> None:
        self.seen.append((len(rows), [row.name for row in rows], [row.name for row in rows]))

    def post_queryset_update(self, rows: Any, count: int, **kwargs: Any) -> None:
        self.seen.append((count, sorted(row.name for row in rows)))


class Keeping(Looking):
    """Keeps what it is given, so that each has an id of its own."""

    kept: Any = None

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        super().post_save(instance=instance, **kwargs)
        self.kept = [*(self.kept or ()), instance]


@pytest.mark.parametrize("cls", [Looking, Keeping])
def test_each_of_several_receivers_hears_all_rows_once(wire: Any, size: str, cls: Any) -> None:
    for number in range(5):
        TagFactory(name=str(number))
    one, other, counting = wire(cls, {"RECEIVER": get_path(cls), "NAME": "other"}, Counting)
    assert Tag.objects.update(name="x") == 5
    names = [str(number) for number in range(5)]
    expected = [("pre", name, {"name": name}) for name in names]
    expected += [("post", "x", {"name": name}) for name in names]
    assert one.seen == other.seen == expected
    assert counting.seen == [(5, names, names), (5, ["x"] * 5)]


def test_each_row_is_read_once_before_and_once_after(wire: Any, size: str) -> None:
    TagFactory.create_batch(5)
    wire(Looking, Keeping, Counting)
    with CaptureQueriesContext(connection) as queries:
        Tag.objects.update(name="x")
    selects = [query for query in queries if query["sql"].startswith("SELECT")]
    # First those that would fit, then the keys, and three parts twice.
    assert len(selects) == (1 if size == "few" else 1 + 1 + 3 + 3)


class AsyncLooking(Looking):
    async def pre_save(self, instance: Any, **kwargs: Any) -> None:  # type: ignore[override]
        self.seen.append(("pre", instance.name))

    async def post_save(self, instance: Any, **kwargs: Any) -> None:  # type: ignore[override]
        self.seen.append(("post", instance.name))


def test_async_receivers_hear_all_rows(wire: Any, size: str) -> None:
    TagFactory.create_batch(5, name="a")
    receiver = wire(AsyncLooking)
    Tag.objects.update(name="b")
    run_async(Tag.objects.aupdate(name="c"))
    assert receiver.seen == [
        *[("pre", "a")] * 5,
        *[("post", "b")] * 5,
        *[("pre", "b")] * 5,
        *[("post", "c")] * 5,
    ]


class Failing(Looking):
    flush_on = "before_commit"

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        super().post_save(instance=instance, **kwargs)
        if len(self.seen) > 8:
            raise ValueError("enough")


def test_a_receiver_that_fails_half_way_takes_the_statement_back(wire: Any, size: str) -> None:
    TagFactory.create_batch(5, name="a")
    wire(Failing)
    with pytest.raises(ValueError, match="enough"):
        Tag.objects.update(name="b")
    assert set(Tag.objects.values_list("name", flat=True)) == {"a"}


def test_values_as_loaded_are_those_before_the_update(wire: Any, size: str) -> None:
    ContentType.objects.clear_cache()
    wire((AuditLog, {"models": [Tag], "old_values": "snapshot"}))
    TagFactory.create_batch(5, name="a")
    tell()
    Tag.objects.update(name="b")
    assert tell() == [("update", {"name": ["a", "b"]})] * 5


def test_one_statement_is_one_entry_if_others_ask_for_the_rows(wire: Any, size: str) -> None:
    ContentType.objects.clear_cache()
    wire(Looking, (AuditLog, {"models": [Tag], "bulk": "statement"}))
    with only():
        TagFactory.create_batch(5, name="a")
    Tag.objects.update(name="b")
    entry = AuditEntry.objects.get()
    assert (entry.context["rows"], entry.changes) == (5, {"name": ["[unknown]", "b"]})


@pytest.mark.parametrize("name", ["category", "category_id"])
def test_a_column_is_known_by_either_of_its_names(wire: Any, name: str) -> None:
    ContentType.objects.clear_cache()
    wire((AuditLog, {"models": [Product], "bulk": "statement"}))
    category = CategoryFactory()
    with only():
        product = ProductFactory()
    Product.objects.update(**{name: category.pk})
    product.category = category
    Product.objects.bulk_update([product], [name])
    assert [changes for _, changes in tell()] == [
        {"category": ["[unknown]", category.pk]},
        {"category": ["[unknown]", "[unknown]"]},
    ]


class Asking(Looking):
    """Is a transaction open?"""

    def pre_save(self, **kwargs: Any) -> None:
        self.seen.append(connection.in_atomic_block)

    post_save = pre_save


def test_without_a_transaction_rows_are_locked_until_they_are_written(wire: Any) -> None:
    TagFactory()
    receiver = wire(Asking)
    Tag.objects.update(name="b")
    assert receiver.seen == [True, False]
    with transaction.atomic():
        Tag.objects.update(name="c")
    assert receiver.seen == [True, False, True, True]


def test_the_unit_is_left_as_it_was(wire: Any, size: str) -> None:
    TagFactory.create_batch(5)
    wire(Looking)
    with transaction.atomic():
        Tag.objects.update(name="x")
        assert get_unit() is None
