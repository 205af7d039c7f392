"""Whatever is written, and how, what is told of links is what has become of the tables."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.apps.relations.models import Article, Contract, Meeting, Player, Seat, Team, Topic
from tests.relations.linking import (
    BESIDE,
    KINDS,
    Kind,
    Told,
)

pytestmark = pytest.mark.django_db(transaction=True)

ROWS = 4
ALL = [*KINDS, BESIDE]
MODELS = (Article, Topic, Meeting, Player, Team)

kinds = st.sampled_from(KINDS)
numbers = st.integers(0, ROWS - 1)
ends = st.integers(0, 1)
pairs = st.tuples(numbers, numbers)
some = st.lists(numbers, min_size=1, max_size=2)

calls = st.tuples(
    st.just("call"),
    st.sampled_from([*KINDS, BESIDE]),
    ends,
    numbers,
    some,
    st.sampled_from(["add", "add", "remove", "set", "set anew", "clear"]),
)
rows = st.tuples(st.just("row"), kinds, st.lists(pairs, min_size=1, max_size=3), st.booleans())
moves = st.tuples(
    st.just("move"),
    kinds,
    numbers,
    ends,
    numbers,
    st.sampled_from(["save", "update_fields", "update", "bulk_update", "expression"]),
)
upserts = st.tuples(st.just("upsert"), st.lists(st.tuples(numbers, numbers, numbers), max_size=3))
losses = st.tuples(st.just("lose"), kinds, some, st.booleans())
deletions = st.tuples(st.just("delete"), st.sampled_from(MODELS), some, st.booleans())
often = st.one_of(calls, rows, moves, losses, calls)
writes = st.tuples(*[often] * 12, upserts, deletions, often, often, deletions)


class World:
    """A few rows of each model, and what is written to them."""

    def __init__(self) -> None:
        for model in (Contract, Seat, *MODELS):
            model.objects.all().delete()  # type: ignore[attr-defined]
        self.rows: dict[Any, list[Any]] = {}
        for model in MODELS:
            self.rows[model] = [
                model.objects.create(**({"code": f"t{n}"} if model is Team else {}))  # type: ignore[attr-defined]
                for n in range(ROWS)
            ]
        for kind in KINDS:
            self.row(kind, [(0, 0), (0, 1), (1, 1)], False)

    def get(self, kind: Kind, end: int, number: int) -> Any:
        return self.rows[kind.models[end]][number]

    def list_rows(self, kind: Kind, chosen: list[int]) -> list[Any]:
        found = list(kind.through.objects.order_by("pk"))
        return [found[number] for number in sorted({*chosen}) if number < len(found)]

    def call(self, kind: Kind, end: int, number: int, others: list[int], verb: str) -> None:
        if kind is BESIDE and end == 1:
            return
        manager = kind.get_manager(self.get(kind, end, number), end)
        chosen = [self.get(kind, 1 - end, other) for other in others]
        more: dict[str, Any] = {}
        if kind is BESIDE:
            more = {"through_defaults": {"guest": self.get(kind, 1, number)}}
        if verb.startswith("set"):
            manager.set(chosen, clear=verb == "set anew", **more)
        elif verb == "clear":
            manager.clear()
        elif verb == "add":
            manager.add(*chosen, **more)
        else:
            manager.remove(*chosen)

    def row(self, kind: Kind, links: list[tuple[int, int]], ignore: bool) -> None:
        made = [kind.row(self.get(kind, 0, one), self.get(kind, 1, other)) for one, other in links]
        if len(made) == 1 and not ignore:
            made[0].save()
        else:
            kind.through.objects.bulk_create(made, ignore_conflicts=ignore)

    def move(self, kind: Kind, number: int, end: int, to: int, way: str) -> None:
        name = kind.fks[end]
        for row in self.list_rows(kind, [number]):
            other = self.get(kind, end, to)
            if way == "expression":
                value = kind.get_value(other, end)
                if isinstance(value, int):
                    change = F(f"{name}_id") + value - getattr(row, f"{name}_id")
                    kind.through.objects.filter(pk=row.pk).update(**{name: change})
                return
            setattr(row, name, other)
            if way == "save":
                row.save()
            elif way == "update_fields":
                row.save(update_fields=[name])
            elif way == "update":
                kind.through.objects.filter(pk=row.pk).update(**{name: other})
            else:
                kind.through.objects.bulk_update([row], [name])

    def upsert(self, seats: list[tuple[int, int, int]]) -> None:
        made = {
            (one, two): Seat(
                meeting=self.rows[Meeting][one],
                guest=self.rows[Player][two],
                host=self.rows[Player][three],
            )
            for one, two, three in seats
        }
        has_target = connection.features.supports_update_conflicts_with_target
        Seat.objects.bulk_create(
            made.values(),
            update_conflicts=True,
            update_fields=["host"],
            unique_fields=["meeting", "guest"] if has_target else None,
        )

    def lose(self, kind: Kind, chosen: list[int], one_by_one: bool) -> None:
        found = self.list_rows(kind, chosen)
        if one_by_one:
            for row in found:
                row.delete()
        else:
            kind.through.objects.filter(pk__in=[row.pk for row in found]).delete()

    def delete(self, model: Any, chosen: list[int], one_by_one: bool) -> None:
        found = [self.rows[model][number] for number in {*chosen}]
        if one_by_one:
            for row in model.objects.filter(pk__in=[row.pk for row in found]):
                row.delete()
        else:
            model.objects.filter(pk__in=[row.pk for row in found]).delete()


@settings(suppress_health_check=list(HealthCheck))
@given(done=writes, in_one=st.booleans())
def test_what_is_told_is_what_has_become_of_the_tables(wire: Any, done: Any, in_one: bool) -> None:
    receiver = wire(Told)
    world = World()
    receiver.told.clear()
    for verb, *arguments in done:
        before = {kind: set(kind.list_links()) for kind in ALL}
        try:
            with transaction.atomic() if in_one else connection.cursor():
                getattr(world, verb)(*arguments)
        except (IntegrityError, ValueError):
            # The same link again, or to a row that is gone.
            receiver.told.clear()
            continue
        told = list(receiver.told)
        for kind in ALL:
            receiver.told[:] = told
            after = set(kind.list_links())
            net = net_of(receiver.take(kind))
            assert net == {
                **dict.fromkeys(after - before[kind], 1),
                **dict.fromkeys(before[kind] - after, -1),
            }, (kind, verb, arguments)
        receiver.told.clear()


def net_of(told: list[tuple[str, tuple[Any, Any]]]) -> dict[tuple[Any, Any], int]:
    """``set(clear=True)`` ends links that it makes again."""
    net: dict[tuple[Any, Any], int] = {}
    for action, link in told:
        step = 1 if action == "add" else -1
        net[link] = net.get(link, 0) + step
        assert net[link] in (-1, 0, 1), (action, link)
    return {link: value for link, value in net.items() if value}
