"""``verifyauditlog --rows`` says which rows are wrong, and exits so that cron notices."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import models

from django_signal_kit.audit.comparing import walking
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.receivers import AuditLog
from tests.apps.testapp.models import Product, Tag
from tests.audit import strange_fields as strange
from tests.audit.comparing.asking import change, delete, tell
from tests.factories import ProductFactory, TagFactory
from tests.management.test_progress import Terminal

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "other"]),
    pytest.mark.usefixtures("fresh_content_types"),
]


@pytest.fixture
def log(wire: Any) -> None:
    wire((AuditLog, {"models": ["testapp.Product", "testapp.Tag"]}))


def verify(*args: str, **options: Any) -> tuple[str, str]:
    """The output, and the error."""
    out = io.StringIO()
    try:
        call_command("verifyauditlog", "--rows", *args, stdout=out, **options)
    except CommandError as error:
        return out.getvalue(), str(error)
    return out.getvalue(), ""


def test_rows_that_are_what_the_log_says(log: None) -> None:
    ProductFactory()
    assert verify() == (
        "testapp.Product: 1 compared, 0 found\ntestapp.Tag: 0 compared, 0 found\n",
        "",
    )
    assert verify(verbosity=0) == ("", "")


def test_each_row_is_named_with_what_differs_and_the_last_entry(log: None) -> None:
    product, tag = ProductFactory(stock=3), TagFactory()
    change(product, "stock", 4)
    delete(tag)
    first, last = AuditEntry.objects.order_by("pk")
    out, error = verify()
    assert out.splitlines() == [
        f"testapp.Product {product.pk}: stock is 4, and entry {first.pk} has 3 "
        f"(last: entry {first.pk} of {first.at})",
        "testapp.Product: 1 compared, 1 found",
        f"testapp.Tag {tag.pk}: is gone, and entry {last.pk} of {last.at} is the last about it",
        "testapp.Tag: 0 compared, 1 found",
    ]
    assert error == "2 rows are not what the log says."


def test_what_is_found_is_said_to_cron_alone(log: None) -> None:
    tag = TagFactory(name="a")
    change(tag, "name", "b")
    out, error = verify(verbosity=0)
    assert out.startswith(f"testapp.Tag {tag.pk}: name is ")
    assert out.count("\n") == 1
    assert error == "1 row is not what the log says."


def test_only_some_models(log: None) -> None:
    change(TagFactory(), "name", "b")
    assert verify(model=[Product])[1] == ""
    assert verify("--model", "testapp.Tag")[1] == "1 row is not what the log says."
    with pytest.raises(CommandError, match=r"No AuditLog covers 'testapp\.Note'"):
        call_command("verifyauditlog", "--rows", "--model", "testapp.Note")


def test_rows_of_another_database(log: None) -> None:
    tag = Tag.objects.using("other").create(name="a")
    change(tag, "name", "b", using="other")
    assert verify()[1] == ""
    assert verify("--database", "other")[1] == "1 row is not what the log says."


def test_unknown_rows_are_counted_and_wrong_if_the_log_is_complete(wire: Any) -> None:
    TagFactory()
    wire((AuditLog, {"models": ["testapp.Tag"]}))
    assert verify() == (
        "testapp.Tag: 1 compared, 0 found, 1 of whose creation nothing is known\n",
        "",
    )
    out, error = verify("--complete")
    assert "is there, and no entry tells that it was created" in out
    assert error


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--model", "testapp.Tag"], "--model is about the rows. Give --rows with it."),
        (["--since", "2026-01-01"], "--since is about the rows."),
        (["--complete"], "--complete is about the rows."),
        (["--rows", "--anchor", "0" * 64], "--anchor is about the seals. Leave it out."),
        (["--rows", "--chunk", "0"], "0'? is no whole number above 0."),
        (["--rows", "--since", "soon"], "'soon' is no moment."),
        (["--rows", "--using", "nowhere"], "There is no database 'nowhere'. Choose from default"),
    ],
)
def test_options_that_mean_nothing(log: None, args: list[str], says: str) -> None:
    with pytest.raises(CommandError, match=says):
        call_command("verifyauditlog", *args)


def test_without_a_log_there_is_nothing_to_compare(wire: Any) -> None:
    wire()
    with pytest.raises(CommandError, match="No AuditLog covers any model"):
        call_command("verifyauditlog", "--rows")


def test_progress_on_a_terminal(log: None) -> None:
    ProductFactory.create_batch(3)
    terminal = Terminal()
    call_command("verifyauditlog", "--rows", stderr=terminal, stdout=io.StringIO())
    assert "testapp.Product: 0 found" in terminal.getvalue()


def test_an_interrupted_run_says_so(log: None, monkeypatch: pytest.MonkeyPatch) -> None:
    ProductFactory()

    def interrupt(*args: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(walking.Walk, "run", interrupt)
    with pytest.raises(CommandError, match="run it again from the start") as caught:
        call_command("verifyauditlog", "--rows", stdout=io.StringIO())
    assert caught.value.returncode == 130


def test_the_exit_status_is_one_for_cron() -> None:
    root = Path(__file__).parents[3]
    run = subprocess.run(
        [sys.executable, "-m", "django", "verifyauditlog", "--rows"],
        cwd=root,
        env={"DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert (run.returncode, "No AuditLog covers any model" in run.stderr) == (1, True)


# Values and keys that are not easy


@pytest.mark.parametrize(
    ("field", "value", "raw"),
    [
        (lambda: strange.PointField(max_length=9), strange.Point(1, 2), "3,4"),
        (lambda: strange.VectorField(), strange.Vector(1, 2), "[3, 4]"),
    ],
)
def test_fields_of_other_people(
    make_model: Any, wire: Any, field: Any, value: Any, raw: str
) -> None:
    model = make_model("Holder", models.Model, value=field())
    wire((AuditLog, {"models": ["testapp.Holder"]}))
    row = model.objects.create(value=value)
    assert tell(is_complete=True) == []
    change(row, "value", raw)
    assert [sorted(fields) for _, _, fields in tell()] == [["value"]]


def test_keys_that_are_secrets(make_model: Any, wire: Any) -> None:
    access = make_model(
        "Access",
        models.Model,
        token=models.CharField(max_length=40, primary_key=True),
        note=models.CharField(max_length=40, default=""),
    )
    wire((AuditLog, {"models": ["testapp.Access"]}))
    row, gone = access.objects.create(token="s3cret", note="a"), access.objects.create(token="x")
    assert tell(is_complete=True) == []
    change(row, "note", "b")
    # Nobody can tell which row an entry about a secret key was about.
    delete(gone)
    out, _ = verify()
    assert "note is" in out
    assert "s3cret" not in out
    assert out.count("[redacted ") == 1
