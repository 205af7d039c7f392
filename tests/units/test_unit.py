"""The unit of work: what is collected is flushed once, with its transaction or not at all."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import threading
import time
import uuid
from functools import partial
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in
from django.core.exceptions import SynchronousOnlyOperation
from django.db import IntegrityError, connection, connections, transaction
from django.db.models.signals import post_save, pre_save
from django.test import TestCase, TransactionTestCase

from django_signal_kit import ModelReceiver, Receiver, batch
from django_signal_kit.units.ids import make_id
from django_signal_kit.units.journal import get_journal
from tests.apps.testapp.models import Category, Line, Product, Tag, Token
from tests.conftest import as_entry, run_async
from tests.factories import CategoryFactory, TagFactory, UserFactory
from tests.threads import in_threads

pytestmark = pytest.mark.django_db(transaction=True)


# Django 6.1 has renamed it.
create_savepoint = getattr(transaction, "savepoint_create", None) or transaction.savepoint


class Recorder(ModelReceiver):
    """Remembers what it flushed and how many transactions were open then."""

    models = ["testapp.*"]
    flushed: list[list[Any]]
    in_transaction: list[bool]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.flushed = []
        self.in_transaction = []

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        self.collect(instance.name if hasattr(instance, "name") else instance.pk)

    def post_delete(self, instance: Any, **kwargs: Any) -> None:
        self.collect(f"-{instance}")

    def m2m_changed(self, action: str, pk_set: Any, **kwargs: Any) -> None:
        if action.startswith("post"):
            self.collect((action, pk_set))

    def flush(self, items: list[Any]) -> None:
        self.flushed.append(items)
        self.in_transaction.append(connection.in_atomic_block)


class Before(Recorder):
    flush_on = "before_commit"


class Failing(ModelReceiver):
    models = ["testapp.*"]
    flush_on = "before_commit"

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        self.collect(instance)

    def flush(self, items: list[Any]) -> None:
        raise ValueError("no flush today")


class FailingAfter(Failing):
    flush_on = "after_commit"


class Unique(Recorder):
    def post_save(self, instance: Any, **kwargs: Any) -> None:
        item = {"name": instance.name, "times": 0}
        self.collect(item, key=instance.pk)["times"] += 1


class Nested(Recorder):
    """Writes another covered row while it receives, and another when it flushes."""

    models = ["testapp.Category"]
    flush_on = "before_commit"

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        super().post_save(instance)
        if not instance.name.startswith("child"):
            Tag.objects.create(name=f"tag of {instance.name}")


class AsyncCollector(Recorder):
    flush_on = "before_commit"

    async def post_save(self, instance: Any, **kwargs: Any) -> None:  # type: ignore[override]
        self.collect(instance.name)


class AsyncFlush(Recorder):
    async def flush(self, items: list[Any]) -> None:  # type: ignore[override]
        self.flushed.append(items)


class Endless(Recorder):
    flush_on = "before_commit"

    def flush(self, items: list[Any]) -> None:
        self.collect("again")


class LoggedBefore(Failing):
    on_error = "log"


def refuse(**kwargs: Any) -> None:
    raise RuntimeError("a stranger refuses")


@pytest.fixture
def stranger() -> Any:
    """Connects a receiver that is not the kit's and that raises."""
    connected: list[tuple[Any, Any]] = []

    def connect(signal: Any, sender: Any) -> None:
        signal.connect(refuse, sender=sender)
        connected.append((signal, sender))

    yield connect
    for signal, sender in connected:
        signal.disconnect(refuse, sender=sender)


# One covered write


@pytest.mark.parametrize("cls", [Recorder, Before])
def test_each_save_in_autocommit_is_one_unit(wire: Any, cls: Any) -> None:
    receiver = wire(cls)
    for name in ("a", "b"):
        Tag.objects.create(name=name)
    assert receiver.flushed == [["a"], ["b"]]


def test_a_flush_before_the_commit_is_in_the_transaction_and_one_after_it_is_not(
    wire: Any,
) -> None:
    before, after = wire(Before, Recorder)
    Tag.objects.create(name="a")
    assert before.in_transaction == [True]
    assert after.in_transaction == [False]


def test_a_receiver_that_flushes_after_the_commit_opens_no_transaction(
    wire: Any, django_assert_num_queries: Any
) -> None:
    wire(Recorder)
    with django_assert_num_queries(1):
        Tag.objects.create(name="a")


def test_a_receiver_that_renounces_the_transaction_gets_none(
    wire: Any, django_assert_num_queries: Any
) -> None:
    receiver = wire((Before, {"atomic": False}))
    with django_assert_num_queries(1):
        Tag.objects.create(name="a")
    assert receiver.flushed == [["a"]]


def test_a_flush_that_fails_before_the_commit_takes_the_row_with_it(wire: Any) -> None:
    wire(Failing)
    tag = Tag(name="a")
    with pytest.raises(ValueError, match="no flush today"):
        tag.save()
    assert not Tag.objects.exists()


def test_after_a_rollback_by_the_unit_the_instance_is_new_again(wire: Any) -> None:
    wire(Failing)
    tag, token = Tag(name="a"), Token(name="b")
    for instance in (tag, token):
        with pytest.raises(ValueError):
            instance.save()
    assert (tag.pk, tag._state.adding, tag._state.db) == (None, True, None)
    assert token._state.adding
    wire()
    tag.save()
    token.save()
    assert Tag.objects.get() == tag
    assert Token.objects.get() == token


def test_after_a_rollback_of_a_deletion_the_instance_has_its_key_again(wire: Any) -> None:
    tag = TagFactory()
    key = tag.pk

    wire(FailingDelete)
    with pytest.raises(ValueError):
        tag.delete()
    assert tag.pk == key
    assert Tag.objects.filter(pk=key).exists()


class FailingDelete(Failing):
    def post_delete(self, instance: Any, **kwargs: Any) -> None:
        self.collect(instance)


def test_a_flush_that_fails_after_the_commit_is_told_and_harms_nobody(
    wire: Any, caplog: Any, failures: Any
) -> None:
    failing, after = wire(FailingAfter, Recorder)
    Tag.objects.create(name="a")
    assert Tag.objects.get().name == "a"
    assert after.flushed == [["a"]]
    [failure] = failures
    assert (failure["receiver"], failure["signal_name"]) == (failing, "flush")
    assert str(failure["exception"]) == "no flush today"
    assert "no flush today" in caplog.text


def test_a_logged_failure_before_the_commit_leaves_row_and_transaction_whole(wire: Any) -> None:
    wire(LoggedBefore)
    with transaction.atomic():
        Tag.objects.create(name="a")
        Tag.objects.create(name="b")
    assert Tag.objects.count() == 2


def test_a_write_that_fails_leaves_nothing_collected(wire: Any) -> None:
    before, after = wire(Before, Recorder)
    Token.objects.create(pk="00000000-0000-0000-0000-000000000001", name="a")
    with pytest.raises(IntegrityError):
        Token(pk="00000000-0000-0000-0000-000000000001", name="b").save(force_insert=True)
    Token.objects.create(name="c")
    assert before.flushed == after.flushed == [["a"], ["c"]]


def test_a_stranger_that_fails_after_the_row_in_autocommit_takes_the_row_with_him(
    wire: Any, stranger: Any
) -> None:
    before = wire(Before)
    stranger(post_save, Tag)
    with pytest.raises(RuntimeError):
        Tag.objects.create(name="a")
    assert not Tag.objects.exists()
    assert before.flushed == []


def test_without_a_transaction_of_our_own_the_row_stays_and_what_follows_happens(
    wire: Any, stranger: Any
) -> None:
    after = wire(Recorder)
    stranger(post_save, Tag)
    with pytest.raises(RuntimeError):
        Tag.objects.create(name="a")
    assert Tag.objects.count() == 1
    assert after.flushed == [["a"]]


def test_a_renounced_transaction_still_flushes_what_stays(wire: Any, stranger: Any) -> None:
    receiver = wire((Before, {"atomic": False}))
    stranger(post_save, Tag)
    with pytest.raises(RuntimeError):
        Tag.objects.create(name="a")
    assert Tag.objects.count() == 1
    assert receiver.flushed == [["a"]]


def test_a_whole_cascade_is_one_unit(wire: Any) -> None:
    product = Product.objects.create(name="p")
    for text in "ab":
        Line.objects.create(product=product, text=text)
    before, after = wire(Before, Recorder)
    product.delete()
    assert [len(items) for items in before.flushed] == [3]
    assert [len(items) for items in after.flushed] == [3]


def test_one_many_to_many_call_is_one_unit(wire: Any) -> None:
    product = Product.objects.create(name="p")
    tags = TagFactory.create_batch(3)
    product.tags.add(tags[0])
    before = wire(Before)
    product.tags.set(tags[1:])
    assert before.flushed == [
        [("post_remove", {tags[0].pk}), ("post_add", {tags[1].pk, tags[2].pk})]
    ]


def test_what_a_receiver_writes_belongs_to_the_unit_that_it_received(wire: Any) -> None:
    nested, recorder = wire(Nested, (Before, {"models": ["testapp.Tag"]}))
    CategoryFactory(name="c")
    assert nested.flushed == [["c"]]
    assert recorder.flushed == [["tag of c"]]
    assert recorder.in_transaction == [True]


def test_an_endless_flush_ends_with_an_error_that_names_it(wire: Any) -> None:
    wire(Endless)
    with pytest.raises(RuntimeError, match="Endless"):
        Tag.objects.create(name="a")
    assert not Tag.objects.exists()


# In a user's own transaction


def test_in_a_users_transaction_no_savepoint_is_made(
    wire: Any, django_assert_num_queries: Any
) -> None:
    wire(Before)
    with transaction.atomic(), django_assert_num_queries(1):
        Tag.objects.create(name="a")


def test_in_a_users_transaction_each_save_flushes_before_and_all_together_after(
    wire: Any,
) -> None:
    before, after = wire(Before, Recorder)
    with transaction.atomic():
        for name in "abc":
            Tag.objects.create(name=name)
        assert before.flushed == [["a"], ["b"], ["c"]]
        assert after.flushed == []
    assert after.flushed == [["a", "b", "c"]]


def test_a_rolled_back_transaction_leaves_nothing_for_the_next(wire: Any) -> None:
    after = wire(Recorder)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        Tag.objects.create(name="a")
        raise ZeroDivisionError
    Tag.objects.create(name="b")
    with transaction.atomic():
        Tag.objects.create(name="c")
    assert after.flushed == [["b"], ["c"]]


def test_a_unit_that_opens_its_own_transaction_does_not_flush_what_was_rolled_back(
    wire: Any,
) -> None:
    _, after = wire((Before, {"models": ["testapp.Category"]}), (Recorder, {}))
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        Tag.objects.create(name="a")
        raise ZeroDivisionError
    Category.objects.create(name="b")
    assert after.flushed == [["b"]]


def test_a_savepoint_takes_what_was_collected_in_it(wire: Any) -> None:
    after = wire(Recorder)
    with transaction.atomic():
        Tag.objects.create(name="a")
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            Tag.objects.create(name="b")
            raise ZeroDivisionError
        Tag.objects.create(name="c")
    assert after.flushed == [["a", "c"]]


def test_the_first_savepoint_may_be_the_one_that_rolls_back(wire: Any) -> None:
    after = wire(Recorder)
    with transaction.atomic():
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            Tag.objects.create(name="a")
            raise ZeroDivisionError
        Tag.objects.create(name="b")
    assert after.flushed == [["b"]]


def test_a_savepoint_by_hand_takes_what_was_collected_since(wire: Any) -> None:
    after = wire(Recorder)
    with transaction.atomic():
        first = create_savepoint()
        Tag.objects.create(name="a")
        second = create_savepoint()
        Tag.objects.create(name="b")
        transaction.savepoint_rollback(second)
        Tag.objects.create(name="c")
        transaction.savepoint_commit(first)
    assert after.flushed == [["a", "c"]]


def test_a_savepoint_made_before_anything_was_collected_takes_all(wire: Any) -> None:
    after = wire(Recorder)
    with transaction.atomic():
        sid = create_savepoint()
        Tag.objects.create(name="a")
        transaction.savepoint_rollback(sid)
    Tag.objects.create(name="b")
    assert after.flushed == [["b"]]


def test_in_a_batch_a_savepoint_takes_what_was_to_be_flushed_before_the_commit(
    wire: Any,
) -> None:
    before = wire(Before)
    with batch():
        Tag.objects.create(name="a")
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            Tag.objects.create(name="b")
            raise ZeroDivisionError
        Tag.objects.create(name="c")
    assert before.flushed == [["a", "c"]]


def test_a_row_never_stays_without_its_entry_even_if_the_error_is_swallowed(wire: Any) -> None:
    wire(Failing)
    with transaction.atomic():
        with pytest.raises(ValueError):
            Tag.objects.create(name="a")
        assert connection.needs_rollback
    assert not Tag.objects.exists()


def test_a_stranger_that_fails_after_the_row_marks_the_users_transaction(
    wire: Any, stranger: Any
) -> None:
    wire(Before)
    stranger(post_save, Tag)
    with transaction.atomic():
        with pytest.raises(RuntimeError):
            Tag.objects.create(name="a")
        assert connection.needs_rollback


def test_an_error_before_the_sql_leaves_the_users_transaction_usable(
    wire: Any, stranger: Any
) -> None:
    before = wire(Before)
    stranger(pre_save, Tag)
    with transaction.atomic():
        with pytest.raises(RuntimeError):
            Tag.objects.create(name="a")
        Category.objects.create(name="b")
    assert Category.objects.count() == 1
    assert before.flushed == [["b"]]


class PointsTo(ModelReceiver):
    """Sets a foreign key, which tells a new instance its database, and then refuses."""

    models = ["testapp.Product"]

    def pre_save(self, instance: Any, **kwargs: Any) -> None:
        instance.category = Category.objects.get()
        raise RuntimeError


def test_a_foreign_key_set_before_the_sql_is_no_write(wire: Any) -> None:
    Category.objects.create(name="c")
    wire(Before, PointsTo)
    with transaction.atomic():
        with pytest.raises(RuntimeError):
            Product.objects.create(name="a")
        assert not connection.needs_rollback
        stored = Tag.objects.create(name="b")
        assert stored._state.adding is False
        stored.save()
        assert stored._state.adding is False


def test_a_stored_instance_is_as_it_was_after_an_error_before_the_sql(
    wire: Any, stranger: Any
) -> None:
    tag = TagFactory()
    wire(Before)
    stranger(pre_save, Tag)
    with transaction.atomic():
        with pytest.raises(RuntimeError):
            tag.save()
        assert not connection.needs_rollback
    assert tag._state.adding is False


# batch()


def test_a_batch_flushes_once(wire: Any) -> None:
    before, after = wire(Before, Recorder)
    with batch():
        for name in "abc":
            Tag.objects.create(name=name)
        assert before.flushed == after.flushed == []
    assert before.flushed == after.flushed == [["a", "b", "c"]]
    assert before.in_transaction == [True]
    assert after.in_transaction == [False]


def test_batches_nest_into_one(wire: Any) -> None:
    before = wire(Before)
    with batch():
        Tag.objects.create(name="a")
        with batch():
            Tag.objects.create(name="b")
        assert before.flushed == []
    assert before.flushed == [["a", "b"]]


def test_a_batch_that_fails_leaves_no_row_and_no_item(wire: Any) -> None:
    before, after = wire(Before, Recorder)
    with pytest.raises(ZeroDivisionError), batch():
        Tag.objects.create(name="a")
        raise ZeroDivisionError
    Tag.objects.create(name="b")
    assert before.flushed == after.flushed == [["b"]]
    assert [tag.name for tag in Tag.objects.all()] == ["b"]


def test_a_batch_that_fails_inside_a_users_transaction_marks_it_if_it_wrote(wire: Any) -> None:
    wire(Before)
    with transaction.atomic():
        with pytest.raises(ZeroDivisionError), batch():
            Tag.objects.create(name="a")
            raise ZeroDivisionError
        assert connection.needs_rollback
    assert not Tag.objects.exists()


def test_a_batch_that_fails_before_it_wrote_leaves_the_users_transaction_usable(
    wire: Any,
) -> None:
    wire(Before)
    with transaction.atomic():
        with pytest.raises(ZeroDivisionError), batch():
            raise ZeroDivisionError
        Tag.objects.create(name="a")
    assert Tag.objects.count() == 1


def test_batch_decorates_a_function_that_may_call_itself(wire: Any) -> None:
    before = wire(Before)

    @batch()
    def create(depth: int) -> None:
        Tag.objects.create(name=str(depth))
        if depth:
            create(depth - 1)

    create(2)
    create(0)
    assert before.flushed == [["2", "1", "0"], ["0"]]


def test_batch_without_brackets_says_what_is_missing() -> None:
    with pytest.raises(TypeError, match=r"@batch\(\)"):
        batch(lambda: None)


def test_batch_in_a_coroutine_says_what_to_do() -> None:
    async def write() -> None:
        with batch():
            pass

    with pytest.raises(SynchronousOnlyOperation, match="sync_to_async"):
        asyncio.run(write())


def test_batch_works_through_sync_to_async(wire: Any) -> None:
    before = wire(Before)

    def create() -> None:
        with batch():
            Tag.objects.create(name="a")
            Tag.objects.create(name="b")

    async def main() -> None:
        await sync_to_async(create)()
        await Tag.objects.acreate(name="c")

    run_async(main())
    assert before.flushed == [["a", "b"], ["c"]]


def test_a_thousand_saves_in_one_transaction_are_one_flush_after_the_commit(wire: Any) -> None:
    after = wire(Recorder)
    with transaction.atomic():
        for number in range(1000):
            Tag(name=str(number)).save()
    assert [len(items) for items in after.flushed] == [1000]


# Items


def test_an_item_with_the_same_key_is_the_one_that_waits(wire: Any) -> None:
    unique = wire(Unique)
    with transaction.atomic():
        tag = Tag.objects.create(name="a")
        tag.save()
        tag.save()
    assert unique.flushed == [[{"name": "a", "times": 3}]]


def test_a_key_of_a_rolled_back_savepoint_is_free_again(wire: Any) -> None:
    unique = wire(Unique)
    tag = TagFactory(name="a")
    unique.flushed.clear()
    with transaction.atomic():
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            tag.save()
            raise ZeroDivisionError
        tag.save()
    assert unique.flushed == [[{"name": "a", "times": 1}]]


def test_an_async_receiver_collects_into_the_unit_that_called_it(wire: Any) -> None:
    receiver = wire(AsyncCollector)
    with batch():
        Tag.objects.create(name="a")
        Tag.objects.create(name="b")
    run_async(Tag.objects.acreate(name="c"))
    assert receiver.flushed == [["a", "b"], ["c"]]


def test_an_async_flush_is_awaited(wire: Any) -> None:
    receiver = wire(AsyncFlush)
    Tag.objects.create(name="a")
    assert receiver.flushed == [["a"]]


class OfLogins(Receiver):
    flushed: list[Any]

    def user_logged_in(self, user: Any, **kwargs: Any) -> None:
        self.collect(user.username)

    def flush(self, items: list[Any]) -> None:
        self.flushed = items


def test_a_signal_outside_any_write_is_a_unit_of_its_own(wire: Any) -> None:
    receiver = wire(OfLogins)
    user_logged_in.send(sender=User, request=None, user=UserFactory(username="ann"))
    assert receiver.flushed == ["ann"]


def test_a_signal_outside_any_write_waits_for_the_users_commit(wire: Any) -> None:
    receiver = wire(OfLogins)
    receiver.flushed = []
    with transaction.atomic():
        user_logged_in.send(sender=User, request=None, user=UserFactory(username="ann"))
        assert receiver.flushed == []
    assert receiver.flushed == ["ann"]


# Threads and databases


def test_threads_never_share_a_unit(wire: Any) -> None:
    before = wire(Before)
    barrier = threading.Barrier(2, timeout=20)

    def write(prefix: str) -> None:
        barrier.wait()
        for number in range(20):
            Tag.objects.create(name=f"{prefix}{number}")

    in_threads(*(partial(write, prefix) for prefix in "ab"))
    assert sorted(before.flushed) == sorted([f"{p}{n}"] for p in "ab" for n in range(20))


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_two_databases_keep_two_units(wire: Any) -> None:
    after = wire(Recorder)
    with transaction.atomic():
        Tag.objects.create(name="a")
        with transaction.atomic(using="other"):
            Tag.objects.using("other").create(name="b")
        assert after.flushed == [["b"]]
    assert after.flushed == [["b"], ["a"]]


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_a_batch_is_about_one_database(wire: Any) -> None:
    before = wire(Before)
    with batch(using="other"):
        Tag.objects.using("other").create(name="a")
        Tag.objects.create(name="b")
        assert before.flushed == [["b"]]
    assert before.flushed == [["b"], ["a"]]


# Under Django's own test cases


class UnderTestCase(TestCase):
    """A TestCase's transaction is never committed, and is not the user's."""

    def setUp(self) -> None:
        override = self.settings(
            SIGNAL_KIT={"RECEIVERS": [as_entry(Recorder), as_entry(Before), as_entry(Failing)]}
        )
        override.enable()
        self.addCleanup(override.disable)
        from django_signal_kit.wiring.registry import registry

        self.after, self.before, self.failing = registry.receivers
        self.failing.flush = lambda items: None  # type: ignore[method-assign]

    def test_callbacks_are_captured(self) -> None:
        Tag.objects.create(name="outside")
        with self.captureOnCommitCallbacks(execute=True) as callbacks:
            Tag.objects.create(name="a")
        assert len(callbacks) == 1
        assert self.after.flushed == [["a"]]

    def test_an_own_transaction_is_one_flush(self) -> None:
        with self.captureOnCommitCallbacks(execute=True), transaction.atomic():
            for name in "abc":
                Tag.objects.create(name=name)
        assert self.after.flushed == [["a", "b", "c"]]

    def test_a_key_that_waits_from_outside_hides_nothing(self) -> None:
        from django_signal_kit.wiring.registry import registry

        with self.settings(SIGNAL_KIT={"RECEIVERS": [as_entry(Unique)]}):
            unique: Any = registry.receivers[0]
            tag = Tag.objects.create(name="a")
            with self.captureOnCommitCallbacks(execute=True):
                tag.save()
            assert unique.flushed == [[{"name": "a", "times": 1}]]

    def test_a_failing_save_leaves_the_test_usable(self) -> None:
        def fail(items: list[Any]) -> None:
            raise ValueError

        self.failing.flush = fail  # type: ignore[method-assign]
        with pytest.raises(ValueError):
            Tag.objects.create(name="a")
        assert not Tag.objects.exists()

    def test_the_flush_before_the_commit_runs(self) -> None:
        Tag.objects.create(name="a")
        assert self.before.flushed == [["a"]]


class UnderTransactionTestCase(TransactionTestCase):
    def test_nothing_waits_from_another_test(self) -> None:
        journal = get_journal(connections["default"])
        assert journal.before.items == []


def test_no_two_units_have_the_same_id() -> None:
    ids = [make_id() for _ in range(100)]
    assert len(set(ids)) == 100
    assert {(number.version, number.variant) for number in ids} == {(7, uuid.RFC_4122)}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_process_that_is_forked_makes_ids_of_its_own() -> None:
    """What they are made of by chance differs, whatever the clock says."""
    code = (
        "import os; from django_signal_kit.units.ids import make_id; make_id(); "
        "os.fork() and os.wait(); print(make_id().int & (1 << 62) - 1, flush=True)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second = run.stdout.split()
    assert first != second


def test_nobody_can_have_ids_repeated() -> None:
    random.seed(1)
    first = make_id()
    random.seed(1)
    assert make_id().int & (1 << 62) - 1 != first.int & (1 << 62) - 1


def test_the_id_of_a_unit_tells_when_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clocks step back and stand still, so that the order is shown with times of our own."""
    half_past = 1_700_000_000_000_500_000  # nanoseconds: half a millisecond
    ids = []
    for now in (
        half_past - 300,
        half_past,
        half_past + 300,
        half_past + 499_999,
        half_past + 500_000,
    ):
        monkeypatch.setattr(time, "time_ns", partial(int, now))
        ids.append(make_id())
    assert ids == sorted(ids)
    assert [number.int >> 80 for number in ids] == [1_700_000_000_000] * 4 + [1_700_000_000_001]
    assert [number.int >> 64 & 0xFFF for number in ids] == [2046, 2048, 2049, 4095, 0]
