"""What a unit of work costs a covered write."""

from __future__ import annotations

from typing import Any

import pytest

from django_signal_kit import ModelReceiver
from tests.apps.testapp.models import Plain
from tests.benchmarks.interleave import compare, show

pytestmark = pytest.mark.django_db(transaction=True)

HEARD = {"rows": 0, "flushes": 0}


class Empty(ModelReceiver):
    """Flushes before the commit, so that it opens a transaction, and has nothing to flush."""

    models = ["testapp.Plain"]
    flush_on = "before_commit"

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        HEARD["rows"] += 1


class After(Empty):
    flush_on = "after_commit"


class Collecting(Empty):
    def post_save(self, instance: Any, **kwargs: Any) -> None:
        self.collect(instance)

    def flush(self, items: list[Any]) -> None:
        HEARD["flushes"] += 1
        assert len(items) == 1000


class OfUpdates(ModelReceiver):
    models = ["testapp.Plain"]
    flush_on = "before_commit"

    def post_queryset_update(self, count: int, **kwargs: Any) -> None:
        HEARD["rows"] += count


def create() -> None:
    Plain(name="a").save(force_insert=True)


def update() -> None:
    plain = Plain(pk=HEARD["key"], name="b")
    plain._state.adding = False
    plain.save()


def bulk_create() -> None:
    assert len(Plain.objects.bulk_create([Plain(name="a") for _ in range(1000)])) == 1000


def queryset_update() -> None:
    assert Plain.objects.update(number=1) == 1000


@pytest.mark.parametrize("operation", [create, update])
def test_a_covered_save(wired: Any, operation: Any) -> None:
    HEARD.update(rows=0, key=Plain.objects.create(name="a").pk)
    result = compare(
        {
            "bare": (wired(), operation),
            "covered, flushed after the commit": (wired(After), operation),
            "covered, flushed before the commit": (wired(Empty), operation),
        },
        rounds=61,
        number=50,
    )
    assert HEARD["rows"] >= 2 * 61 * 50
    show(f"{operation.__name__} in autocommit, nothing to flush", result)


def test_a_covered_bulk_create(wired: Any) -> None:
    HEARD.update(rows=0, flushes=0)
    result = compare(
        {
            "bare": (wired(), bulk_create),
            "heard row by row": (wired(Empty), bulk_create),
            "heard row by row, collected, flushed": (wired(Collecting), bulk_create),
        },
        rounds=31,
        number=1,
    )
    assert HEARD["rows"] >= 31_000
    assert HEARD["flushes"] >= 31
    show("bulk_create of 1,000 rows", result)


def test_a_covered_update(wired: Any) -> None:
    Plain.objects.bulk_create(Plain(name=str(n)) for n in range(1000))
    HEARD["rows"] = 0
    result = compare(
        {"bare": (wired(), queryset_update), "heard": (wired(OfUpdates), queryset_update)},
        rounds=61,
        number=5,
    )
    assert HEARD["rows"] >= 61_000
    show("QuerySet.update() of 1,000 rows, nothing read", result)
