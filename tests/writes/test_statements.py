"""The statements of covered writes are heard where they are run, and nobody else's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import models, transaction
from django.db.models.signals import post_save, pre_save
from django.test.utils import isolate_apps

from django_signal_kit import ModelReceiver, batch
from django_signal_kit.writes import saving
from tests.apps.testapp.models import (
    Category,
    Place,
    Plain,
    Product,
    ProductProxy,
    Restaurant,
    Tag,
)

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

ALL = [Category, Place, Plain, Product, ProductProxy, Restaurant, Tag]


class Orders(ModelReceiver):
    """Collects what it hears."""

    models = ["testapp.*"]
    exclude = ["testapp.Plain"]
    flush_on = "before_commit"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.flushed: list[list[Any]] = []

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        self.collect(instance.name)

    def post_delete(self, instance: Any, **kwargs: Any) -> None:
        self.collect(f"-{instance.name}")

    def flush(self, items: list[Any]) -> None:
        self.flushed.append(items)


class After(Orders):
    flush_on = "after_commit"


def list_wrapped() -> list[type]:
    return [model for model in ALL if "_save_table" in vars(model)]


def test_covered_classes_alone_are_changed(wire: Any) -> None:
    assert list_wrapped() == []
    wire((Orders, {"models": [Restaurant, ProductProxy]}))
    assert list_wrapped() == [ProductProxy, Restaurant]
    wire((Orders, {"models": [Product, Tag]}))
    assert list_wrapped() == [Product, ProductProxy, Tag]
    wire()
    assert list_wrapped() == []


def test_wiring_again_wraps_once(wire: Any) -> None:
    wire(Orders)
    ours = vars(Tag)["_save_table"]
    wire(Orders, (After, {"models": [Tag]}))
    assert vars(Tag)["_save_table"] is ours


def test_what_somebody_puts_in_front_of_it_stays(wire: Any) -> None:
    wire(Orders)
    ours = vars(Tag)["_save_table"]
    calls: list[Any] = []

    def theirs(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(self)
        return ours(self, *args, **kwargs)

    Tag._save_table = theirs
    try:
        receiver = wire(After)
        assert vars(Tag)["_save_table"] is theirs
        tag = Tag.objects.create(name="a")
        assert (calls, receiver.flushed) == ([tag], [["a"]])
        wire()
        Tag.objects.create(name="b")
        assert vars(Tag)["_save_table"] is theirs
    finally:
        Tag._save_table = ours
        saving.uncover()
        saving.settle()
    assert list_wrapped() == []


@isolate_apps("tests.apps.testapp")
def test_a_method_of_the_class_or_of_a_mixin_is_called_as_without_it() -> None:
    calls: list[str] = []

    class Mixin:
        def _save_table(self, *args: Any, **kwargs: Any) -> Any:
            calls.append("mixin")
            return super()._save_table(*args, **kwargs)  # type: ignore[misc]

    class First(models.Model):
        class Meta:
            app_label = "testapp"
            db_table = "testapp_tag"

        name = models.CharField(max_length=100)

    class Second(Mixin, First):
        class Meta:
            app_label = "testapp"
            proxy = True

    class Third(First):
        class Meta:
            app_label = "testapp"
            proxy = True

        def _save_table(self, *args: Any, **kwargs: Any) -> Any:
            calls.append("own")
            return super()._save_table(*args, **kwargs)

    for model in (First, Second, Third):
        saving.cover(model)
    try:
        for model in (First, Second, Third):
            model(name="a").save()
        assert calls == ["mixin", "own"]
    finally:
        saving.uncover()
        saving.settle()
    assert "_save_table" not in vars(First)
    Third(name="b").save()
    assert calls == ["mixin", "own", "own"]
    assert Tag.objects.count() == 4


@pytest.fixture
def before() -> Iterator[Any]:
    """Somebody else's receivers, which hear before those that are wired later."""
    connected: list[Any] = []

    def connect(signal: Any, function: Any, sender: Any) -> None:
        signal.connect(function, sender=sender, weak=False)
        connected.append((signal, function, sender))

    yield connect
    for signal, function, sender in connected:
        signal.disconnect(function, sender=sender)


@pytest.mark.parametrize("cls", [Orders, After])
def test_what_is_collected_is_flushed_in_the_order_of_the_statements(
    wire: Any, before: Any, cls: Any
) -> None:
    def write(instance: Any, **kwargs: Any) -> None:
        Category.objects.create(name="second")
        tag = Tag.objects.create(name="third")
        tag.name = "fourth"
        tag.delete()

    before(post_save, write, Product)
    receiver = wire(cls)
    with transaction.atomic(), batch():
        Product.objects.create(name="first")
    assert receiver.flushed == [["first", "second", "third", "-fourth"]]
    receiver.flushed.clear()
    with transaction.atomic(), batch():
        Tag.objects.create(name="zeroth")
        Product.objects.create(name="first")
    assert receiver.flushed == [["zeroth", "first", "second", "third", "-fourth"]]


def test_a_rolled_back_savepoint_keeps_the_order_of_what_stays(wire: Any, before: Any) -> None:
    def write(instance: Any, **kwargs: Any) -> None:
        Category.objects.create(name="second")
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            Tag.objects.create(name="gone")
            raise ZeroDivisionError
        Tag.objects.create(name="third")

    before(post_save, write, Product)
    receiver = wire(Orders)
    Product.objects.create(name="first")
    assert receiver.flushed == [["first", "second", "third"]]


def test_an_instance_saved_into_another_database_by_its_own_save(wire: Any, before: Any) -> None:
    def copy(instance: Any, using: str, **kwargs: Any) -> None:
        if using == "default":
            name, instance.name = instance.name, "copy"
            instance.save(using="other")
            instance.name = name

    before(pre_save, copy, Plain)
    before(post_save, copy, Plain)
    receiver = wire((Orders, {"models": [Plain], "exclude": []}))
    plain = Plain(name="a")
    plain.save()
    assert sorted(map(tuple, receiver.flushed)) == [("a",), ("copy",), ("copy",)]
    assert Plain.objects.get().name == "a"
    assert Plain.objects.using("other").get().name == "copy"


def test_an_order_is_one_of_its_connection(wire: Any, before: Any) -> None:
    def copy(instance: Any, using: str, **kwargs: Any) -> None:
        if using == "default":
            Plain.objects.using("other").bulk_create([Plain(name=f"b{n}") for n in range(5)])

    before(post_save, copy, Plain)
    receiver = wire((Orders, {"models": [Plain], "exclude": []}))
    with batch("default"):
        Plain.objects.create(name="a")
        Plain.objects.create(name="c")
    assert [items for items in receiver.flushed if "a" in items] == [["a", "c"]]
