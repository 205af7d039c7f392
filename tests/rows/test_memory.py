"""Old values without a query: what was loaded, moved forward and back."""

from __future__ import annotations

import copy
import pickle
import uuid
from decimal import Decimal
from typing import Any

import django
import pytest
from django.db import connection, models, transaction
from django.db.models import F, Model
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from django_signal_kit import batch
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.receivers import AuditLog
from django_signal_kit.rows import memory
from tests.apps.testapp.models import Note, Product, ProductProxy, Restaurant, Tag, Token
from tests.factories import ProductFactory, RestaurantFactory, TagFactory, UserFactory

pytestmark = pytest.mark.django_db(transaction=True)

SNAPSHOT = (AuditLog, {"models": ["testapp.*"], "old_values": "snapshot"})


@pytest.fixture
def audit(wire: Any) -> Any:
    return wire(SNAPSHOT)


def load(product: Any, **kwargs: Any) -> Any:
    """The row as somebody else loads it; nothing has been told of it so far."""
    AuditEntry.objects.all().delete()
    return type(product).objects.get(pk=product.pk)


def changes() -> list[Any]:
    return [entry.changes for entry in AuditEntry.objects.order_by("pk")]


def test_what_was_loaded_is_the_old_value_and_costs_no_query(audit: Any) -> None:
    product = load(ProductFactory(name="a", stock=1))
    product.name = "b"
    with CaptureQueriesContext(connection) as queries:
        product.save()
    kinds = [query["sql"].split()[0] for query in queries]
    assert [kind for kind in kinds if kind not in ("BEGIN", "COMMIT")] == ["UPDATE", "INSERT"]
    assert changes() == [{"name": ["a", "b"]}]


def test_loading_costs_no_query_and_keeps_the_very_values(audit: Any) -> None:
    TagFactory.create_batch(3)
    with CaptureQueriesContext(connection) as queries:
        tags = list(Tag.objects.all())
    assert len(queries) == 1
    _, names, values, frozen = tags[0]._state.signal_kit_loaded  # type: ignore[attr-defined]
    assert dict(zip(names, values, strict=True)) == {"id": tags[0].pk, "name": tags[0].name}
    assert not frozen


def test_a_save_moves_what_was_loaded_forward(audit: Any) -> None:
    product = load(ProductFactory(name="a"))
    for name in ("b", "c"):
        product.name = name
        product.save()
    product.save()
    assert changes() == [{"name": ["a", "b"]}, {"name": ["b", "c"]}]


def test_a_row_that_was_just_created_has_been_loaded(audit: Any) -> None:
    product = Product.objects.create(name="a", price="1.5")
    AuditEntry.objects.all().delete()
    product.price = Decimal("1.50")
    product.name = "b"
    product.save()
    assert changes() == [{"name": ["a", "b"]}]


@pytest.mark.parametrize("how", ["savepoint", "by hand", "transaction", "batch"])
def test_a_rollback_moves_it_back(audit: Any, how: str) -> None:
    product = load(ProductFactory(name="a"))

    def rename() -> None:
        product.name = "b"
        product.save()

    if how == "by hand":
        with transaction.atomic():
            sid = connection.savepoint()
            rename()
            connection.savepoint_rollback(sid)
    else:
        outer = transaction.atomic() if how == "savepoint" else batch()
        if how == "transaction":
            outer = transaction.atomic(savepoint=False, durable=True)
        with pytest.raises(KeyError):
            with outer, transaction.atomic(savepoint=how == "savepoint"):
                rename()
                raise KeyError
    assert changes() == []
    product.save()
    assert changes() == [{"name": ["a", "b"]}]


def test_a_later_rollback_leaves_alone_what_was_committed(audit: Any) -> None:
    product = load(ProductFactory(name="a"))
    product.name = "b"
    product.save()
    with pytest.raises(KeyError), transaction.atomic():
        raise KeyError
    product.save()
    assert changes() == [{"name": ["a", "b"]}]


def test_a_failed_save_moves_nothing(audit: Any) -> None:
    tag = load(TagFactory(name="a"))
    tag.name = None
    with pytest.raises(Exception, match=r"(?i)null"):
        tag.save()
    tag.name = "b"
    tag.save()
    assert changes() == [{"name": ["a", "b"]}]


class TestTrueFor:
    def test_update_fields(self, audit: Any) -> None:
        product = load(ProductFactory(name="a", slug="s"))
        product.name, product.slug = "b", "t"
        product.save(update_fields=["name"])
        product.save()
        assert changes() == [{"name": ["a", "b"]}, {"slug": ["s", "t"]}]

    def test_deferred_fields_which_are_never_loaded(self, audit: Any) -> None:
        product = load(ProductFactory(name="a"))
        product = Product.objects.only("name").get()
        product.name = "b"
        with CaptureQueriesContext(connection) as queries:
            product.save()
        assert not [query for query in queries if query["sql"].startswith("SELECT")]
        assert "slug" in product.get_deferred_fields()
        assert changes() == [{"name": ["a", "b"]}]

    def test_deferred_fields_that_were_loaded_later(self, audit: Any) -> None:
        load(ProductFactory(name="a", slug="s"))
        product = Product.objects.only("name").get()
        assert product.slug == "s"
        product.save()
        product.slug = "t"
        product.save()
        assert changes() == [{"slug": ["s", "t"]}]

    def test_a_deferred_field_that_was_assigned_whose_old_value_nobody_knows(
        self, audit: Any
    ) -> None:
        load(ProductFactory(name="a", slug="s"))
        product = Product.objects.only("name").get()
        product.slug = "t"
        product.save()
        assert changes() == [{"slug": ["[unknown]", "t"]}]
        assert AuditEntry.objects.get().context["certain"] is False

    def test_unconverted_text(self, audit: Any) -> None:
        product = load(ProductFactory(price="12.50", stock=3))
        product.price, product.stock = "12.5", "3"
        product.save()
        assert changes() == []
        product.price = "13"
        product.save()
        product.save()
        assert changes() == [{"price": ["12.50", "13.00"]}]

    def test_a_key_that_is_unconverted_text_and_not_recorded(self, wire: Any) -> None:
        wire((AuditLog, {**SNAPSHOT[1], "exclude_fields": ["id"]}))
        token = Token.objects.create(pk=str(uuid.uuid4()), name="a")
        token.name = "b"
        token.save()
        assert changes() == [{"name": [None, "a"]}, {"name": ["a", "b"]}]

    def test_expressions(self, audit: Any) -> None:
        product = load(ProductFactory(stock=3))
        product.stock = F("stock") + 1
        product.save()
        assert changes() == [{"stock": [3, 4]}]
        product.stock = 9
        product.save()
        assert changes()[1:] == [{"stock": [4, 9]}]

    def test_generated_fields(self, audit: Any) -> None:
        note = load(Note.objects.create(text="a"))
        note.text = "abc"
        note.save()
        assert changes() == [{"text": ["a", "abc"], "length": [1, 3]}]

    def test_json_that_is_changed_in_place(self, audit: Any) -> None:
        product = load(ProductFactory(data={"a": [1]}))
        product.data["a"].append(2)
        product.save()
        product.data["a"].append(3)
        product.save()
        assert changes() == [
            {"data": [{"a": [1]}, {"a": [1, 2]}]},
            {"data": [{"a": [1, 2]}, {"a": [1, 2, 3]}]},
        ]

    def test_refresh_from_db(self, audit: Any) -> None:
        product = load(ProductFactory(name="a", stock=1))
        Product.objects.filter(pk=product.pk).update(name="b", stock=2)
        product.refresh_from_db(fields=["name"])
        product.name = "c"
        product.save(update_fields=["name"])
        product.refresh_from_db()
        product.stock = 3
        product.save()
        assert changes()[1:] == [{"name": ["b", "c"]}, {"stock": [2, 3]}]

    def test_an_instance_made_by_hand_with_a_key(self, audit: Any) -> None:
        load(TagFactory(pk=5, name="a"))
        with CaptureQueriesContext(connection) as queries:
            Tag(pk=5, name="b").save()
            Tag(pk=6, name="c").save()
        assert not [query for query in queries if query["sql"].startswith("SELECT")]
        first, second = AuditEntry.objects.order_by("pk")
        assert (first.action, first.changes["name"]) == ("update", ["[unknown]", "b"])
        assert first.context["certain"] is False
        assert (second.action, second.changes["name"]) == ("create", [None, "c"])

    def test_copies_with_another_key(self, audit: Any) -> None:
        tag = load(TagFactory(name="a"))
        TagFactory(pk=77, name="x")
        AuditEntry.objects.all().delete()
        tag.pk = None
        tag.save()
        other = Tag.objects.get(pk=tag.pk)
        other.pk = 77
        other.save()
        first, second = AuditEntry.objects.order_by("pk")
        assert (first.action, first.changes["name"]) == ("create", [None, "a"])
        assert second.changes["name"] == ["[unknown]", "a"]

    def test_pickling_and_copying(self, audit: Any) -> None:
        product = load(ProductFactory(name="a", data={"a": 1}))
        for twin in (pickle.loads(pickle.dumps(product)), copy.copy(product)):
            twin.name = "b"
            with transaction.atomic():
                twin.save()
                transaction.set_rollback(True)
        product.name = "b"
        copy.deepcopy(product).save()
        assert changes() == [{"name": ["a", "b"]}]

    def test_deletions(self, audit: Any) -> None:
        product = load(ProductFactory(name="a"))
        product.name = "never saved"
        product.delete()
        entry = AuditEntry.objects.get()
        assert entry.changes["name"] == ["a", None]

    def test_multi_table_children_and_proxies(self, audit: Any) -> None:
        restaurant = load(RestaurantFactory(name="a", stars=1))
        restaurant.name, restaurant.stars = "b", 2
        restaurant.save()
        product = ProductFactory(name="c")
        proxy = ProductProxy.objects.get(pk=product.pk)
        proxy.name = "d"
        proxy.save()
        found = changes()
        assert found[0] == {"name": ["a", "b"], "stars": [1, 2]}
        assert found[-1] == {"name": ["c", "d"]}

    def test_keys_that_are_there_before_the_row(self, audit: Any) -> None:
        token = Token.objects.create(name="a")
        token.name = "b"
        token.save()
        assert [change["name"] for change in changes()] == [[None, "a"], ["a", "b"]]

    def test_bulk_update_without_a_query_more(self, audit: Any) -> None:
        load(ProductFactory(name="a"))
        ProductFactory(name="b")
        products = list(Product.objects.order_by("pk"))
        AuditEntry.objects.all().delete()
        for product in products:
            product.name += "!"
        with CaptureQueriesContext(connection) as queries:
            Product.objects.bulk_update(products, ["name"])
        assert not [query for query in queries if query["sql"].startswith("SELECT")]
        Product.objects.bulk_update(products, ["name"])
        assert changes() == [{"name": ["a", "a!"]}, {"name": ["b", "b!"]}]

    def test_queryset_updates_which_read_their_rows(self, audit: Any) -> None:
        load(ProductFactory(name="a"))
        Product.objects.update(name="b")
        assert changes() == [{"name": ["a", "b"]}]


def test_two_receivers_are_told_the_same(wire: Any) -> None:
    cls, options = SNAPSHOT
    path = "django_signal_kit.receivers.AuditLog"
    wire((cls, options), {"RECEIVER": path, "OPTIONS": options, "NAME": "Second"})
    product = load(ProductFactory(name="a"))
    product.name = "b"
    product.save()
    assert changes() == [{"name": ["a", "b"]}] * 2


def test_other_models_load_as_ever_and_all_do_afterwards(wire: Any) -> None:
    before = {name: vars(Tag).get(name) for name in ("from_db", "refresh_from_db")}
    wire((AuditLog, {"models": ["testapp.Tag"], "old_values": "snapshot"}))
    assert "from_db" in vars(Tag)
    assert "from_db" not in vars(Product)
    memory.keep([])
    assert {name: vars(Tag).get(name) for name in before} == before


def test_without_the_option_nothing_is_kept(wire: Any) -> None:
    wire((AuditLog, {"models": ["testapp.*"]}))
    product = load(ProductFactory())
    assert not hasattr(product._state, "signal_kit_loaded")
    assert "from_db" not in vars(Product)


# Methods of a model's own


class OneByOne(models.Model):
    """As the manual of Django shows it: all that is deferred is loaded at once."""

    name = models.CharField(max_length=20)
    text = models.TextField(default="t")
    data = models.JSONField(default=list)
    calls: list[Any] = []

    class Meta:
        abstract = True

    def refresh_from_db(self, using: Any = None, fields: Any = None, **kwargs: Any) -> None:
        self.calls.append((using, fields, kwargs))
        if fields is not None:
            fields = set(fields)
            deferred = self.get_deferred_fields()
            if fields.intersection(deferred):
                fields = fields.union(deferred)
        super().refresh_from_db(using, fields, **kwargs)

    @classmethod
    def from_db(cls, db: Any, field_names: Any, values: Any) -> Any:
        return super().from_db(db, field_names, values)


class Narrow(OneByOne):
    class Meta:
        abstract = True

    def refresh_from_db(self, using: Any = None, fields: Any = None) -> None:  # type: ignore[override]
        super().refresh_from_db(using=using, fields=fields)


class Keywords(OneByOne):
    class Meta:
        abstract = True

    def refresh_from_db(self, *, fields: Any = None, **kwargs: Any) -> None:  # type: ignore[override]
        super().refresh_from_db(fields=fields, **kwargs)


@pytest.fixture(params=[OneByOne, Narrow, Keywords])
def own(request: Any, audit: Any, make_model: Any) -> Any:
    OneByOne.calls.clear()
    return make_model("Own", request.param)


# from_db() without "fetch_mode" is deprecated since Django 6.1, and may be so still.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")
class TestMethodsOfAModelsOwn:
    def test_all_that_comes_along_is_an_old_value(self, own: Any) -> None:
        own.objects.create(name="a")
        AuditEntry.objects.all().delete()
        row = own.objects.defer("text", "data").get()
        assert row.text == "t"
        assert len(own.calls) == 1
        row.text, row.data = "u", [1]
        row.save()
        assert changes() == [{"text": ["t", "u"], "data": [[], [1]]}]

    def test_it_is_called_with_what_it_was_called_with(self, own: Any) -> None:
        row = own.objects.create(name="a")
        own.objects.update(name="b")
        AuditEntry.objects.all().delete()
        row.refresh_from_db()
        row.refresh_from_db(fields=["text"])
        row.refresh_from_db(fields=(name for name in ["name"]))
        assert own.calls == [(None, None, {}), (None, ["text"], {}), (None, ["name"], {})]
        row.name = "c"
        row.save()
        assert changes() == [{"name": ["b", "c"]}]

    def test_what_it_does_not_take_is_its_own_error(self, audit: Any, make_model: Any) -> None:
        row = make_model("Own", Narrow).objects.create(name="a")
        with pytest.raises(TypeError, match="nonsense"):
            row.refresh_from_db(nonsense=1)

    def test_fields_may_be_given_by_position(self, audit: Any, make_model: Any) -> None:
        row = make_model("Own", OneByOne).objects.create(name="a")
        type(row).objects.update(name="b")
        AuditEntry.objects.all().delete()
        row.refresh_from_db(None, iter(["name"]))
        assert row.name == "b"
        row.name = "c"
        row.save()
        assert changes() == [{"name": ["b", "c"]}]


@pytest.mark.skipif(django.VERSION < (6, 1), reason="there are no fetch modes before Django 6.1")
class TestFetchModes:
    def test_what_is_fetched_for_all_peers_is_their_old_value(self, audit: Any) -> None:
        ProductFactory.create_batch(3, price=3, stock=1, data=[1])
        AuditEntry.objects.all().delete()
        mode: Any = models.FETCH_PEERS  # type: ignore[attr-defined]
        queryset: Any = Product.objects.order_by("pk")
        first, second, third = queryset.fetch_mode(mode).defer("price", "data", "stock")
        third.stock = 5
        with CaptureQueriesContext(connection) as queries:
            assert (first.price, first.data) == (3, [1])
            assert (second.price, second.data) == (3, [1])
        assert len(queries) == 2
        first.save()
        second.name = "bb"
        second.data.append(2)
        second.save()
        third.price = 4
        third.save()
        told = [(entry.object_pk, entry.changes) for entry in AuditEntry.objects.order_by("pk")]
        assert [pk for pk, _ in told] == [str(second.pk), str(third.pk)]
        assert told[0][1]["data"] == [[1], [1, 2]]
        assert set(told[0][1]) == {"name", "data"}
        # Of what was set before it was ever fetched nobody knows what it was.
        assert told[1][1] == {"price": ["3.00", "4.00"], "stock": ["[unknown]", 5]}

    def test_instances_of_models_that_are_not_kept_are_fetched_as_ever(self, wire: Any) -> None:
        wire((AuditLog, {"models": ["testapp.Tag"], "old_values": "snapshot"}))
        ProductFactory.create_batch(2, stock=1)
        mode: Any = models.FETCH_PEERS  # type: ignore[attr-defined]
        queryset: Any = Product.objects.all()
        first, second = queryset.fetch_mode(mode).defer("stock")
        assert first.stock == second.__dict__["stock"] == 1
        assert not hasattr(second._state, "signal_kit_loaded")


class FromDatabase(AuditLog):
    """Speaks of itself, so that its entries can be told from the other's."""

    mark = "database"

    def get_context(self) -> Any:
        return {"mark": self.mark}


class FromMemory(FromDatabase):
    mark = "memory"


def stream(mark: str) -> list[Any]:
    found = AuditEntry.objects.filter(context__mark=mark).order_by("pk")
    return [(entry.action, entry.object_pk, entry.changes) for entry in found]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "save",
                "save",
                "stock",
                "data",
                "expression",
                "update_fields",
                "bulk_update",
                "reload",
                "refresh",
                "rolled back",
                "delete",
            ]
        ),
        st.integers(0, 2),
        st.integers(0, 3),
    ),
    max_size=12,
)


def run(step: str, held: list[Model], position: int, value: int) -> None:
    product: Any = held[position]
    if step == "reload":
        held[position] = Product.objects.get(pk=product.pk)
    elif step == "refresh":
        product.refresh_from_db()
    elif step == "delete":
        # A rollback gives a deleted instance its key back if it is the unit's, not the user's.
        Product.objects.get(pk=product.pk).delete()
        held[position] = Product.objects.create(name="new", stock=value)
    elif step == "rolled back":
        with transaction.atomic():
            product.name = f"{value}?"
            product.save()
            transaction.set_rollback(True)
    else:
        product.name = str(value)
        if step == "stock":
            product.stock = str(value)
        elif step == "data":
            product.data["a"] = value
        elif step == "expression":
            product.stock = F("stock") + value
        if step == "update_fields":
            product.save(update_fields=["name"])
        elif step == "bulk_update":
            Product.objects.bulk_update([product], ["name", "stock"])
        else:
            product.save()
        if step == "expression":
            product.refresh_from_db(fields=["stock"])


def test_memory_tells_what_the_database_tells_of_rows_that_nobody_else_writes(wire: Any) -> None:
    options = {"models": ["testapp.Product"]}
    wire((FromDatabase, options), (FromMemory, {**options, "old_values": "snapshot"}))

    @given(steps=STEPS, undone=st.sets(st.integers(0, 11)), in_batch=st.booleans())
    def check(steps: Any, undone: set[int], in_batch: bool) -> None:
        AuditEntry.objects.all().delete()
        held: list[Model] = [Product.objects.create(name="0") for _ in range(3)]
        with batch() if in_batch else transaction.atomic():
            for number, (step, position, value) in enumerate(steps):
                with transaction.atomic():
                    run(step, [*held] if number in undone else held, position, value)
                    transaction.set_rollback(number in undone)
        assert stream("memory") == stream("database")

    check()


def test_users_are_kept_as_well(wire: Any) -> None:
    user = UserFactory(first_name="a")
    wire((AuditLog, {"models": ["auth.User"], "old_values": "snapshot"}))
    user = load(user)
    user.first_name = "b"
    user.save()
    assert changes() == [{"first_name": ["a", "b"]}]


def test_restaurants_keep_their_own_fields(audit: Any) -> None:
    restaurant = load(RestaurantFactory(stars=1))
    restaurant.stars = 2
    restaurant.save(update_fields=["stars"])
    assert changes() == [{"stars": [1, 2]}]
    assert Restaurant.objects.get().stars == 2


class OneData:
    """Both databases hold the same."""

    def allow_relation(self, one: Any, other: Any, **hints: Any) -> bool:
        return True


class TestSeveralDatabases:
    pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

    def save_elsewhere(self) -> list[Any]:
        tag = Tag.objects.create(name="here")
        Tag.objects.using("other").create(pk=tag.pk, name="there")
        for alias in ("other", "default"):
            AuditEntry.objects.using(alias).delete()
        tag = Tag.objects.get()
        tag.name = "new"
        tag.save(using="other", update_fields=["name"])
        tag.name = "newer"
        tag.save(using="other")
        tag.save(using="default")
        return [
            (entry.using, entry.changes["name"])
            for alias in ("other", "default")
            for entry in AuditEntry.objects.using(alias).order_by("pk")
        ]

    def test_what_was_loaded_from_one_is_not_known_of_another(self, audit: Any) -> None:
        assert self.save_elsewhere() == [
            ("other", ["[unknown]", "new"]),
            ("other", ["new", "newer"]),
            ("default", ["[unknown]", "newer"]),
        ]

    def test_what_was_loaded_from_a_replica_is_known(self, audit: Any, settings: Any) -> None:
        settings.DATABASE_ROUTERS = [OneData()]
        assert self.save_elsewhere()[0] == ("other", ["here", "new"])
