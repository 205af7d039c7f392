"""Whatever is committed has its task, and what is rolled back has none."""

from __future__ import annotations

import json
from contextlib import nullcontext, suppress
from itertools import count
from typing import Any

import pytest
from django.db import connections, transaction
from django.db.transaction import TransactionManagementError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_signal_kit import batch
from django_signal_kit.tasks import relaying
from django_signal_kit.tasks.models import OutboxTask
from tests.apps.testapp.models import Tag
from tests.tasks.collectors import Counts, Names
from tests.tasks.queues import BROKER, Broker, get_messages

pytestmark = pytest.mark.django_db(transaction=True)


class _ChangedMindError(Exception):
    """Rolls a block back."""


BLOCKS = {"atomic": transaction.atomic, "batch": batch, "none": nullcontext}

leaves = st.sampled_from(["save", "bulk_create"])
programs = st.lists(
    st.recursive(
        leaves,
        lambda steps: st.tuples(
            st.sampled_from(list(BLOCKS)), st.lists(steps, max_size=4), st.booleans()
        ),
        max_leaves=12,
    ),
    max_size=4,
)


def run(step: Any, numbers: Any) -> None:
    if step == "save":
        Tag.objects.create(name=f"{next(numbers)}")
    elif step == "bulk_create":
        Tag.objects.bulk_create([Tag(name=f"{next(numbers)}") for _ in range(3)])
    else:
        kind, steps, is_failing = step
        # A batch that fails in a transaction spoils it, whoever catches the error.
        with suppress(_ChangedMindError, TransactionManagementError), BLOCKS[kind]():
            for each in steps:
                run(each, numbers)
            if is_failing:
                raise _ChangedMindError


@pytest.fixture(params=["outbox", "outbox, broker down", "no outbox"])
def queue(request: Any, wire: Any, settings: Any, monkeypatch: Any) -> str:
    # Wired once for all examples.
    monkeypatch.setattr(relaying, "_looked", dict.fromkeys(connections, float("inf")))
    settings.TASKS = BROKER
    wire(Names, Counts, TASKS={"OUTBOX": request.param != "no outbox"})
    return str(request.param)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(program=programs)
def test_what_is_committed_has_its_task_and_nothing_else_has(
    queue: str, program: list[Any]
) -> None:
    Tag.objects.all().delete()
    OutboxTask.objects.all().delete()
    Broker.messages.clear()
    Broker.is_down = queue.endswith("down")
    numbers = count()
    for step in program:
        run(step, numbers)
    told = [(task["receiver"], task["items"]) for task in get_messages()]
    waiting = OutboxTask.objects.filter(taken_at=None)
    told += [(row.receiver, json.loads(row.payload)["items"]) for row in waiting]
    names = [item for name, items in told if name == "Names" for item in items]
    counted = [item["name"] for name, items in told if name == "Counts" for item in items]
    there = sorted(Tag.objects.values_list("name", flat=True))
    assert sorted(names) == there
    assert sorted(counted) == there
    assert len(waiting) == (len(told) if Broker.is_down else 0)
    assert OutboxTask.objects.count() == (0 if queue == "no outbox" else len(told))
