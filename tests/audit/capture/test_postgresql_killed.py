"""Whoever is killed, writers or the database's own processes: rows and log agree."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.receivers import AuditLog
from tests.apps.rarities.models import Reading
from tests.apps.testapp.models import Tag, Token
from tests.audit.capture.both import alone
from tests.audit.capture.installing import installed
from tests.audit.replaying import replay

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="is about PostgreSQL"),
]

WRITERS, ROUNDS, MORE, PATIENCE = 3, 6, 25, 120


@pytest.fixture(autouse=True)
def audit(wire: Any) -> Iterator[None]:
    with alone():
        wire(
            (
                AuditLog,
                {
                    "models": ["testapp.Tag", "testapp.Token", "rarities.Reading"],
                    "capture": "triggers",
                },
            )
        )
        with installed():
            yield


def _start(seed: int) -> subprocess.Popen[bytes]:
    name = str(connection.settings_dict["NAME"])
    return subprocess.Popen([sys.executable, "-m", "tests.audit.capture.writer", name, str(seed)])


def _wait_for_more() -> None:
    """Until the writers have got on."""
    goal = AuditEntry.objects.count() + MORE
    deadline = time.monotonic() + PATIENCE
    while AuditEntry.objects.count() < goal:
        assert time.monotonic() < deadline, "nobody writes"
        time.sleep(0.02)


def _end_backends() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_rows_and_log_agree_whoever_is_killed() -> None:
    writers = [_start(seed) for seed in range(WRITERS)]
    try:
        for number in range(ROUNDS):
            _wait_for_more()
            if number % 2:
                _end_backends()
            else:
                writers[0].send_signal(signal.SIGKILL)
                writers.pop(0).wait(PATIENCE)
                writers.append(_start(WRITERS + number))
        _wait_for_more()
    finally:
        for writer in writers:
            writer.kill()
            writer.wait(PATIENCE)
        # What a killed client has begun, its backend may still be about to end.
        _end_backends()
        _wait_until_alone()
    replay(Tag, Token, Reading, in_order=False)
    assert set(AuditEntry.objects.values_list("context__by", flat=True)) == {None}


def _wait_until_alone() -> None:
    deadline = time.monotonic() + PATIENCE
    with connection.cursor() as cursor:
        while True:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            if cursor.fetchone() == (0,):
                return
            assert time.monotonic() < deadline
            time.sleep(0.02)
