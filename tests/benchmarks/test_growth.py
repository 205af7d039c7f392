"""A row late in a long transaction costs what an early one costs.

pytest tests/benchmarks/test_growth.py -s; ROWS=100000 for the full length.
"""

from __future__ import annotations

import gc
import os
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from django.db import transaction

from django_signal_kit import batch
from tests.apps.testapp.models import Plain

pytestmark = pytest.mark.django_db(transaction=True)

ROWS = int(os.environ.get("ROWS", "20000"))
PART = 1000

KIT = "django_signal_kit.receivers."
RECEIVERS = {
    "AuditLog": (f"{KIT}AuditLog", {"models": ["testapp.Plain"]}),
    "AuditLog, snapshot": (
        f"{KIT}AuditLog",
        {"models": ["testapp.Plain"], "old_values": "snapshot"},
    ),
    "CacheInvalidation": (f"{KIT}CacheInvalidation", {"models": ["testapp.Plain"], "keys": ["a"]}),
    "CacheInvalidation, a key a row": (
        f"{KIT}CacheInvalidation",
        {"models": ["testapp.Plain"], "keys": ["plain:{pk}"]},
    ),
}


def import_row(number: int) -> None:
    """A row in a savepoint of its own; each tenth fails."""
    with suppress(KeyError), transaction.atomic():
        plain = Plain.objects.create(name=str(number))
        plain.name = "changed"
        plain.save()
        if number % 10 == 0:
            raise KeyError


@pytest.mark.parametrize("opened", [batch, transaction.atomic])
@pytest.mark.parametrize("name", RECEIVERS)
def test_rows_in_savepoints(wired: Any, name: str, opened: Callable[[], Any]) -> None:
    seconds: list[float] = []
    with wired(RECEIVERS[name]):
        import_row(1)
        gc.collect()
        with opened():
            for start in range(0, ROWS, PART):
                begun = time.perf_counter()
                for number in range(start, start + PART):
                    import_row(number)
                seconds.append(time.perf_counter() - begun)
    early, late = min(seconds[:3]), min(seconds[-3:])
    print(
        f"\n{name}, {opened.__name__}(): {early / PART * 1e6:.0f} us a row at first, "
        f"{late / PART * 1e6:.0f} us after {ROWS:,} rows"
    )
    assert late < 2 * early


@pytest.mark.parametrize("name", ["AuditLog", "AuditLog, snapshot", "CacheInvalidation"])
def test_what_a_batch_holds(wired: Any, name: str) -> None:
    """Of receivers of whom nothing waits for each row."""
    held: list[int] = []
    with wired(RECEIVERS[name]):
        import_row(1)
        gc.collect()
        tracemalloc.start()
        with batch():
            for number in range(ROWS // 2):
                import_row(number)
                if number in (2 * PART, ROWS // 2 - 1):
                    gc.collect()
                    held.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
    print(f"\n{name}: {held[0] / 1e6:.1f} MB after {2 * PART:,} rows, {held[1] / 1e6:.1f} MB late")
    assert held[1] < 2 * max(held[0], 1_000_000)
