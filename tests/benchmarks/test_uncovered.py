"""What a model that no receiver covers pays: a look into a set, and no query."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models.signals import post_delete, post_save, pre_delete, pre_save
from django.test.utils import CaptureQueriesContext

from django_signal_kit.receivers import AuditLog
from tests.apps.testapp.models import Plain, Product
from tests.benchmarks.interleave import compare, show

pytestmark = pytest.mark.django_db(transaction=True)

OTHERS = (AuditLog, {"models": ["testapp.*"], "exclude": ["testapp.Plain"]})


def create() -> None:
    Plain(name="a").save(force_insert=True)


def update() -> None:
    plain = Plain(pk=1, name="b")
    plain._state.adding = False
    plain.save()


def load() -> None:
    assert len(Plain.objects.all()[:200]) == 200


def delete_one() -> None:
    plain = Plain(pk=1_000_000)
    plain._state.adding = False
    plain.delete()


def delete_many() -> None:
    Plain.objects.filter(pk__gt=1_000_000).delete()


class PlainReceivers:
    """A project without the kit that has receivers of its own, of another model."""

    signals = (pre_save, post_save, pre_delete, post_delete)

    def __enter__(self) -> None:
        for signal in self.signals:
            signal.connect(receiver=self.receive, sender=Product)

    def __exit__(self, *args: object) -> None:
        for signal in self.signals:
            signal.disconnect(receiver=self.receive, sender=Product)

    def receive(self, **kwargs: Any) -> None:
        raise AssertionError


@pytest.mark.parametrize("in_transaction", [False, True], ids=["autocommit", "transaction"])
@pytest.mark.parametrize("operation", [create, update, load, delete_one, delete_many])
def test_an_uncovered_model(wired: Any, operation: Any, in_transaction: bool) -> None:
    Plain.objects.bulk_create(Plain(pk=n, name=str(n)) for n in range(1, 401))
    queries = {}
    for name, context in (("without", wired()), ("with", wired(OTHERS))):
        with context, CaptureQueriesContext(connection) as captured:
            operation()
        queries[name] = [query["sql"].split()[0] for query in captured]
    assert queries["with"] == queries["without"]
    # In one transaction nothing of the disk is in the figures.
    with transaction.atomic() if in_transaction else nullcontext():
        result = compare(
            {
                "receivers of one's own, without the kit": (PlainReceivers(), operation),
                "no receiver at all, without the kit": (wired(), operation),
                "the kit audits every other model": (wired(OTHERS), operation),
            },
            rounds=41,
            # Many: each round wraps Django anew, and Python has to learn the new methods first.
            number=1000 if operation is not load else 100,
        )
    assert not Product.objects.exists()
    where = "in a transaction" if in_transaction else "in autocommit"
    show(f"{operation.__name__} of a model that no receiver covers, {where}", result)
