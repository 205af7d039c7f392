"""What is committed is acted upon once, and what is rolled back never, however it comes about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import (
    DatabaseError,
    Error,
    IntegrityError,
    InterfaceError,
    OperationalError,
    connection,
    transaction,
)
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.signals import post_save, pre_save
from django.test.utils import CaptureQueriesContext

from django_signal_kit import ModelReceiver, batch
from django_signal_kit.wiring.registry import registry
from tests.apps.testapp.models import Category, Club, Product, Restaurant, Tag, Token

pytestmark = pytest.mark.django_db(transaction=True)

create_savepoint = getattr(transaction, "savepoint_create", None) or transaction.savepoint


class Told(ModelReceiver):
    """Acts after the commit."""

    models = ["testapp.*", "auth.User"]
    exclude = ["testapp.Club"]
    flushed: list[Any]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.flushed = []

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        self.collect(str(getattr(instance, "name", instance)))

    def post_delete(self, instance: Any, **kwargs: Any) -> None:
        self.collect(f"-{instance.name}")

    def flush(self, items: list[Any]) -> None:
        self.flushed += items


class Written(Told):
    """Writes, before the commit, rows that nobody covers."""

    flush_on = "before_commit"

    def flush(self, items: list[Any]) -> None:
        self.flushed += items
        Club.objects.bulk_create(Club(name=item) for item in items)


class Second(Told):
    pass


@pytest.fixture
def hear() -> Iterator[Any]:
    """Connects functions that are not the kit's for the length of a test."""
    connected: list[tuple[Any, Any, Any]] = []

    def connect(signal: Any, sender: Any, function: Any) -> None:
        signal.connect(function, sender=sender, weak=False)
        connected.append((signal, sender, function))

    yield connect
    for signal, sender, function in connected:
        signal.disconnect(function, sender=sender)


@pytest.fixture
def manual() -> Iterator[None]:
    """Autocommit is off."""
    transaction.set_autocommit(False)
    try:
        yield
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)


def break_down() -> None:
    raise ConnectionError("the broker is down")


def written() -> list[str]:
    return sorted(Club.objects.values_list("name", flat=True))


def tags() -> list[str]:
    return sorted(Tag.objects.values_list("name", flat=True))


# Commit hooks that raise


@pytest.mark.parametrize("robust", [False, True])
@pytest.mark.parametrize("cls", [Told, Written])
def test_a_hook_that_raises_is_no_failed_commit(
    wire: Any, hear: Any, cls: Any, robust: bool
) -> None:
    receiver = wire(cls)
    hear(
        post_save,
        Tag,
        lambda **kwargs: transaction.on_commit(break_down, robust=robust),
    )
    tag = Tag(name="a")
    for _ in range(2):
        with suppress(ConnectionError):
            tag.save()
        assert Tag.objects.get().pk == tag.pk
        assert (tag._state.adding, tag._state.db) == (False, "default")
    assert receiver.flushed == ["a", "a"]


def test_a_hook_that_raises_leaves_a_deleted_instance_without_its_key(
    wire: Any, hear: Any
) -> None:
    tag = Tag.objects.create(name="a")
    before, after = wire(Written, Told)
    with pytest.raises(ConnectionError), batch():
        transaction.on_commit(break_down)
        tag.delete()
    assert (tag.pk, tags(), written(), after.flushed) == (None, [], ["-a"], ["-a"])
    assert before.flushed == ["-a"]


@pytest.mark.parametrize("opened", [transaction.atomic, batch])
@pytest.mark.parametrize("error", [ConnectionError, KeyboardInterrupt])
def test_no_hook_keeps_from_us_what_is_to_be_done(wire: Any, opened: Any, error: Any) -> None:
    first, second = wire(Told, Second)

    def fail() -> None:
        raise error

    with pytest.raises(error), opened():
        transaction.on_commit(fail)
        Tag.objects.create(name="a")
        transaction.on_commit(fail)
    assert first.flushed == second.flushed == ["a"]
    Tag.objects.create(name="b")
    assert first.flushed == second.flushed == ["a", "b"]


def test_a_flush_that_writes_runs_no_hook_of_others_and_loses_none(wire: Any) -> None:
    ran: list[str] = []

    class Writing(Told):
        models = ["testapp.Tag"]

        def flush(self, items: list[Any]) -> None:
            super().flush(items)
            with transaction.atomic():
                Category.objects.create(name="of the flush")
            assert ran == []
            with suppress(KeyError), transaction.atomic():
                Category.objects.create(name="rolled back")
                raise KeyError

    receiver = wire(Told)
    writing = Writing()
    registry.connect([writing, receiver])
    with transaction.atomic():
        transaction.on_commit(lambda: ran.append("first"))
        Tag.objects.create(name="a")
        transaction.on_commit(lambda: ran.append("second"))
    assert ran == ["first", "second"]
    assert (writing.flushed, receiver.flushed) == (["a"], ["of the flush", "a"])


# Autocommit turned off


@pytest.mark.usefixtures("manual")
def test_with_autocommit_off_all_waits_for_the_commit(wire: Any) -> None:
    _, after = wire(Written, Told)
    Tag.objects.create(name="a")
    assert (after.flushed, written()) == ([], ["a"])
    connection.commit()
    assert after.flushed == ["a"]
    transaction.rollback()
    assert (tags(), written(), after.flushed) == (["a"], ["a"], ["a"])


@pytest.mark.usefixtures("manual")
@pytest.mark.parametrize("bulk", [False, True])
def test_with_autocommit_off_a_rollback_takes_all_back(wire: Any, bulk: bool) -> None:
    before, after = wire(Written, Told)
    if bulk:
        Tag.objects.bulk_create([Tag(name="a"), Tag(name="b")])
    else:
        Tag.objects.create(name="a")
        with batch():
            Tag.objects.create(name="b")
    assert before.flushed == ["a", "b"]
    transaction.rollback()
    assert (tags(), written(), after.flushed) == ([], [], [])
    Tag.objects.create(name="c")
    transaction.commit()
    assert (tags(), written(), after.flushed) == (["c"], ["c"], ["c"])


@pytest.mark.usefixtures("manual")
def test_with_autocommit_off_a_failing_save_takes_back_itself_alone(wire: Any, hear: Any) -> None:
    _, after = wire(Written, Told)
    Tag.objects.create(name="a")

    def refuse(**kwargs: Any) -> None:
        raise KeyError

    hear(post_save, Category, refuse)
    category = Category(name="b")
    with pytest.raises(KeyError):
        category.save()
    assert (category.pk, category._state.adding) == (None, True)
    transaction.commit()
    assert (tags(), Category.objects.count(), written()) == (["a"], 0, ["a"])
    assert after.flushed == ["a"]


@pytest.mark.usefixtures("manual")
def test_with_autocommit_off_a_flush_finds_the_connection_as_elsewhere(wire: Any) -> None:
    seen: list[Any] = []

    class Looks(Told):
        def flush(self, items: list[Any]) -> None:
            transaction.on_commit(lambda: seen.append(connection.get_autocommit()))
            Club.objects.create(name="of the flush")

    wire(Told)
    registry.connect([Looks()])
    Tag.objects.create(name="a")
    transaction.commit()
    assert seen == [True]
    assert not connection.get_autocommit()
    transaction.rollback()
    assert written() == ["of the flush"]
    # A transaction that the flush left open would forbid it on PostgreSQL.
    transaction.rollback()
    transaction.set_autocommit(True)
    transaction.set_autocommit(False)


def test_turning_autocommit_on_commits_what_the_database_commits_by_it(wire: Any) -> None:
    after = wire(Told)
    transaction.set_autocommit(False)
    try:
        Tag.objects.create(name="a")
        try:
            transaction.set_autocommit(True)
        except DatabaseError:
            # PostgreSQL wants to be told what is to become of the transaction.
            assert after.flushed == []
            transaction.rollback()
    finally:
        transaction.set_autocommit(True)
    assert after.flushed == tags()


def test_autocommit_may_be_off_from_the_start(wire: Any) -> None:
    _, after = wire(Written, Told)
    connection.close()
    connection.settings_dict["AUTOCOMMIT"] = False
    try:
        Tag.objects.create(name="a")
        assert after.flushed == []
        transaction.commit()
        Tag.objects.create(name="b")
        transaction.rollback()
        Tag.objects.create(name="c")
        connection.close()
    finally:
        connection.close()
        connection.settings_dict["AUTOCOMMIT"] = True
    assert (tags(), written(), after.flushed) == (["a"], ["a"], ["a"])


@pytest.mark.usefixtures("manual")
def test_what_atomic_commits_there_is_known_to_be_committed(wire: Any) -> None:
    after = wire(Told)
    with transaction.atomic():
        Tag.objects.create(name="a")
    # SQLite has committed it already: its outermost savepoint was its transaction.
    transaction.rollback()
    assert after.flushed == tags()


# set_rollback()


@pytest.mark.parametrize("cls", [Told, Written])
@pytest.mark.parametrize("inside", [True, False])
def test_a_dry_run_leaves_nothing_and_raises_nothing(wire: Any, cls: Any, inside: bool) -> None:
    receiver = wire(cls)
    tag = Tag.objects.create(name="a")
    receiver.flushed.clear()
    if inside:
        with batch():
            tag.delete()
            Tag.objects.create(name="b")
            transaction.set_rollback(True)
    else:
        with transaction.atomic(), batch():
            tag.delete()
            Tag.objects.create(name="b")
            transaction.set_rollback(True)
    assert (tags(), receiver.flushed) == (["a"], [])
    Tag.objects.create(name="c")
    assert receiver.flushed == ["c"]


def test_a_block_that_is_kept_after_all_flushes_what_it_kept(wire: Any) -> None:
    _, after = wire(Written, Told)
    with transaction.atomic():
        with batch():
            Tag.objects.create(name="a")
            sid = create_savepoint()
            Tag.objects.create(name="b")
            transaction.set_rollback(True)
        # Django says nothing to the database before it is set to False.
        transaction.set_rollback(False)
        transaction.savepoint_rollback(sid)
    assert (tags(), written(), after.flushed) == (["a"], ["a"], ["a"])


def test_a_block_that_is_not_rolled_back_after_all_is_flushed(wire: Any) -> None:
    _, after = wire(Written, Told)
    with transaction.atomic():
        with batch():
            Tag.objects.create(name="a")
            transaction.set_rollback(True)
        transaction.set_rollback(False)
    assert tags() == written() == after.flushed == ["a"]


def test_a_savepoint_that_outlives_its_block_takes_back_what_is_younger(wire: Any) -> None:
    _, after = wire(Written, Told)
    with transaction.atomic():
        with batch():
            Tag.objects.create(name="a")
            outer = create_savepoint()
            Tag.objects.create(name="b")
            inner = create_savepoint()
            Tag.objects.create(name="c")
        assert written() == ["a", "b", "c"]
        transaction.savepoint_rollback(inner)
        assert written() == ["a", "b"]
        Tag.objects.create(name="d")
        transaction.savepoint_rollback(outer)
        assert written() == ["a"]
        Tag.objects.create(name="e")
    assert tags() == written() == after.flushed == ["a", "e"]


def test_a_save_that_a_receiver_has_marked_for_rollback_does_not_pass_for_done(
    wire: Any, hear: Any
) -> None:
    _, after = wire(Written, Told)
    hear(post_save, Tag, lambda **kwargs: transaction.set_rollback(True))
    tag = Tag(name="a")
    with pytest.raises(transaction.TransactionManagementError):
        tag.save()
    assert (tag.pk, tags(), written(), after.flushed) == (None, [], [], [])


# Connections that are closed or lost


@pytest.mark.parametrize("opened", [transaction.atomic, batch])
def test_a_connection_closed_in_a_block_keeps_nothing_of_it(wire: Any, opened: Any) -> None:
    _, after = wire(Written, Told)
    with transaction.atomic():
        Tag.objects.create(name="a")
    with suppress(Error), opened():
        Tag.objects.create(name="b")
        connection.close()
    Tag.objects.create(name="c")
    with transaction.atomic():
        Tag.objects.create(name="d")
    assert tags() == written() == after.flushed == ["a", "c", "d"]


@pytest.mark.parametrize("first", [True, False])
def test_a_receiver_that_closes_the_connection_loses_the_save_aloud(
    wire: Any, hear: Any, first: bool
) -> None:
    if first:
        hear(post_save, Tag, lambda **kwargs: connection.close())
    _, after = wire(Written, Told)
    if not first:
        hear(post_save, Tag, lambda **kwargs: connection.close())
    tag = Tag(name="a")
    with pytest.raises(InterfaceError, match="nothing of it is kept"):
        tag.save()
    assert (tag.pk, tag._state.adding) == (None, True)
    assert (tags(), written(), after.flushed) == ([], [], [])


def test_a_connection_closed_in_autocommit_takes_nothing_back(wire: Any, hear: Any) -> None:
    after = wire(Told)
    hear(post_save, Tag, lambda **kwargs: connection.close())
    Tag.objects.create(name="a")
    assert tags() == after.flushed == ["a"]


def test_a_dropped_connection_takes_back_what_was_not_committed(wire: Any) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("one connection ends another on PostgreSQL here")
    _, after = wire(Written, Told)
    tag = Tag.objects.create(name="a")
    other = connection.copy()
    lost = Tag(name="b")
    with pytest.raises(Error), transaction.atomic():
        tag.name = "never"
        tag.save()
        kill(other)
        lost.save()
    with pytest.raises(Error):
        kill(other)
        lost.save()
    # Django looks for a new connection when it is told that this one is broken.
    connection.close()
    assert (lost.pk, lost._state.adding) == (None, True)
    lost.save()
    assert tags() == written() == after.flushed == ["a", "b"]


def kill(other: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
    other.close()


# Interrupts


class Interrupted(Told):
    raises: type[BaseException] | None = None

    def flush(self, items: list[Any]) -> None:
        super().flush(items)
        if self.raises is not None:
            raise self.raises


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("opened", [transaction.atomic, suppress])
def test_an_interrupt_in_a_flush_goes_on_when_the_others_have_done_theirs(
    wire: Any, opened: Any, interrupt: Any
) -> None:
    first, second = wire((Interrupted, {"raises": interrupt}), Second)
    with pytest.raises(interrupt), opened():
        Tag.objects.create(name="a")
    assert (tags(), first.flushed, second.flushed) == (["a"], ["a"], ["a"])
    first.raises = None
    Tag.objects.create(name="b")
    assert first.flushed == second.flushed == ["a", "b"]


def test_an_interrupt_before_the_commit_takes_the_write_back(wire: Any) -> None:
    class Stops(Written):
        def flush(self, items: list[Any]) -> None:
            raise KeyboardInterrupt

    after = wire(Told)
    registry.connect([Stops(), after])
    tag = Tag(name="a")
    with pytest.raises(KeyboardInterrupt):
        tag.save()
    assert (tag.pk, tags(), after.flushed) == (None, [], [])


# What fails takes back what is its own


class Account(ModelReceiver):
    """Makes a user for each tag, and fails."""

    models = ["testapp.Tag", "auth.User"]
    on_error = "log"
    flushed: list[Any]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.flushed = []

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        self.collect(str(instance))
        if isinstance(instance, Tag):
            User.objects.create(username=instance.name)
            raise KeyError

    def flush(self, items: list[Any]) -> None:
        self.flushed += items


@pytest.mark.parametrize("flush_on", ["before_commit", "after_commit"])
def test_what_a_logged_receiver_wrote_in_autocommit_is_acted_upon(
    wire: Any, flush_on: Any
) -> None:
    account, after = wire(
        (Account, {"atomic": False}), (Told, {"flush_on": flush_on, "atomic": False})
    )
    Tag.objects.create(name="ann")
    assert User.objects.count() == 1
    assert Counter(after.flushed) == Counter(["ann", "ann"])
    # Of its own two items one was about what it has made, and the other about where it failed.
    assert account.flushed == ["ann"]


def test_what_a_logged_receiver_wrote_in_a_transaction_is_taken_back(wire: Any) -> None:
    account, after = wire(Account, Told)
    with transaction.atomic():
        Tag.objects.create(name="ann")
    assert (User.objects.count(), after.flushed, account.flushed) == (0, ["ann"], [])


@pytest.mark.usefixtures("manual")
def test_what_a_logged_receiver_wrote_with_autocommit_off_is_taken_back(wire: Any) -> None:
    account, after = wire(Account, Told)
    Tag.objects.create(name="ann")
    transaction.commit()
    assert (User.objects.count(), after.flushed, account.flushed) == (0, ["ann"], [])


def test_what_was_made_before_an_insert_that_fails_is_acted_upon(wire: Any, hear: Any) -> None:
    after = wire(Told)
    key = "00000000-0000-0000-0000-000000000001"
    Token.objects.create(pk=key, name="a")
    hear(pre_save, Token, lambda **kwargs: User.objects.create(username="ann"))
    with pytest.raises(IntegrityError):
        Token(pk=key, name="b").save(force_insert=True)
    assert after.flushed == ["a", "ann"]


def test_what_waits_before_a_transaction_is_not_that_transactions(wire: Any, hear: Any) -> None:
    """A receiver without a transaction opens one of its own, which is not about the write."""
    seen: list[list[Any]] = []

    class Early(Told):
        def pre_save(self, instance: Any, **kwargs: Any) -> None:
            self.collect(f"early {instance}")

    def write(**kwargs: Any) -> None:
        with suppress(KeyError), transaction.atomic():
            Category.objects.create(name="rolled back")
            raise KeyError
        with transaction.atomic():
            Category.objects.create(name="kept")
        seen.append(list(early.flushed))

    wire(Told)
    early = Early()
    registry.connect([early])
    hear(pre_save, Tag, write)
    Tag.objects.create(name="a")
    assert seen == [["early kept", "kept"]]
    assert early.flushed == ["early kept", "kept", "early a", "a"]


def test_a_multi_table_save_that_fails_in_its_own_transaction_keeps_what_was_before(
    wire: Any, hear: Any
) -> None:
    after = wire(Told)
    first = Restaurant.objects.create(name="a")
    hear(pre_save, Restaurant, lambda **kwargs: Category.objects.create(name="kept"))
    with pytest.raises(IntegrityError):
        Restaurant(pk=first.pk, name="b").save(force_insert=True)
    assert after.flushed == ["a", "kept"]


# Items that are changed in a savepoint


@dataclass(slots=True)
class Sum:
    rows: int = 0
    names: list[str] = field(default_factory=list)
    last: Any = None


class Sums(ModelReceiver):
    """Adds to an item that waits under a key."""

    models = ["testapp.Tag"]
    flushed: list[Any]
    kind: str = "dict"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.flushed = []

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        if self.kind == "dict":
            item = self.collect({"rows": Counter(), "of": [set()]}, key="sum")
            item["rows"][instance.name] += 1
            item["of"][0].add(instance.name)
        else:
            item = self.collect(Sum(), key="sum")
            item.rows += 1
            item.names.append(instance.name)
            item.last = instance

    def flush(self, items: list[Any]) -> None:
        self.flushed += items


@pytest.mark.parametrize("flush_on", ["before_commit", "after_commit"])
@pytest.mark.parametrize("kind", ["dict", "dataclass"])
@pytest.mark.parametrize("levels", [1, 3])
def test_an_item_changed_in_a_savepoint_that_is_rolled_back_is_what_it_was(
    wire: Any, flush_on: Any, kind: str, levels: int
) -> None:
    sums = wire((Sums, {"flush_on": flush_on, "kind": kind}))
    with batch():
        kept = [Tag.objects.create(name="a")]
        with suppress(KeyError), transaction.atomic():
            for _ in range(levels):
                Tag.objects.create(name="b")
                with transaction.atomic():
                    Tag.objects.create(name="c")
                with suppress(ValueError), transaction.atomic():
                    Tag.objects.create(name="d")
                    raise ValueError
            raise KeyError
        with transaction.atomic():
            kept.append(Tag.objects.create(name="e"))
        with suppress(ValueError), transaction.atomic():
            Tag.objects.create(name="f")
            raise ValueError
    (found,) = sums.flushed
    if kind == "dict":
        assert found == {"rows": Counter("ae"), "of": [{"a", "e"}]}
    else:
        assert (found.rows, found.names) == (2, ["a", "e"])
        # Rows are no part of the item.
        assert found.last is kept[1]


def test_a_savepoint_by_hand_may_be_rolled_back_again_and_again(wire: Any) -> None:
    sums = wire(Sums)
    with transaction.atomic():
        Tag.objects.create(name="a")
        sid = create_savepoint()
        for _ in range(3):
            Tag.objects.create(name="b")
            inner = create_savepoint()
            Tag.objects.create(name="c")
            transaction.savepoint_rollback(inner)
            transaction.savepoint_rollback(sid)
        Tag.objects.create(name="d")
        transaction.savepoint_commit(sid)
    assert sums.flushed == [{"rows": Counter("ad"), "of": [{"a", "d"}]}]


def test_an_item_that_cannot_be_copied_is_still_given_back(wire: Any) -> None:
    class Odd(Sums):
        def post_save(self, instance: Any, **kwargs: Any) -> None:
            self.collect(iter("abc"), key="odd")

    wire(Sums)
    odd = Odd()
    registry.connect([odd])
    with transaction.atomic():
        Tag.objects.create(name="a")
        with transaction.atomic():
            Tag.objects.create(name="b")
    assert len(odd.flushed) == 1


# The COMMIT that rides with the last INSERT


class Lines(ModelReceiver):
    """Makes, before the commit, a category for each new product."""

    models = ["testapp.Product"]
    flush_on = "before_commit"

    def post_save(self, instance: Any, created: bool, **kwargs: Any) -> None:
        if created:
            self.collect(instance.name)

    def flush(self, items: list[Any]) -> None:
        for name in items:
            Category.objects.create(name=name)


LOG = (
    "django_signal_kit.receivers.AuditLog",
    {"models": ["testapp.Product", "testapp.Category"]},
)


@pytest.mark.parametrize("order", [1, -1])
def test_nothing_is_written_after_the_commit(wire: Any, order: int) -> None:
    wire(*[Lines, LOG][::order])
    Product.objects.create(name="warm")
    with CaptureQueriesContext(connection) as queries:
        Product.objects.create(name="a")
    statements = [query["sql"] for query in queries]
    first = next(number for number, sql in enumerate(statements) if "COMMIT" in sql)
    assert [sql for sql in statements[first + 1 :] if sql != "COMMIT"] == []
    assert sum("INSERT" in sql for sql in statements) >= 3


def test_an_interrupt_behind_a_commit_takes_nothing_back(wire: Any, monkeypatch: Any) -> None:
    _, after = wire(LOG, Told)
    commit = BaseDatabaseWrapper._commit  # type: ignore[attr-defined]

    def interrupt(self: Any) -> None:
        commit(self)
        raise KeyboardInterrupt

    product = Product(name="a")
    with monkeypatch.context() as patch:
        patch.setattr(BaseDatabaseWrapper, "_commit", interrupt)
        with pytest.raises(KeyboardInterrupt):
            product.save()
    assert Product.objects.get().pk == product.pk
    assert not product._state.adding
    assert after.flushed == ["a"]


def test_a_commit_that_fails_takes_all_back(wire: Any, monkeypatch: Any) -> None:
    _, after = wire(Written, Told)

    def fail(self: Any) -> None:
        raise OperationalError

    tag = Tag(name="a")
    with monkeypatch.context() as patch:
        patch.setattr(BaseDatabaseWrapper, "_commit", fail)
        with pytest.raises(OperationalError):
            tag.save()
    assert (tag.pk, tag._state.adding) == (None, True)
    tag.save()
    assert tags() == written() == after.flushed == ["a"]


# Journals that nobody told


def test_a_journal_that_was_told_nothing_begins_anew(wire: Any) -> None:
    with transaction.atomic():
        after = wire(Told)
        Tag.objects.create(name="a")
        wire()
        transaction.set_rollback(True)
    after = wire(Told)
    with transaction.atomic():
        Tag.objects.create(name="b")
    assert after.flushed == tags() == ["b"]
