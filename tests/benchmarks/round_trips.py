"""How often a write goes to the server and back: the price of a network. PostgreSQL only.

    SIGNAL_KIT_TEST_DATABASE=postgres python -m tests.benchmarks.round_trips [--delay MS]

BEGIN and COMMIT are counted; in an open transaction only what the write adds.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

BATCH = 10

#: Name -> the options of AuditLog; None leaves the kit out.
MODES: dict[str, dict[str, Any] | None] = {
    "bare": None,
    "database": {"old_values": "database"},
    "snapshot": {"old_values": "snapshot"},
}

#: Of one operation: what is prepared uncounted (under the same receivers), what is counted,
#: and in what it happens.
Operation = tuple[Callable[[], Any], Callable[[Any], None], Callable[[], Any]]


@dataclass(frozen=True)
class Cost:
    round_trips: int
    milliseconds: float


def get_operations() -> dict[str, Operation]:
    """Name -> operation. Needs the apps to be ready."""
    from django.db import transaction

    from django_signal_kit import batch
    from tests.apps.testapp.models import Line, Product

    product = Product.objects.create(name="p")

    def nothing() -> None:
        return None

    def stored() -> Line:
        made = Line.objects.create(product=product, text="old")
        return Line.objects.get(pk=made.pk)

    def several() -> list[Line]:
        return [stored() for _ in range(BATCH)]

    def create(_: None) -> None:
        Line.objects.create(product=product, text="new")

    def update(line: Line) -> None:
        line.text = "new"
        line.save()

    def save(line: Line) -> None:
        line.save()

    def delete(line: Line) -> None:
        line.delete()

    def update_in_batch(lines: list[Line]) -> None:
        with batch():
            for line in lines:
                update(line)

    def update_in_atomic(lines: list[Line]) -> None:
        with transaction.atomic():
            for line in lines:
                update(line)

    autocommit, atomic = _open_nothing, _open_transaction
    return {
        "create": (nothing, create, autocommit),
        "update": (stored, update, autocommit),
        "unchanged save": (stored, save, autocommit),
        "delete": (stored, delete, autocommit),
        "create in a transaction": (nothing, create, atomic),
        "update in a transaction": (stored, update, atomic),
        f"batch of {BATCH} updates": (several, update_in_batch, autocommit),
        f"atomic block of {BATCH} updates": (several, update_in_atomic, autocommit),
    }


@contextmanager
def _open_nothing() -> Iterator[None]:
    yield


@contextmanager
def _open_transaction() -> Iterator[None]:
    from django.db import connection, transaction

    with transaction.atomic():
        # BEGIN is sent with the first statement; it is not the write's own.
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        yield


def measure(proxy: Any, operation: Operation, *, warm_up: int = 1) -> Cost:
    """What the operation costs on a connection that goes through ``proxy``."""
    prepare, act, opened = operation
    for _ in range(warm_up):
        act(prepare())
    given = prepare()
    with opened():
        before, start = proxy.round_trips, perf_counter()
        act(given)
        cost = Cost(proxy.round_trips - before, (perf_counter() - start) * 1000)
    return cost


@contextmanager
def wired(options: dict[str, Any] | None) -> Iterator[None]:
    """AuditLog with these options on the models of the operations, or no receiver at all."""
    from django.test.utils import override_settings

    entry = {
        "RECEIVER": "django_signal_kit.receivers.AuditLog",
        "OPTIONS": {"models": ["testapp.Line"], **(options or {})},
    }
    with override_settings(SIGNAL_KIT={"RECEIVERS": [] if options is None else [entry]}):
        yield


def get_refusal(options: dict[str, Any] | None) -> str | None:
    """Why this kit does not know such old values, or None if it does."""
    from django.core.exceptions import ImproperlyConfigured

    try:
        with wired(options):
            return None
    except ImproperlyConfigured as error:
        if "'old_values'" not in str(error):
            raise
        return str(error)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--delay", type=float, default=0, help="milliseconds added each way")
    delay = parser.parse_args().delay / 1000
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django

    django.setup()
    from django.db import connection
    from django.test.utils import setup_databases, teardown_databases

    if connection.vendor != "postgresql":
        sys.exit("Round trips are counted on PostgreSQL: set SIGNAL_KIT_TEST_DATABASE=postgres.")
    config = setup_databases(verbosity=0, interactive=False, aliases={"default"})
    try:
        print_table(measure_all(delay))
    finally:
        teardown_databases(config, verbosity=0)


def measure_all(delay: float) -> dict[str, dict[str, Cost]]:
    """Mode -> operation -> cost."""
    from django.db import connection

    from tests.audit.proxy import through_proxy

    costs: dict[str, dict[str, Cost]] = {}
    with through_proxy(connection, delay=delay) as proxy:
        operations = get_operations()
        for mode, options in MODES.items():
            if refusal := get_refusal(options):
                print(f"{mode} is left out: {refusal}", file=sys.stderr)
                continue
            with wired(options):
                costs[mode] = {
                    name: measure(proxy, operation) for name, operation in operations.items()
                }
    return costs


def print_table(costs: dict[str, dict[str, Cost]]) -> None:
    print(f"| round trips (ms) | {' | '.join(costs)} |")
    print("|---" * (len(costs) + 1) + "|")
    for name in costs["bare"]:
        cells = (
            f"{cost[name].round_trips} ({cost[name].milliseconds:.1f})" for cost in costs.values()
        )
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
