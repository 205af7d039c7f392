"""Whatever is done and undone, in whatever order, the columns say how many links there are."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import call_command
from django.db import DEFAULT_DB_ALIAS, connection, connections, transaction
from django.test import override_settings
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from django_signal_kit import batch
from django_signal_kit.units.journal import get_journal
from tests.apps.relations.models import Article, Contract, Player, Team, Topic

pytestmark = pytest.mark.django_db(transaction=True)

create_savepoint = getattr(transaction, "savepoint_create", None) or transaction.savepoint
some = st.lists(st.integers(0, 9), max_size=3)
one = st.integers(0, 9)


def count(name: str, model: str, relation: str, field: str) -> dict[str, Any]:
    return {
        "RECEIVER": "django_signal_kit.receivers.M2MCount",
        "NAME": name,
        "OPTIONS": {"models": [f"relations.{model}"], "relation": relation, "field": field},
    }


RECEIVERS = [
    count("Topics", "Topic", "articles", "article_count"),
    count("Articles", "Article", "topics", "topic_count"),
    count("Teams", "Team", "players", "player_count"),
    count("Friends", "Player", "friends", "friend_count"),
    count("Followers", "Player", "followers", "follower_count"),
]
MODELS = (Topic, Article, Team, Player)
RELATIONS = st.sampled_from(
    [
        (Topic, "articles"),
        (Article, "topics"),
        (Team, "players"),
        (Player, "teams"),
        (Player, "friends"),
        (Player, "follows"),
        (Player, "followers"),
    ]
)


class CountingMachine(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        call_command("flush", interactive=False, verbosity=0, reset_sequences=False)
        self.open: list[tuple[str, Any]] = []
        self.number = 0
        for model in MODELS:
            for _ in range(3):
                self.create(model)

    def choose(self, model: Any, numbers: list[int]) -> list[Any]:
        rows = list(model.objects.order_by("pk"))
        return [rows[number % len(rows)] for number in numbers] if rows else []

    @rule(model=st.sampled_from(MODELS))
    def create(self, model: Any) -> None:
        self.number += 1
        model.objects.create(**({"code": str(self.number)} if model is Team else {}))

    # Calls of the relation

    @rule(relation=RELATIONS, row=one, others=some, verb=st.sampled_from(["add", "remove", "set"]))
    def call(self, relation: Any, row: int, others: list[int], verb: str) -> None:
        model, name = relation
        for instance in self.choose(model, [row]):
            manager = getattr(instance, name)
            chosen = self.choose(manager.model, others)
            if verb == "set":
                manager.set(chosen, clear=bool(row % 2))
            else:
                getattr(manager, verb)(*chosen)

    @rule(relation=RELATIONS, row=one)
    def clear(self, relation: Any, row: int) -> None:
        model, name = relation
        for instance in self.choose(model, [row]):
            getattr(instance, name).clear()

    # Rows

    @rule(model=st.sampled_from(MODELS), row=one)
    def delete(self, model: Any, row: int) -> None:
        for instance in self.choose(model, [row]):
            instance.delete()

    @rule(model=st.sampled_from(MODELS), rows=some)
    def delete_many(self, model: Any, rows: list[int]) -> None:
        chosen = self.choose(model, rows)
        model.objects.filter(pk__in=[row.pk for row in chosen]).delete()

    @rule(model=st.sampled_from(MODELS), row=one, claim=st.integers(0, 9))
    def save_old(self, model: Any, row: int, claim: int) -> None:
        for instance in self.choose(model, [row]):
            for field in ("article_count", "topic_count", "player_count", "friend_count"):
                if hasattr(instance, field):
                    setattr(instance, field, claim)
            instance.save()

    # Rows of the through model

    @rule(team=one, players=some)
    def hire(self, team: int, players: list[int]) -> None:
        for chosen in self.choose(Team, [team]):
            Contract.objects.bulk_create(
                Contract(team=chosen, player=player) for player in self.choose(Player, players)
            )

    @rule(contract=one, team=one, in_bulk=st.sampled_from(["save", "bulk_update", "update"]))
    def move(self, contract: int, team: int, in_bulk: str) -> None:
        for chosen in self.choose(Contract, [contract]):
            for chosen.team in self.choose(Team, [team]):
                if in_bulk == "save":
                    chosen.save()
                elif in_bulk == "bulk_update":
                    Contract.objects.bulk_update([chosen], ["team"])
                else:
                    Contract.objects.filter(pk__gte=chosen.pk).update(team=chosen.team)

    @rule(contracts=some)
    def fire(self, contracts: list[int]) -> None:
        chosen = self.choose(Contract, contracts)
        Contract.objects.filter(pk__in=[contract.pk for contract in chosen]).delete()

    # Transactions

    @precondition(lambda self: len(self.open) < 4)
    @rule(kind=st.sampled_from(["atomic", "batch", "savepoint"]))
    def enter(self, kind: str) -> None:
        if kind == "savepoint":
            if connection.in_atomic_block:
                self.open.append((kind, create_savepoint()))
            return
        context: Any = transaction.atomic() if kind == "atomic" else batch()
        context.__enter__()
        self.open.append((kind, context))

    @precondition(lambda self: self.open)
    @rule(is_kept=st.booleans())
    def leave(self, is_kept: bool) -> None:
        kind, context = self.open[-1]
        if kind == "batch" and not is_kept and len(self.open) > 1:
            # A batch that fails within a transaction ends all of it.
            is_kept = True
        self.open.pop()
        if kind == "savepoint":
            (transaction.savepoint_commit if is_kept else transaction.savepoint_rollback)(context)
        elif is_kept:
            context.__exit__(None, None, None)
        else:
            context.__exit__(ZeroDivisionError, ZeroDivisionError(), None)

    @invariant()
    def each_column_is_true(self) -> None:
        if get_journal(connections[DEFAULT_DB_ALIAS]).unit is not None:
            return
        for model, relation, field in (
            (Topic, "articles", "article_count"),
            (Article, "topics", "topic_count"),
            (Team, "players", "player_count"),
            (Player, "friends", "friend_count"),
            (Player, "followers", "follower_count"),
        ):
            for row in model.objects.all():  # type: ignore[attr-defined]
                assert getattr(row, field) == getattr(row, relation).count(), (row.pk, field)

    def teardown(self) -> None:
        try:
            while self.open:
                self.leave(is_kept=True)
            self.each_column_is_true()
        finally:
            # What failed in a transaction must not fail the next example as well.
            if connection.in_atomic_block:
                wrapper = connections[DEFAULT_DB_ALIAS]
                wrapper.close()
                del connections[DEFAULT_DB_ALIAS]


def test_the_columns_are_always_true() -> None:
    with override_settings(SIGNAL_KIT={"RECEIVERS": RECEIVERS}):
        run = settings(
            max_examples=settings.default.max_examples // 2,  # type: ignore[union-attr]
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        run_state_machine_as_test(CountingMachine, settings=run)
