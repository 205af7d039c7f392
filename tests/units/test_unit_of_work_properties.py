"""Whatever is done and undone, what was flushed is exactly what was committed."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.test import override_settings
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from django_signal_kit import ModelReceiver, batch
from django_signal_kit.units.journal import get_journal
from django_signal_kit.wiring.registry import registry
from tests.apps.testapp.models import Club, Product, Tag
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


class UnitOfWorkMachine(RuleBasedStateMachine):
    """The model in plain Python: a stack of frames, each a list of what happened in it."""

    @initialize()
    def start(self) -> None:
        call_command("flush", interactive=False, verbosity=0)
        self.messenger = next(r for r in registry.receivers if type(r) is Messenger)
        self.messenger.told.clear()
        self.committed: Counter[str] = Counter()
        self.frames: list[tuple[str, Any, list[str]]] = []

    def note(self, *item: Any) -> None:
        if self.frames:
            self.frames[-1][2].append(repr(item))
        else:
            self.committed[repr(item)] += 1

    # Writes

    @rule(name=names)
    def create(self, name: str) -> None:
        tag = Tag.objects.create(name=name)
        self.note("create", tag.pk, name)

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
            manager.__enter__()
            self.frames.append((kind, manager, []))

    @precondition(lambda self: self.frames and self.frames[-1][0] == "savepoint")
    @rule(keep=st.booleans())
    def end_savepoint(self, keep: bool) -> None:
        _, sid, items = self.frames.pop()
        if keep:
            transaction.savepoint_commit(sid)
            self._keep(items)
        else:
            transaction.savepoint_rollback(sid)

    @precondition(lambda self: self.frames)
    @rule()
    def make_savepoint(self) -> None:
        if len(self.frames) < 5:
            self.frames.append(("savepoint", create_savepoint(), []))

    @precondition(lambda self: self.frames and self.frames[-1][0] != "savepoint")
    @rule(succeed=st.booleans())
    def leave(self, succeed: bool) -> None:
        kind, manager, items = self.frames.pop()
        if succeed:
            manager.__exit__(None, None, None)
            self._keep(items)
            return
        error = ZeroDivisionError()
        manager.__exit__(ZeroDivisionError, error, None)
        if kind == "batch" and self.frames and items and connection.needs_rollback:
            # As atomic(savepoint=False) does: the enclosing block has to go, too.
            while self.frames:
                kind, manager, _ = self.frames.pop()
                if kind != "savepoint":
                    manager.__exit__(ZeroDivisionError, error, None)
                    if not connection.needs_rollback:
                        return

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
            if connection.in_atomic_block:
                connection.close()
                connection.__dict__.pop("_signal_kit_journal", None)
                connection.in_atomic_block = connection.needs_rollback = False
                connection.atomic_blocks.clear()
                connection.savepoint_ids.clear()
                connection.connection = None

    def finish(self) -> None:
        while self.frames:
            if self.frames[-1][0] == "savepoint":
                self.end_savepoint(keep=True)
            else:
                self.leave(succeed=True)
        assert self.messenger.told == self.committed
        assert Counter(Club.objects.values_list("name", flat=True)) == self.committed
        journal = get_journal(connection)
        assert (journal.unit, journal.before.items, journal.after.items) == (None, [], [])
        assert not connection.in_atomic_block


def test_what_is_flushed_is_what_is_committed() -> None:
    with override_settings(SIGNAL_KIT={"RECEIVERS": [as_entry(Ledger), as_entry(Messenger)]}):
        run = settings(
            max_examples=settings.default.max_examples,  # type: ignore[union-attr]
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        from hypothesis.stateful import run_state_machine_as_test

        run_state_machine_as_test(UnitOfWorkMachine, settings=run)
