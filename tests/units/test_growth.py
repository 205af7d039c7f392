"""What a row costs does not grow with the rows before it: counted, not timed."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from django.db import connections, transaction

from django_signal_kit import ModelReceiver, batch
from django_signal_kit.units.journal import CHUNK, get_journal
from django_signal_kit.units.pile import Pile
from django_signal_kit.units.undo import Undo
from django_signal_kit.wiring.registry import registry
from tests.apps.testapp.models import Plain, Tag

pytestmark = pytest.mark.django_db(transaction=True)

SNAPSHOTS = (
    "django_signal_kit.receivers.AuditLog",
    {"models": ["testapp.Plain"], "old_values": "snapshot"},
)


class Key:
    """Counts how often any of its kind is looked at."""

    looks = 0

    def __hash__(self) -> int:
        Key.looks += 1
        return id(self)


class Keyed(ModelReceiver):
    models = ["testapp.Tag"]
    flushed = 0

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        self.collect(instance.name, key=Key())

    def flush(self, items: list[Any]) -> None:
        self.flushed += len(items)


class Same(ModelReceiver):
    """Changes one item again and again, and collects one of each row."""

    models = ["testapp.Tag"]

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        item = self.collect({"rows": []}, key="same")
        item["rows"] = [instance.pk]
        self.collect([0], key=instance.pk)[0] += 1

    def flush(self, items: list[Any]) -> None:
        pass


@pytest.fixture
def uncollected() -> Iterator[None]:
    """The garbage collector stands still, as it does on many a server."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def fail_in_a_savepoint() -> None:
    with suppress(KeyError), transaction.atomic():
        Tag.objects.create(name="b")
        raise KeyError


def test_a_row_that_fails_looks_at_itself_alone(wire: Any) -> None:
    wire("django_signal_kit.receivers.AuditLog")
    keyed = Keyed()
    registry.connect([keyed])
    counts = []
    with transaction.atomic():
        for _ in range(3):
            Tag.objects.bulk_create([Tag(name="a") for _ in range(500)])
            Key.looks = 0
            for _ in range(5):
                fail_in_a_savepoint()
            counts.append(Key.looks)
    assert counts[0] == counts[1] == counts[2] < 50
    assert keyed.flushed == 1500


def test_what_was_saved_is_let_go_at_once(wire: Any, uncollected: None) -> None:
    wire(SNAPSHOTS, (Same, {"flush_on": "before_commit"}))
    Plain.objects.create(name="warm")
    found = []
    for opened in (suppress, batch, transaction.atomic):
        with opened():
            for _ in range(5):
                plain = Plain.objects.create(name="a")
                plain.name = "b"
                plain.save()
                found.append(weakref.ref(plain))
            del plain
            assert [ref for ref in found if ref() is not None] == []


@pytest.mark.parametrize("opened", [batch, transaction.atomic])
def test_instances_that_are_gone_leave_nothing_to_be_put_back(wire: Any, opened: Any) -> None:
    wire()
    Plain.objects.bulk_create([Plain(name="a") for _ in range(300)])
    wire(SNAPSHOTS)
    with opened():
        for plain in Plain.objects.order_by("pk").iterator(chunk_size=10):
            with transaction.atomic():
                plain.name = "b"
                plain.save()
            plain.name = "c"
            plain.save()
            assert len(get_journal(connections["default"]).undo) <= 2
    assert len(get_journal(connections["default"]).undo) == 0


def test_an_instance_saved_again_and_again_is_remembered_once_a_savepoint(wire: Any) -> None:
    wire(SNAPSHOTS)
    plain = Plain.objects.create(name="a")
    with transaction.atomic():
        for number in range(50):
            with transaction.atomic():
                plain.name = str(number)
                plain.save()
                plain.save(update_fields=["name"])
            assert len(get_journal(connections["default"]).undo) == 1
        with suppress(KeyError), transaction.atomic():
            plain.name = "rolled back"
            plain.save()
            raise KeyError
        assert plain._state.signal_kit_loaded[1]["name"] == "49"  # type: ignore[attr-defined]
        transaction.set_rollback(True)
    loaded = plain._state.signal_kit_loaded  # type: ignore[attr-defined]
    assert loaded[1]["name"] == "a"


@pytest.mark.parametrize("flush_on", ["before_commit", "after_commit"])
def test_copies_of_items_do_not_pile_up(wire: Any, flush_on: Any) -> None:
    wire((Same, {"flush_on": flush_on}))
    journal = get_journal(connections["default"])
    with batch():
        for _ in range(100):
            tag = Tag.objects.create(name="a")
            with transaction.atomic():
                tag.save()
            assert len(journal.undo) == len(journal.marks) == 0
            sid = transaction.get_connection().savepoint()
            tag.save()
            assert len(journal.undo) == 2
            transaction.savepoint_commit(sid)
        with transaction.atomic():
            for _ in range(100):
                with transaction.atomic():
                    tag.save()
                assert (len(journal.undo), len(journal.marks)) == (2, 1)
    assert (len(journal.undo), len(journal.marks)) == (0, 0)


def test_what_waits_before_the_commit_stays_few_with_a_savepoint_a_row(wire: Any) -> None:
    receiver = wire((Keyed, {"flush_on": "before_commit"}))
    most = 0
    with batch():
        for _ in range(3):
            for _ in range(10):
                with transaction.atomic():
                    Tag.objects.bulk_create([Tag(name="a") for _ in range(CHUNK // 10)])
                fail_in_a_savepoint()
                most = max(most, len(get_journal(connections["default"]).before.items))
    assert most <= CHUNK + CHUNK // 10
    assert receiver.flushed == 3 * CHUNK


# The parts


def test_a_pile_forgets_keys_with_their_items() -> None:
    pile, receiver = Pile(), Keyed()
    for number in range(10):
        pile.add(receiver, number, str(number), 1)
    pile.cut(5)
    assert [pile.find(receiver, number) for number in (4, 5)] == [4, None]
    pile.drop(2, 1)
    assert list(pile) == ["0", "1"]
    assert pile.find(receiver, 3) is None
    pile.add(receiver, 3, "again", 1)
    assert pile.take(4) == {receiver: ["again"]}
    assert pile.take() == {receiver: ["0", "1"]}
    assert (pile.find(receiver, 0), pile.first, pile.end) == (None, 4, 4)


def test_an_undo_that_is_told_of_the_death_of_a_thing_forgets_all_about_it() -> None:
    undo, found = Undo(), []
    for thing in ("a", "b", "a"):
        undo.add(thing, found.append)
    undo.forget("a")
    undo.forget("never known")
    undo.roll_back(0, "mark")
    assert (found, len(undo)) == (["mark"], 0)
