"""Whatever is done and undone, what was flushed is exactly what was committed.

Beside writes, blocks and savepoints: commit hooks that raise, dry runs, autocommit turned off,
connections that are closed, interrupts in a flush, receivers that fail and are only logged, items
that are changed inside savepoints, and receivers of others that change the instance, write its row
or delete it before the kit hears. An audit log is read as a ledger in the end.
"""

from __future__ import annotations

from ast import literal_eval
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import Error, connection, connections, transaction
from django.db.models.signals import post_delete, post_save, pre_delete, pre_save
from django.test import override_settings
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from django_signal_kit import ModelReceiver, batch
from django_signal_kit.receivers import AuditLog
from django_signal_kit.units.journal import get_journal, is_in_transaction
from django_signal_kit.wiring.registry import registry
from tests.apps.testapp.models import Category, Club, Product, Tag
from tests.audit.replaying import replay
from tests.conftest import as_entry

pytestmark = pytest.mark.django_db(transaction=True)

create_savepoint = getattr(transaction, "savepoint_create", None) or transaction.savepoint
names = st.sampled_from(["a", "b", "c", "d"])


class Ledger(ModelReceiver):
    """Flushes, before the commit, rows of the same transaction: the row of a change."""

    models = ["testapp.Tag", "testapp.Product"]
    flush_on = "before_commit"
    bulk = "all"

    def post_save(self, instance: Any, created: bool, **kwargs: Any) -> None:
        self.collect(("create" if created else "update", instance.pk, instance.name))

    def post_delete(self, instance: Any, **kwargs: Any) -> None:
        self.collect(("delete", instance.pk, instance.name))

    def m2m_changed(self, instance: Any, action: str, pk_set: Any, **kwargs: Any) -> None:
        if action in ("post_add", "post_remove") and pk_set:
            self.collect((action, instance.pk, ",".join(map(str, sorted(pk_set)))))

    def flush(self, items: list[Any]) -> None:
        # Club is covered by nobody: its rows are the ledger.
        Club.objects.bulk_create(Club(name=repr(item)) for item in items)


class Messenger(Ledger):
    """Flushes after the commit."""

    flush_on = "after_commit"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.told: Counter[str] = Counter()

    def flush(self, items: list[Any]) -> None:
        self.told.update(map(repr, items))


class Sums(ModelReceiver):
    """Adds up, in an item that waits under a key, how often each row was saved."""

    models = ["testapp.Tag", "testapp.Product"]
    bulk = "all"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.total: Counter[tuple[int, str]] = Counter()

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        item = self.collect({"saves": [Counter()]}, key="all")
        item["saves"][0][instance.pk, instance.name] += 1

    def flush(self, items: list[Any]) -> None:
        for item in items:
            self.total.update(item["saves"][0])


class SumsBefore(Sums):
    """The same, in the transaction: as rows that nobody covers."""

    flush_on = "before_commit"

    def flush(self, items: list[Any]) -> None:
        for item in items:
            found = item["saves"][0]
            Category.objects.bulk_create(
                Category(name=repr(saved)) for saved, count in found.items() for _ in range(count)
            )


# What is left as a block is.
BLOCKS = ("atomic", "committing", "batch")


class Failing(ModelReceiver):
    """Makes a product for each tag of some names, and fails; it is only logged."""

    models = ["testapp.Tag"]
    on_error = "log"
    made: list[Any]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.made = []

    def post_save(self, instance: Any, created: bool, **kwargs: Any) -> None:
        if created and instance.name == "fails":
            product = Product.objects.create(name="of a receiver that fails")
            if not is_in_transaction(connection):
                self.made.append(product)
            raise ValueError


class Interrupting(ModelReceiver):
    """Is stopped in its flush, now and then."""

    models = ["testapp.Tag"]
    stops = False

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        self.collect(instance.pk)

    def flush(self, items: list[Any]) -> None:
        if Interrupting.stops:
            Interrupting.stops = False
            raise KeyboardInterrupt


class Meddler:
    """Receivers of somebody else's, connected before those of the kit; ``how``: what they do."""

    how = ""

    @classmethod
    def takes(cls, *known: str) -> str:
        """What to do now; what it does itself is left alone."""
        how = cls.how if cls.how in known else ""
        if how:
            cls.how = ""
        return how

    def pre_save(self, instance: Any, **kwargs: Any) -> None:
        if self.takes("pre_save"):
            Tag.objects.filter(pk=instance.pk).update(name="between")

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        how = self.takes("change", "save", "save partly")
        if how:
            instance.name = "changed"
        if how.startswith("save"):
            instance.save(update_fields=["name"] if how == "save partly" else None)

    def pre_delete(self, instance: Any, **kwargs: Any) -> None:
        if self.takes("delete"):
            Tag.objects.filter(pk=instance.pk).delete()

    def post_delete(self, instance: Any, **kwargs: Any) -> None:
        if self.takes("make again"):
            Tag.objects.create(pk=instance.pk, name="again")


class HookError(Exception):
    pass


def fail_in_hook() -> None:
    raise HookError


class UnitOfWorkMachine(RuleBasedStateMachine):
    """The model in plain Python: a stack of frames, each a list of what happened in it."""

    @initialize()
    def start(self) -> None:
        call_command("flush", interactive=False, verbosity=0, reset_sequences=False)
        ContentType.objects.clear_cache()
        found = {type(receiver): receiver for receiver in registry.receivers}
        self.messenger: Any = found[Messenger]
        self.sums: Any = found[Sums]
        self.failing: Any = found[Failing]
        self.is_strict = Ledger in found
        self.messenger.told.clear()
        self.sums.total.clear()
        Interrupting.stops = False
        self.committed: Counter[str] = Counter()
        self.frames: list[tuple[str, Any, list[str]]] = []

    @contextmanager
    def told(self) -> Iterator[None]:
        """Around what may commit: hooks of others and interrupts undo nothing."""
        with suppress(HookError, KeyboardInterrupt):
            yield
        Interrupting.stops = False

    def is_manual(self) -> bool:
        return bool(self.frames) and self.frames[0][0] == "manual"

    def note(self, *item: Any) -> None:
        if self.frames:
            self.frames[-1][2].append(repr(item))
        else:
            self.committed[repr(item)] += 1

    # Writes

    @rule(name=names)
    def create(self, name: str) -> None:
        tag = Tag(name=name)
        with self.told():
            tag.save()
        self.note("create", tag.pk, name)

    @rule()
    def create_with_a_receiver_that_fails(self) -> None:
        self.failing.made.clear()
        tag = Tag(name="fails")
        with self.told():
            tag.save()
        self.note("create", tag.pk, "fails")
        for product in self.failing.made:
            self.note("create", product.pk, product.name)

    @rule(
        name=names,
        is_new=st.booleans(),
        how=st.sampled_from(["change", "save", "save partly", "pre_save"]),
    )
    def save_with_others(self, name: str, is_new: bool, how: str) -> None:
        """The kit hears what an earlier receiver did first, and what it made of the instance."""
        tag = None if is_new else Tag.objects.order_by("pk").last()
        tag = tag or Tag()
        action = "create" if tag.pk is None else "update"
        tag.name, Meddler.how = name, how
        try:
            with self.told():
                tag.save()
        finally:
            Meddler.how = ""
        if how == "pre_save" and action == "update":
            self.note("update", tag.pk, "between")
        if how.startswith("save"):
            self.note("update", tag.pk, "changed")
        self.note(action, tag.pk, name if how == "pre_save" else "changed")

    @rule(how=st.sampled_from(["delete", "make again"]))
    def delete_with_others(self, how: str) -> None:
        """Django tells a deletion twice of a row that was deleted twice."""
        tag = Tag.objects.order_by("pk").last()
        if tag is None:
            return
        pk, Meddler.how = tag.pk, how
        try:
            with self.told():
                tag.delete()
        finally:
            Meddler.how = ""
        if how == "delete":
            self.note("delete", pk, tag.name)
        else:
            self.note("create", pk, "again")
        self.note("delete", pk, tag.name)

    @rule(name=names)
    def create_and_be_interrupted(self, name: str) -> None:
        """In the flush after the commit, if this write is committed at once."""
        Interrupting.stops = True
        self.create(name)

    @rule(name=names, error=st.sampled_from([HookError, KeyboardInterrupt]))
    def create_with_a_hook_that_raises(self, name: str, error: Any) -> None:
        def hook() -> None:
            raise error

        def register(**kwargs: Any) -> None:
            if connection.in_atomic_block or connection.get_autocommit():
                transaction.on_commit(hook)

        post_save.connect(register, sender=Tag)
        try:
            self.create(name)
        finally:
            post_save.disconnect(register, sender=Tag)

    @rule(name=names, partly=st.booleans())
    def update(self, name: str, partly: bool) -> None:
        tag = Tag.objects.order_by("pk").last()
        if tag is not None:
            tag.name = name
            tag.save(update_fields=["name"] if partly else None)
            self.note("update", tag.pk, name)

    @rule()
    def delete_all(self) -> None:
        tags = list(Tag.objects.all())
        Tag.objects.all().delete()
        for tag in tags:
            self.note("delete", tag.pk, tag.name)

    @rule(name=names)
    def link(self, name: str) -> None:
        product, tag = Product.objects.create(name=name), Tag.objects.create(name=name)
        self.note("create", product.pk, name)
        self.note("create", tag.pk, name)
        product.tags.add(tag)
        self.note("post_add", product.pk, str(tag.pk))
        product.tags.remove(tag)
        self.note("post_remove", product.pk, str(tag.pk))

    @rule(name=names)
    def fail(self, name: str) -> None:
        """A save that fails before its SQL leaves everything as it was."""
        with pytest.raises(ValueError):
            Tag(name=name).save(update_fields=["nme"])

    @rule(some=st.lists(names, max_size=3))
    def bulk_create(self, some: list[str]) -> None:
        for tag in Tag.objects.bulk_create(Tag(name=name) for name in some):
            self.note("create", tag.pk, tag.name)

    @rule(name=names)
    def bulk_update(self, name: str) -> None:
        tags = list(Tag.objects.order_by("pk"))
        for tag in tags:
            tag.name = name
        Tag.objects.bulk_update(tags, ["name"], batch_size=2)
        for tag in tags:
            self.note("update", tag.pk, name)

    @rule(old=names, new=names)
    def update_many(self, old: str, new: str) -> None:
        keys = list(Tag.objects.filter(name=old).values_list("pk", flat=True))
        Tag.objects.filter(name=old).update(name=new)
        for key in keys:
            self.note("update", key, new)

    # Transactions

    @rule()
    def enter_atomic(self) -> None:
        self._enter("atomic", transaction.atomic())

    @rule()
    def enter_batch(self) -> None:
        self._enter("batch", batch())

    def _enter(self, kind: str, manager: Any) -> None:
        if len(self.frames) < 4:
            if kind == "atomic" and self.is_manual() and self.begins_by_savepoint():
                kind = "committing"
            manager.__enter__()
            self.frames.append((kind, manager, []))

    def begins_by_savepoint(self) -> bool:
        """SQLite commits with the outermost savepoint where that has begun the transaction: so
        does Django's own atomic() with autocommit off."""
        return connection.vendor == "sqlite" and not connection.connection.in_transaction

    @precondition(lambda self: not self.frames)
    @rule()
    def turn_autocommit_off(self) -> None:
        transaction.set_autocommit(False)
        self.frames.append(("manual", None, []))

    @precondition(lambda self: self.frames and self.frames[-1][0] == "manual")
    @rule(keep=st.booleans(), stay=st.booleans(), stop=st.booleans())
    def end_by_hand(self, keep: bool, stay: bool, stop: bool) -> None:
        _, _, items = self.frames.pop()
        Interrupting.stops = stop
        with self.told():
            (transaction.commit if keep else transaction.rollback)()
        if keep:
            self._keep(items)
        if stay:
            self.frames.append(("manual", None, []))
        else:
            with self.told():
                transaction.set_autocommit(True)

    @precondition(lambda self: self.frames and self.frames[-1][0] == "savepoint")
    @rule(keep=st.booleans())
    def end_savepoint(self, keep: bool) -> None:
        _, sid, items = self.frames.pop()
        if keep:
            transaction.savepoint_commit(sid)
            self._keep(items)
        else:
            transaction.savepoint_rollback(sid)

    @precondition(lambda self: self.frames and connection.in_atomic_block)
    @rule()
    def make_savepoint(self) -> None:
        if len(self.frames) < 5:
            self.frames.append(("savepoint", create_savepoint(), []))

    @precondition(lambda self: self.frames and connection.in_atomic_block)
    @rule(robust=st.booleans())
    def register_a_hook_that_raises(self, robust: bool) -> None:
        transaction.on_commit(fail_in_hook, robust=robust)

    @precondition(lambda self: self.frames and self.frames[-1][0] in BLOCKS)
    @rule(how=st.sampled_from(["succeed", "succeed", "fail", "dry"]), stop=st.booleans())
    def leave(self, how: str, stop: bool) -> None:
        kind, manager, items = self.frames.pop()
        Interrupting.stops = stop
        if how == "succeed":
            with self.told():
                manager.__exit__(None, None, None)
            if kind == "committing":
                self.committed.update(items)
            else:
                self._keep(items)
            return
        if how == "dry":
            transaction.set_rollback(True)
            manager.__exit__(None, None, None)
            is_marked = kind == "batch"
        else:
            error = ZeroDivisionError()
            manager.__exit__(ZeroDivisionError, error, None)
            is_marked = kind == "batch" and bool(items)
        Interrupting.stops = False
        if is_marked and self.frames and connection.needs_rollback:
            self._leave_all_that_is_marked()

    def _leave_all_that_is_marked(self) -> None:
        """As atomic(savepoint=False) does: the enclosing block has to go, too."""
        while self.frames and self.frames[-1][0] != "manual":
            kind, manager, _ = self.frames.pop()
            if kind != "savepoint":
                manager.__exit__(None, None, None)
                if not connection.needs_rollback:
                    return

    # Django cannot open a connection again that was lost in atomic() with autocommit off.
    @precondition(lambda self: self.frames and not (self.is_manual() and len(self.frames) > 1))
    @rule()
    def lose_the_connection(self) -> None:
        connection.close()
        while self.frames:
            kind, manager, _ = self.frames.pop()
            if kind in BLOCKS:
                with suppress(Error):
                    manager.__exit__(None, None, None)
        connection.close()

    def _keep(self, items: list[str]) -> None:
        if self.frames:
            self.frames[-1][2].extend(items)
        else:
            self.committed.update(items)

    def teardown(self) -> None:
        try:
            self.finish()
        finally:
            # What failed in a transaction must not fail the next example as well.
            if connection.in_atomic_block or not connection.get_autocommit():
                connection.close()
                connections["default"].__dict__.pop("_signal_kit_journal", None)
                connection.in_atomic_block = connection.needs_rollback = False
                connection.atomic_blocks.clear()
                connection.savepoint_ids.clear()
                connection.connection = None

    def finish(self) -> None:
        while self.frames:
            if self.frames[-1][0] == "savepoint":
                self.end_savepoint(keep=True)
            elif self.frames[-1][0] == "manual":
                self.end_by_hand(keep=True, stay=False, stop=False)
            else:
                self.leave(how="succeed", stop=False)
        assert self.messenger.told == self.committed
        saved: Counter[tuple[int, str]] = Counter()
        for text, count in self.committed.items():
            action, pk, name = literal_eval(text)
            if action in ("create", "update"):
                saved[pk, name] += count
        assert self.sums.total == saved
        if self.is_strict:
            assert Counter(Club.objects.values_list("name", flat=True)) == self.committed
            texts = Counter({repr(item): count for item, count in saved.items()})
            assert Counter(Category.objects.values_list("name", flat=True)) == texts
            replay(Tag, Product)
        journal = get_journal(connections["default"])
        assert (journal.unit, journal.before.items, journal.after.items) == (None, [], [])
        assert (journal.due, journal.marks, len(journal.undo)) == ({}, {}, 0)
        assert not connection.in_atomic_block
        assert connection.get_autocommit()


BEFORE = [Ledger, SumsBefore, (AuditLog, {"models": ["testapp.Tag", "testapp.Product"]})]
AFTER = [Failing, Messenger, Sums, Interrupting]


@pytest.fixture(autouse=True)
def _others() -> Iterator[None]:
    meddler = Meddler()
    connected: dict[str, Any] = {
        "pre_save": pre_save,
        "post_save": post_save,
        "pre_delete": pre_delete,
        "post_delete": post_delete,
    }
    for name, signal in connected.items():
        signal.connect(getattr(meddler, name), sender=Tag, weak=False)
    yield
    for name, signal in connected.items():
        signal.disconnect(getattr(meddler, name), sender=Tag)


@pytest.mark.parametrize("receivers", [[*BEFORE, *AFTER], AFTER], ids=["both", "after"])
def test_what_is_flushed_is_what_is_committed(receivers: list[Any]) -> None:
    entries = [as_entry(receiver) for receiver in receivers]
    with override_settings(SIGNAL_KIT={"RECEIVERS": entries}):
        run = settings(
            max_examples=settings.default.max_examples,  # type: ignore[union-attr]
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        from hypothesis.stateful import run_state_machine_as_test

        run_state_machine_as_test(UnitOfWorkMachine, settings=run)
