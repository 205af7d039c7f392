"""The demo with an audit log that triggers write, in a folder that an earlier demo has left."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections import Counter
from contextlib import closing
from typing import Any

import pytest

from tests.example import test_demo as python
from tests.example.conftest import STRICT, WATCHED, Demo, get_environment, run_manage


@pytest.fixture(scope="module")
def triggered(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    var = tmp_path_factory.mktemp("triggered") / "var"
    (var / "media" / "products").mkdir(parents=True)
    (var / "media" / "products" / "old.png").touch()
    (var / ".made-by-the-shop").touch()
    (var / "deletions.log").write_text("a line of an earlier day\n")
    (var / "notes.txt").write_text("mine")
    with closing(sqlite3.connect(var / "db.sqlite3")) as connection:
        connection.execute("CREATE TABLE of_an_earlier_day (id INTEGER)")
    done = subprocess.run(
        [*STRICT, str(WATCHED), "demo", "--capture=triggers", "--pages=50", "--port=8123"],
        cwd=var.parent,
        env=get_environment(var),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return Demo(var, done.stdout)


def run_shell(demo: Demo, code: str) -> Any:
    done = run_manage(demo.kept, "shell", "-v", "0", "-c", code, cwd=demo.kept)
    # The shop logs that other receivers do not hear of raw SQL.
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def list_triggers(demo: Demo) -> set[str]:
    rows = demo.ask("SELECT name FROM sqlite_master WHERE type = 'trigger'")
    return {row["name"] for row in rows if not row["name"].startswith("watch_")}


@pytest.mark.parametrize(
    "holds",
    [
        python.test_each_committed_change_of_a_row_has_exactly_one_entry,
        python.test_the_log_can_be_played_back_to_what_the_tables_hold,
        python.test_the_log_can_be_played_back_to_the_tags_that_products_have,
        python.test_writes_of_a_batch_are_one_unit_of_work,
        python.test_what_was_rolled_back_has_left_no_trace,
        python.test_files_and_rows_name_each_other_and_nothing_else,
        python.test_each_save_has_moved_the_stamp_on,
        python.test_each_row_has_its_stamps_and_the_last_editor,
    ],
)
def test_what_holds_of_a_log_by_python_holds(triggered: Demo, holds: Any) -> None:
    holds(triggered)


def test_the_figures_agree_and_each_link_has_its_entry(triggered: Demo) -> None:
    figures = triggered.figures
    assert figures["told"] == figures["made"]
    links = triggered.ask("SELECT verb FROM watched WHERE place = 'shop_product_tags'")
    counts = Counter(row["verb"] for row in links)
    assert figures["told"]["link"] == figures["entries"]["m2m_add"] == counts["create"] > 500
    assert figures["told"]["unlink"] == figures["entries"]["m2m_remove"] == counts["delete"] > 50
    assert python.get_table(triggered.output)["AuditLog"][0] == "AuditLog, by triggers"
    assert "All of it agrees." in triggered.output


def test_what_an_earlier_demo_wrote_is_gone_and_nothing_else(triggered: Demo) -> None:
    assert triggered.ask("SELECT name FROM sqlite_master WHERE name LIKE '%earlier%'") == []
    assert not (triggered.kept / "media" / "products" / "old.png").exists()
    assert "earlier" not in (triggered.kept / "deletions.log").read_text()
    assert (triggered.kept / "notes.txt").read_text() == "mine"


def test_who_does_not_serve_it_is_told_how(triggered: Demo) -> None:
    assert f"Mails:  {triggered.kept}/outbox\n" in triggered.output
    assert triggered.output.rstrip().endswith("runserver 8123")


def test_what_runs_afterwards_knows_and_the_way_back_is_a_word_and_a_migrate(
    triggered: Demo,
) -> None:
    assert len(list_triggers(triggered)) > 15
    found = run_shell(triggered, f"PASSWORD = {triggered.password!r}\n{AFTERWARDS}")
    assert found == {
        "who": "keeper",
        "raw": ["update", "ada", ["0.55"]],
        "reverted": True,
        "as_of": "0.55",
        "differences": 0,
        "exported": True,
    }
    (triggered.kept / "capture.txt").write_text("python\n")
    assert run_shell(triggered, BACK) == ["update"]
    assert list_triggers(triggered) == set()


AFTERWARDS = """
import json
from io import StringIO
from django.contrib.auth import authenticate
from django.core.management import call_command
from django.db import connection
from django.utils import timezone
from django_signal_kit import context
from django_signal_kit.audit.models import AuditEntry
from shop.models import Product
product = Product.objects.order_by("pk")[0]
with context(actor="ada"), connection.cursor() as cursor:
    cursor.execute("UPDATE shop_product SET price = 0.55 WHERE id = %s", [product.pk])
entry = AuditEntry.objects.latest("pk")
then = timezone.now()
entry.revert()
out, rows = StringIO(), StringIO()
call_command("verifyauditlog", "--rows", stdout=rows)
call_command("exportauditlog", format="jsonl", stdout=out)
lines = [json.loads(line) for line in out.getvalue().splitlines()]
print(json.dumps({
    "who": authenticate(username="keeper", password=PASSWORD).username,
    "raw": [entry.action, entry.actor_text, entry.changes["price"][1:]],
    "reverted": Product.objects.get(pk=product.pk).price == product.price,
    "as_of": str(AuditEntry.objects.as_of(product, then).price),
    "differences": sum(", 0 found" not in line for line in rows.getvalue().splitlines()),
    "exported": len(lines) == AuditEntry.objects.count(),
}))
"""

BACK = """
import json
from django.core.management import call_command
from django_signal_kit.audit.models import AuditEntry
from shop.models import Product
call_command("migrate", verbosity=0)
last = AuditEntry.objects.latest("pk").pk
product = Product.objects.order_by("pk")[0]
product.stock += 1
product.save()
print(json.dumps([*AuditEntry.objects.filter(pk__gt=last).values_list("action", flat=True)]))
"""
