"""The log leaves the database as a whole, safely, and in constant memory."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
import subprocess
import sys
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext

from django_signal_kit import context
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.audit.upkeep import exporting
from django_signal_kit.audit.upkeep.exporting import get_lines, make_safe
from django_signal_kit.receivers import AuditLog
from tests.factories import ProductFactory, TagFactory, UserFactory
from tests.management.test_progress import Terminal

pytestmark = pytest.mark.django_db(databases=["default", "other"])

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def audit(wire: Any) -> Any:
    return wire((AuditLog, {"models": ["testapp.*"]}))


def write(count: int, using: str = "default", **values: Any) -> None:
    """Entries, a day apart."""
    AuditEntry.objects.using(using).bulk_create(
        [
            AuditEntry(
                **{
                    "at": START + day * timedelta(days=1),
                    "action": "update",
                    "object_text": f"{day}",
                    "using": "default",
                    **values,
                }
            )
            for day in range(count)
        ],
        batch_size=100,
    )


def export(*args: str, **options: Any) -> str:
    out = io.StringIO()
    call_command("exportauditlog", *args, stdout=out, **options)
    return out.getvalue()


def export_texts(*args: str) -> list[str]:
    lines = export("--format", "jsonl", *args).splitlines()
    return [json.loads(line)["object_text"] for line in lines]


# JSON Lines


def test_json_lines_lose_nothing(audit: Any) -> None:
    with context(actor=UserFactory(), reason="türkis\u2028 \N{PILE OF POO}", api_token="x"):
        product = ProductFactory(price="12.50", data={"a": [1.5, None, {"password": "b"}]})
        product.name, product.api_token = "=1+1\n\ttab\r\"'", "secret"
        product.save()
        product.tags.add(TagFactory())
        product.delete()
    write(1, changes=["no", 1, None, {}], context={}, content_type_id=None)
    lines = export("--format", "jsonl").split("\n")
    assert lines.pop() == ""
    stored = {}
    for line in lines:
        row = json.loads(line)
        row.pop("model")
        values = {
            field.attname: (
                row[field.name]
                if field.name in ("changes", "context")
                else field.to_python(row[field.name])
            )
            for field in AuditEntry._meta.concrete_fields
        }
        stored[row["id"]] = values
    fields = [field.attname for field in AuditEntry._meta.concrete_fields]
    assert stored == {row["id"]: row for row in AuditEntry.objects.values(*fields)}
    assert len(stored) >= 5


def test_json_lines_say_the_model(audit: Any) -> None:
    TagFactory()
    write(1)
    models = [json.loads(line)["model"] for line in export("--format=jsonl").splitlines()]
    assert models == ["(unknown)", "testapp.Tag"]


# CSV


def test_csv_has_a_row_for_each_entry_and_a_header(audit: Any) -> None:
    with context(actor=UserFactory(username="maria")):
        tag = TagFactory(name='a "b", c\nd')
    header, row = csv.reader(io.StringIO(export(), newline=""))
    found = dict(zip(header, row, strict=True))
    assert found["model"] == "testapp.Tag"
    assert found["object_pk"] == str(tag.pk)
    assert found["object_text"] == 'a "b", c\nd'
    assert found["actor_text"] == "maria"
    assert json.loads(found["changes"])["name"] == [None, 'a "b", c\nd']
    assert header[:3] == ["id", "at", "action"]


@pytest.mark.parametrize(
    "cell",
    [
        "=1+1",
        "+1+1",
        "-1+1",
        "@SUM(1)",
        "\t=1",
        "\r=1",
        "\n=1",
        "\tx",
        "\rx",
        "  =1",
        "\u3000=1",
        "\uff1d1+1",
        "\uff0b1",
        "\uff0d1",
        "\uff20x",
        "-",
        "-1-",
        "+49 30 1",
        "=cmd|' /C calc'!A0",
    ],
)
def test_a_cell_that_could_be_a_formula_is_text(cell: str) -> None:
    assert make_safe(cell) == f"'{cell}"
    AuditEntry.objects.create(action="update", object_text=cell, using="default")
    header, row = csv.reader(io.StringIO(export(), newline=""))
    assert row[header.index("object_text")] == f"'{cell}"


@pytest.mark.parametrize("cell", ["", "0", "-5", "+5", "-12.50", "1e-5", "-1E+5", "a=b", "a-b"])
def test_a_number_or_a_plain_text_stays_readable(cell: str) -> None:
    assert make_safe(cell) == cell


def test_a_number_in_other_digits_is_no_number() -> None:
    assert make_safe("-٣") == "'-٣"


# Which entries


def test_a_span_of_time_has_its_first_moment_and_not_its_last() -> None:
    write(5)
    assert export_texts("--since", "2026-01-02T00:00Z", "--until", "2026-01-04T00:00Z") == [
        "1",
        "2",
    ]


def test_a_day_begins_in_the_time_zone_of_the_project() -> None:
    # In Madrid, an hour before UTC.
    write(2)
    AuditEntry.objects.create(
        at=START - timedelta(hours=1), action="update", object_text="first", using="default"
    )
    assert export_texts("--since", "2026-01-01") == ["first", "0", "1"]
    assert export_texts("--until", "2026-01-02") == ["first", "0"]


def test_the_order_is_that_of_time() -> None:
    write(2)
    write(1, at=START - timedelta(days=1), object_text="late")
    assert export_texts() == ["late", "0", "1"]


def test_one_model_and_one_object(audit: Any) -> None:
    first, _, product = TagFactory(name="a"), TagFactory(name="b"), ProductFactory(name="c")
    assert export_texts("--model", "testapp.Tag") == ["a", "b"]
    assert export_texts("--model", "testapp.Tag", "testapp.Product") == ["a", "b", "c"]
    assert export_texts("--model", "testapp.tag", "--object", str(first.pk)) == ["a"]
    assert export_texts("--model", "testapp.Product", "--object", str(product.pk)) == ["c"]
    assert export_texts("--model", "testapp.Line") == []


def test_an_object_without_its_model_is_told() -> None:
    with pytest.raises(CommandError, match="--object needs one"):
        export("--object", "1")
    with pytest.raises(CommandError, match=r"no model 'testapp\.Tga'"):
        export("--model", "testapp.Tga")
    with pytest.raises(CommandError, match="'soon' is no moment"):
        export("--since", "soon")


def test_what_one_user_did(audit: Any) -> None:
    maria, other = UserFactory(username="maria"), UserFactory(username="other")
    for user, name in ((maria, "a"), (other, "b"), (None, "c")):
        with context(actor=user):
            TagFactory(name=name)
    assert export_texts("--actor", "maria") == ["a"]
    assert export_texts("--actor", str(other.pk)) == ["b"]
    maria.delete()
    assert export_texts("--actor", "maria") == ["a"]
    assert export_texts("--actor", "nobody") == []


def test_a_log_in_another_database() -> None:
    write(1)
    write(2, using="other")
    assert len(export_texts("--using", "other")) == 2


# How


def test_every_page_is_read_and_none_is_longer_than_a_page(monkeypatch: Any) -> None:
    monkeypatch.setattr(exporting, "_CHUNK", 3)
    write(7)
    write(4, at=START)
    with CaptureQueriesContext(connection) as queries:
        assert len(export_texts()) == 11
    asked = [query["sql"] for query in queries if AuditEntry._meta.db_table in query["sql"]]
    pages = [sql for sql in asked if "ORDER BY" in sql]
    assert len(pages) == 4
    assert all("LIMIT 3" in page and "OFFSET" not in page for page in pages)


def test_memory_does_not_grow_with_the_log(monkeypatch: Any) -> None:
    monkeypatch.setattr(exporting, "_CHUNK", 50)
    write(1000, changes={"text": [None, "x" * 20_000]})
    entries: QuerySet[Any] = QuerySet(AuditEntry)
    tracemalloc.start()
    try:
        size = sum(map(len, get_lines(entries, "jsonl")))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size > 20_000_000
    assert peak < 10_000_000


def test_a_file_takes_its_name_when_it_is_whole(tmp_path: Path) -> None:
    write(2)
    file = tmp_path / "log.csv"
    assert export("--output", str(file)) == f"{file}: 2 entries\n"
    assert file.read_bytes().startswith(b'"id","at","action"')
    assert len(file.read_bytes().splitlines()) == 3
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_what_fails_leaves_no_half_a_file(tmp_path: Path, monkeypatch: Any, error: Any) -> None:
    write(5)
    file = tmp_path / "log.csv"
    file.write_text("what was there")
    seen = []

    def fail(cell: str) -> str:
        seen.append(cell)
        if len(seen) > 30:
            raise error
        return cell

    monkeypatch.setattr(exporting, "make_safe", fail)
    with pytest.raises(error):
        export("--output", str(file))
    assert file.read_text() == "what was there"
    assert list(tmp_path.iterdir()) == [file]


def test_a_link_stays_a_link_and_a_device_a_device(tmp_path: Path) -> None:
    write(1)
    (tmp_path / "link").symlink_to(tmp_path / "file")
    export("--output", str(tmp_path / "link"))
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() != ""
    export("--output", os.devnull)
    assert not Path(os.devnull).is_file()


def test_a_directory_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"cannot be written: .*No such file"):
        export("--output", str(tmp_path / "no" / "log.csv"))


def test_a_terminal_sees_how_far_it_is_and_the_output_has_the_entries_only() -> None:
    write(2)
    screen = Terminal()
    assert len(export("--format=jsonl", stderr=screen).splitlines()) == 2
    assert "entries" in screen.getvalue()


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    code = """
import django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes",
                    "django_signal_kit", "django_signal_kit.audit"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    USE_TZ=True, DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from django_signal_kit.audit.models import AuditEntry
AuditEntry.objects.bulk_create(
    [AuditEntry(action="update", object_text="x" * 1000, using="default") for _ in range(3000)]
)
call_command("exportauditlog")
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert (process.stderr.read(), process.wait(60)) == ("", 0)
    process.stderr.close()
