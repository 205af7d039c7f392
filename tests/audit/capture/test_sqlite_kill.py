"""Writers to SQLite that are killed leave a log, written by triggers, that tells the tables."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.receivers import AuditLog
from tests.audit.capture.pairs import installed
from tests.factories import TagFactory
from tests.faults import test_audit_kill as killing

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "sqlite", reason="triggers of SQLite"),
]


def test_the_log_tells_the_tables_after_writers_were_killed(
    wire: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    options = {**killing.OPTIONS, "capture": "triggers"}
    monkeypatch.setattr(killing, "OPTIONS", options)
    wire((AuditLog, options))
    with installed():
        TagFactory.create_batch(4)
        seed = random.getrandbits(32)
        killing.run_writers(tmp_path, seed)
        rows, links = killing.replay(seed)
        assert rows == killing.get_rows(), f"seed {seed}"
        assert links == killing.get_links(), f"seed {seed}"
        assert AuditEntry.objects.count() > killing.KILLS
