"""Covered writes are units; everything else is Django's own, unchanged."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from django.db import DatabaseError, connection, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.deletion import Collector
from django.db.models.fields import related_descriptors
from django.db.models.signals import post_save
from django.test.utils import CaptureQueriesContext

from django_signal_kit import ModelReceiver
from django_signal_kit.writes.instances import UpdateFields
from tests.apps.testapp.models import (
    Category,
    Person,
    Place,
    Plain,
    Product,
    ProductProxy,
    Restaurant,
    Tag,
    Token,
)
from tests.factories import PersonFactory, RestaurantFactory, TagFactory
from tests.threads import in_threads

pytestmark = pytest.mark.django_db(transaction=True)


class Hearing(ModelReceiver):
    models = ["testapp.*"]
    exclude = ["testapp.Plain"]
    flush_on = "before_commit"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.heard: list[Any] = []
        self.flushed: list[list[Any]] = []

    def post_save(self, sender: Any, **kwargs: Any) -> None:
        self._hear(sender.__name__)

    def post_delete(self, sender: Any, **kwargs: Any) -> None:
        self._hear(f"-{sender.__name__}")

    def m2m_changed(self, action: str, **kwargs: Any) -> None:
        if action.startswith("post"):
            self._hear(action)

    def _hear(self, what: str) -> None:
        assert connection.in_atomic_block
        self.heard.append(what)
        self.collect(what)

    def flush(self, items: list[Any]) -> None:
        self.flushed.append(items)


# A class of the model's own since Django 6.0.
NOT_UPDATED = getattr(Token, "NotUpdated", DatabaseError)

ORIGINALS = {
    (models.Model, "save_base"): models.Model.save_base,
    (Collector, "delete"): Collector.delete,
    (BaseDatabaseWrapper, "savepoint"): BaseDatabaseWrapper.savepoint,
    (BaseDatabaseWrapper, "savepoint_rollback"): BaseDatabaseWrapper.savepoint_rollback,
    (
        related_descriptors,
        "create_forward_many_to_many_manager",
    ): related_descriptors.create_forward_many_to_many_manager,
}


def test_django_is_wrapped_only_while_a_receiver_covers_a_model(wire: Any) -> None:
    wire()
    untouched = {key: getattr(*key) for key in ORIGINALS}
    assert untouched == ORIGINALS
    wire(Hearing)
    assert all(getattr(*key) is not original for key, original in ORIGINALS.items())
    wire()
    assert {key: getattr(*key) for key in ORIGINALS} == ORIGINALS


def test_the_wrappers_keep_names_and_signatures(wire: Any) -> None:
    wire(Hearing)
    for (owner, name), original in ORIGINALS.items():
        wrapper = getattr(owner, name)
        assert wrapper.__name__ == original.__name__
        assert inspect.signature(wrapper) == inspect.signature(original)
    assert models.Model.save_base.alters_data
    person = PersonFactory()
    assert person.friends.add.alters_data
    assert person.friends.clear.alters_data


def test_wiring_twice_wraps_once(wire: Any) -> None:
    wire(Hearing)
    wire(Hearing)
    for (owner, name), original in ORIGINALS.items():
        assert getattr(owner, name).__wrapped__ is original


def test_proxies_and_multi_table_children_are_covered(wire: Any) -> None:
    receiver = wire(Hearing)
    ProductProxy.objects.create(name="a")
    Restaurant.objects.create(name="b")
    assert receiver.flushed == [["ProductProxy"], ["Restaurant"]]


def test_every_public_way_of_saving_one_row_is_heard_once(wire: Any) -> None:
    receiver = wire(Hearing)
    tag = Tag(name="a")
    tag.save()
    tag.save(update_fields=["name"])
    Tag.objects.only("name").get().save()
    Tag.objects.get_or_create(name="b")
    Tag.objects.update_or_create(name="b", defaults={"name": "c"})
    Tag.objects.update_or_create(name="d")
    Product.objects.create(name="p").tags.create(name="e")
    Category.objects.create(name="f").product_set.create(name="q")
    assert receiver.heard == [
        *["Tag"] * 6,
        "Product",
        "Tag",
        "post_add",
        "Category",
        "Product",
    ]


def test_an_empty_update_fields_writes_nothing_and_is_not_heard(wire: Any) -> None:
    tag = TagFactory()
    receiver = wire(Hearing)
    tag.save(update_fields=[])
    assert receiver.heard == []


def test_a_deserialized_row_is_heard_only_with_raw(wire: Any) -> None:
    from django.core import serializers

    data = serializers.serialize("json", [Tag(pk=1, name="a")])
    for raw, heard in ((False, []), (True, ["Tag"])):
        receiver = wire((Hearing, {"raw": raw}))
        for deserialized in serializers.deserialize("json", data):
            deserialized.save()
        assert receiver.heard == heard


def test_delete_returns_what_django_returns(wire: Any) -> None:
    restaurant = RestaurantFactory()
    wire(Hearing)
    assert restaurant.delete() == (2, {"testapp.Restaurant": 1, "testapp.Place": 1})
    assert restaurant.pk is None


def test_keep_parents_keeps_the_parent(wire: Any) -> None:
    restaurant = RestaurantFactory()
    receiver = wire(Hearing)
    restaurant.delete(keep_parents=True)
    assert receiver.flushed == [["-Restaurant"]]
    assert Place.objects.count() == 1


def test_many_to_many_calls_do_what_django_does(wire: Any) -> None:
    receiver = wire(Hearing)
    a, b, c = PersonFactory.create_batch(3)
    receiver.flushed.clear()
    a.friends.add(b, c)
    a.friends.add(b)
    assert set(b.friends.all()) == {a}
    a.friends.remove(b)
    a.friends.set([b])
    a.friends.clear()
    a.followers.add(b)
    assert list(b.follows.all()) == [a]
    assert receiver.flushed == [
        ["post_add"],
        ["post_add"],
        ["post_remove"],
        ["post_remove", "post_add"],
        ["post_clear"],
        ["post_add"],
    ]


def test_a_manager_chosen_by_name_is_covered(wire: Any) -> None:
    receiver = wire(Hearing)
    a, b = PersonFactory.create_batch(2)
    receiver.flushed.clear()
    a.friends(manager="objects").add(b)
    assert receiver.flushed == [["post_add"]]


def test_prefetched_objects_are_forgotten_after_a_change(wire: Any) -> None:
    wire(Hearing)
    PersonFactory()
    person = Person.objects.prefetch_related("friends").get()
    other = PersonFactory()
    person.friends.add(other)
    assert list(person.friends.all()) == [other]


class TestUncovered:
    """A model that no receiver covers is left to Django."""

    def test_saves_loads_and_deletes_cost_the_same_queries(self, wire: Any) -> None:
        bare = [query["sql"] for query in self.write_and_capture()]
        wire(Hearing)
        assert [query["sql"] for query in self.write_and_capture()] == bare

    def write_and_capture(self) -> Any:
        with CaptureQueriesContext(connection) as queries:
            plain = Plain.objects.create(id=1000, name="a")
            plain.name = "b"
            plain.save()
            Plain.objects.get(id=1000).delete()
            Plain.objects.bulk_create([Plain(id=n, name=str(n)) for n in range(1, 50)])
            Plain.objects.update(number=1)
            Plain.objects.all().delete()
        return queries.captured_queries

    def test_fast_deletes_stay_fast(self, wire: Any) -> None:
        wire(Hearing)
        collector = Collector(using="default")
        assert collector.can_fast_delete(Plain.objects.all())

    def test_update_fields_is_djangos_own_frozenset(self, wire: Any) -> None:
        wire(Hearing)
        plain = Plain.objects.create(name="a")
        seen: list[Any] = []

        def hear(update_fields: Any, **kwargs: Any) -> None:
            seen.append(update_fields)

        post_save.connect(hear, sender=Plain)
        try:
            plain.save(update_fields=["name"])
        finally:
            post_save.disconnect(hear, sender=Plain)
        assert type(seen[0]) is frozenset

    def test_signals_have_no_receiver_of_the_kit(self, wire: Any) -> None:
        wire(Hearing)
        assert not post_save.has_listeners(Plain)


def test_update_fields_of_a_covered_save_equals_a_frozenset() -> None:
    fields = UpdateFields(["name", "number"])
    assert fields == frozenset(["name", "number"])
    assert hash(fields) == hash(frozenset(["name", "number"]))
    assert {fields: 1}[frozenset(["number", "name"])] == 1


def test_errors_are_djangos_own(wire: Any) -> None:
    wire(Hearing)
    token = Token()
    with pytest.raises(ValueError, match="Cannot force both insert and updating"):
        token.save(force_insert=True, force_update=True)
    with pytest.raises(ValueError, match="do not exist"):
        token.save(update_fields=["nme"])
    with pytest.raises(NOT_UPDATED):
        token.save(force_update=True)


def test_a_covered_save_waits_for_its_turn_on_sqlite(wire: Any) -> None:
    """A transaction that reads before it writes says at once that it will write."""
    if connection.vendor != "sqlite":
        pytest.skip("about SQLite")
    wire("django_signal_kit.receivers.AuditLog", audit_of("testapp.Tag"))
    tag = TagFactory()
    with CaptureQueriesContext(connection) as queries:
        tag.save()
    assert queries[0]["sql"] == "BEGIN IMMEDIATE"
    with CaptureQueriesContext(connection) as queries, transaction.atomic():
        pass
    assert queries[0]["sql"] == "BEGIN"


def audit_of(*models: str) -> dict[str, Any]:
    return {
        "RECEIVER": "django_signal_kit.receivers.AuditLog",
        "NAME": "second",
        "OPTIONS": {"models": list(models)},
    }


class SavesItself(ModelReceiver):
    models = ["testapp.Tag"]

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        instance.save()


class SavesOnce(ModelReceiver):
    models = ["testapp.Tag"]

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        if instance.name != "done":
            instance.name = "done"
            instance.save()


def test_a_receiver_that_saves_its_own_instance_without_end_is_named(wire: Any) -> None:
    wire(SavesItself)
    with pytest.raises(RecursionError, match=r"SavesItself\.post_save\(\) saves the testapp\.Tag"):
        TagFactory()


def test_a_receiver_may_save_its_own_instance_with_an_end(wire: Any) -> None:
    wire(SavesOnce)
    assert TagFactory(name="new").name == "done"


def test_in_a_users_own_transaction_a_covered_save_waits_for_its_turn_as_well(wire: Any) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("about SQLite")
    connection.cursor().execute("PRAGMA journal_mode=WAL").fetchall()
    tag = TagFactory(name="x")
    wire(("django_signal_kit.receivers.AuditLog", {"models": ["testapp.Tag"]}))

    def write() -> None:
        for number in range(40):
            with transaction.atomic():
                Tag(pk=tag.pk, name=str(number)).save()

    try:
        in_threads(*[write] * 3)
    finally:
        connection.cursor().execute("PRAGMA journal_mode=DELETE").fetchall()
