"""Whatever happens to those who write: the log, told from its beginning, gives the tables."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.rows.values import to_json
from tests.apps.testapp.models import Product
from tests.factories import TagFactory
from tests.faults.size import SIZE

pytestmark = pytest.mark.django_db(transaction=True)

KILLS = 25 * SIZE
ROOT = Path(__file__).parents[2]
# What is redacted cannot be told from the log.
OPTIONS = {"models": ["testapp.Product"], "exclude_fields": ["api_token"]}

#: How to ask for those who are still at work on this database.
OTHERS = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()",
    "mysql": "SELECT count(*) FROM information_schema.processlist "
    "WHERE db = database() AND id <> connection_id()",
}


def test_writers_that_are_killed_leave_a_log_that_tells_the_tables(tmp_path: Path) -> None:
    TagFactory.create_batch(4)
    seed = random.getrandbits(32)
    run_writers(tmp_path, seed)
    await_servers()
    rows, links = replay(seed)
    assert rows == get_rows(), f"seed {seed}"
    assert links == get_links(), f"seed {seed}"
    # Not for nothing.
    assert AuditEntry.objects.count() > KILLS


def run_writers(scratch: Path, seed: int) -> None:
    receiver = {"RECEIVER": "django_signal_kit.receivers.AuditLog", "OPTIONS": OPTIONS}
    result = subprocess.run(
        [sys.executable, "-m", "tests.faults.nursery", str(KILLS), str(seed)],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.faults.settings",
            "SIGNAL_KIT_FAULTS_DATABASE": str(connection.settings_dict["NAME"]),
            "SIGNAL_KIT_FAULTS_RECEIVERS": json.dumps([receiver]),
            # Who is killed cannot tidy up.
            "TMPDIR": str(scratch),
        },
        capture_output=True,
        text=True,
        timeout=240 * SIZE,
    )
    assert result.returncode == 0, f"seed {seed}\n{result.stderr}"


def await_servers() -> None:
    """Wait until the server has noticed that the killed clients are gone."""
    if connection.vendor not in OTHERS:
        return
    for _ in range(600):
        with connection.cursor() as cursor:
            cursor.execute(OTHERS[connection.vendor])
            if cursor.fetchone() == (0,):
                return
        time.sleep(0.1)
    raise TimeoutError("The server still works for clients that are gone.")


def replay(seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The rows and their links, as the log tells them. Each entry has to go on from the one
    before it, and to change something."""
    rows: dict[str, dict[str, Any]] = {}
    links: defaultdict[str, set[Any]] = defaultdict(set)
    for entry in AuditEntry.objects.order_by("pk"):
        key, changes = entry.object_pk, entry.changes
        said = f"seed {seed}, entry {entry.pk}: {entry.action} {key} {changes}"
        assert changes, said
        if entry.action == "create":
            assert key not in rows, said
            rows[key] = {}
        assert key in rows, said
        if entry.action in ("create", "update", "delete"):
            apply(rows[key], changes, said)
        else:
            apply_links(links[key], changes["tags"], said)
        if entry.action == "delete":
            assert not rows.pop(key), said
            # Django sends no signal of the links that go with a row.
            links.pop(key, None)
    return rows, {key: found for key, found in links.items() if found}


def apply(row: dict[str, Any], changes: dict[str, Any], said: str) -> None:
    for name, (old, new) in changes.items():
        assert row.pop(name, None) == old != new, said
        if new is not None:
            row[name] = new


def apply_links(found: set[Any], change: dict[str, list[Any]], said: str) -> None:
    added, removed = set(change.get("added", ())), set(change.get("removed", ()))
    assert removed <= found, said
    assert not added & found, said
    found -= removed
    found |= added


def get_rows() -> dict[str, Any]:
    fields = [field for field in Product._meta.concrete_fields if field.name != "api_token"]
    return {
        str(product.pk): {
            field.name: value
            for field in fields
            if (value := to_json(field.value_from_object(product))) is not None
        }
        for product in Product.objects.all()
    }


def get_links() -> dict[str, Any]:
    links: defaultdict[str, set[Any]] = defaultdict(set)
    through: Any = Product.tags.through
    for product, tag in through.objects.values_list("product_id", "tag_id"):
        links[str(product)].add(tag)
    return dict(links)
