"""Whoever is killed, at whichever instant: what triggers of MariaDB tell leads to the tables."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection, connections

from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.receivers import AuditLog
from tests.audit.capture.both import alone
from tests.audit.capture.installing import installed
from tests.audit.capture.mysql import only_on_mysql
from tests.factories import TagFactory
from tests.faults import test_audit_kill as faults
from tests.faults.nursery import WRITERS
from tests.faults.size import SIZE
from tests.faults.writing import write

pytestmark = [pytest.mark.django_db(transaction=True), only_on_mysql]

KILLS = 40 * SIZE
OPTIONS = {**faults.OPTIONS, "capture": "triggers"}


@pytest.fixture(autouse=True)
def triggers(wire: Any) -> Iterator[None]:
    TagFactory.create_batch(4)
    with alone():
        wire((AuditLog, OPTIONS))
        with installed():
            yield


def assert_that_the_log_tells_the_tables(seed: int) -> None:
    rows, links = faults.replay(seed)
    assert rows == faults.get_rows(), f"seed {seed}"
    assert links == faults.get_links(), f"seed {seed}"
    # Not for nothing.
    assert AuditEntry.objects.count() > KILLS
    # By triggers, each of whose entries is of one row.
    assert not AuditEntry.objects.filter(context__by="database").exists()


def test_writers_that_are_killed(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(faults, "OPTIONS", OPTIONS)
    seed = random.getrandbits(32)
    faults.run_writers(tmp_path, seed)
    faults.await_servers()
    assert_that_the_log_tells_the_tables(seed)


def test_sessions_that_are_killed() -> None:
    seed = random.getrandbits(32)
    chance = random.Random(seed)
    stop = threading.Event()
    lost = threading.Semaphore(0)

    def work(slot: int) -> None:
        number = seed + 1_000_000 * slot
        try:
            while not stop.is_set():
                number += 1
                try:
                    write(slot, number)
                    connections["default"].close_if_unusable_or_obsolete()
                except OperationalError:
                    # Killed while it was being opened.
                    connections["default"].close()
                if connections["default"].connection is None:
                    lost.release()
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work, args=(slot,)) for slot in range(WRITERS)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(KILLS):
            # Once somebody has written something.
            await_entries()
            assert kill_one(chance)
            assert lost.acquire(timeout=60)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    faults.await_servers()
    assert_that_the_log_tells_the_tables(seed)


def await_entries() -> None:
    end, before = time.monotonic() + 60, AuditEntry.objects.count()
    while AuditEntry.objects.count() == before:
        assert time.monotonic() < end, "nobody writes"


def kill_one(chance: random.Random) -> bool:
    """Take its session away from a writer; one may just be leaving by itself."""
    for _ in range(100):
        with connection.cursor() as cursor, suppress(OperationalError):
            cursor.execute(
                "SELECT id FROM information_schema.processlist "
                "WHERE db = DATABASE() AND id <> CONNECTION_ID()"
            )
            found = [key for (key,) in cursor.fetchall()]
            if found:
                cursor.execute("KILL %s", [chance.choice(found)])
                return True
    return False
