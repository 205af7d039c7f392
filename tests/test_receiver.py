"""What a receiver is; that it collects and flushes (test_batching.py tries that hard)."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction

from django_signal_kit import ModelReceiver, Receiver
from django_signal_kit.exceptions import Misconfigured
from django_signal_kit.wiring.registry import registry
from tests.apps.testapp.models import Tag

pytestmark = pytest.mark.django_db(transaction=True)

flushed: list[Any] = []


class Collects(ModelReceiver):
    models = ["testapp.Tag"]

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        flushed.append(f"heard {instance.name}")
        self.collect(instance.name)

    def flush(self, items: list[Any]) -> None:
        flushed.append(items)


class CollectsOnly(ModelReceiver):
    models = ["testapp.Tag"]
    flush_on = "before_commit"

    def post_save(self, **kwargs: Any) -> None:
        self.collect("item")


class Chooses(Receiver):
    def get_methods(self, signal_names: Any) -> Any:
        return {"setting_changed": self.anything, "post_migrate": self.anything}

    def anything(self, **kwargs: Any) -> None: ...


class Refuses(Receiver):
    def setting_changed(self, **kwargs: Any) -> None: ...

    def check(self) -> None:
        raise Misconfigured("E099", "Refuses never works.", "Do without it.")


@pytest.fixture(autouse=True)
def _forget() -> None:
    flushed.clear()


def test_what_is_collected_is_flushed_once_after_the_commit(wire: Any) -> None:
    wire(Collects)
    with transaction.atomic():
        Tag.objects.create(name="a")
        Tag.objects.create(name="b")
        assert flushed == ["heard a", "heard b"]
    assert flushed == ["heard a", "heard b", ["a", "b"]]


def test_what_is_rolled_back_is_not_flushed(wire: Any) -> None:
    wire(Collects)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        Tag.objects.create(name="a")
        raise ZeroDivisionError
    assert flushed == ["heard a"]
    Tag.objects.create(name="b")
    assert flushed == ["heard a", "heard b", ["b"]]


def test_before_the_commit_is_inside_the_transaction(wire: Any) -> None:
    wire((Collects, {"flush_on": "before_commit"}))
    with transaction.atomic():
        Tag.objects.create(name="a")
        assert flushed == ["heard a", ["a"]]


def test_a_receiver_that_collects_needs_a_flush(wire: Any) -> None:
    wire(CollectsOnly)
    with pytest.raises(NotImplementedError, match="CollectsOnly collects, but has no flush"):
        Tag.objects.create(name="a")
    assert not Tag.objects.exists()


def test_a_receiver_is_called_by_its_class_or_by_the_name_it_was_given(wire: Any) -> None:
    assert Collects().name == "Collects"
    named = wire({"RECEIVER": f"{__name__}.Collects", "NAME": "Tags"})
    assert named.name == "Tags"
    assert repr(named) == "<tests.test_receiver.Collects 'Tags'>"


def test_a_receiver_may_choose_its_signals_itself(wire: Any) -> None:
    wire(Chooses)
    assert [(c.signal_name, c.sender) for c in registry.connections] == [
        ("setting_changed", None),
        ("post_migrate", None),
    ]


def test_a_receiver_may_refuse_to_start(wire: Any) -> None:
    with pytest.raises(
        Exception, match=r"Refuses never works. Do without it. \(signal_kit.E099\)"
    ):
        wire(Refuses)
