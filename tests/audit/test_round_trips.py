"""How often a covered write waits for the database: on a network that is what it costs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from tests.audit.proxy import Proxy, through_proxy
from tests.benchmarks import round_trips
from tests.benchmarks.round_trips import BATCH

#: The most round trips that a write may take, BEGIN and COMMIT included. To be tightened as
#: writes get faster, never to be loosened.
LIMITS = {
    "bare": {
        "create": 1,
        "update": 1,
        "unchanged save": 1,
        "delete": 1,
        "create in a transaction": 1,
        "update in a transaction": 1,
        f"batch of {BATCH} updates": BATCH + 2,
        f"atomic block of {BATCH} updates": BATCH + 2,
    },
    "database": {
        "create": 3,
        "update": 4,
        "unchanged save": 4,
        "delete": 4,
        "create in a transaction": 2,
        "update in a transaction": 3,
        f"batch of {BATCH} updates": 2 * BATCH + 2,
        f"atomic block of {BATCH} updates": 3 * BATCH + 2,
    },
    "snapshot": {
        "create": 3,
        "update": 3,
        "unchanged save": 3,
        "delete": 3,
        "create in a transaction": 2,
        "update in a transaction": 2,
        f"batch of {BATCH} updates": BATCH + 2,
        f"atomic block of {BATCH} updates": 2 * BATCH + 2,
    },
}

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        connection.vendor != "postgresql", reason="round trips are counted on PostgreSQL alone"
    ),
]


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with through_proxy(connection) as proxy:
        yield proxy


@pytest.fixture(params=LIMITS)
def mode(request: Any) -> str:
    refusal = round_trips.get_refusal(round_trips.MODES[request.param])
    if refusal is not None:
        pytest.skip(f"AuditLog does not know this yet: {refusal}")
    return str(request.param)


def test_a_statement_is_one_round_trip_however_long_it_is(proxy: Proxy) -> None:
    with connection.cursor() as cursor:
        for text in ("", "x" * 1_000_000):
            before = proxy.round_trips
            cursor.execute("SELECT %s", [text])
            assert cursor.fetchone() == (text,)
            assert proxy.round_trips == before + 1


def test_a_write_waits_no_more_often_than_it_has_to(proxy: Proxy, mode: str) -> None:
    operations = round_trips.get_operations()
    assert set(operations) == set(LIMITS[mode])
    with round_trips.wired(round_trips.MODES[mode]):
        taken = {
            name: round_trips.measure(proxy, operation).round_trips
            for name, operation in operations.items()
        }
    over = {name: count for name, count in taken.items() if count > LIMITS[mode][name]}
    assert over == {}, f"over the limits of {mode}; counted: {taken}"
