"""From code a command takes what it takes from the command line, and the values that this stands
for; what is wrong is a CommandError that names the option and the value."""

from __future__ import annotations

import io
import json
import uuid
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.core.management import CommandError, call_command, get_commands
from django.db import connection
from django.utils import timezone

from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.durations import Duration
from django_signal_kit.receivers import AuditLog, CreateRelated
from tests.apps.testapp.models import Product, Tag
from tests.factories import TagFactory

pytestmark = pytest.mark.django_db(transaction=True)

#: Those that have the option --using.
USING = {
    "backfillauditlog",
    "createrelated",
    "exportauditlog",
    "invalidatecache",
    "partitionauditlog",
    "pruneauditlog",
    "recountm2m",
    "sealauditlog",
    "sendwelcomeemail",
    "verifyauditlog",
}
#: Without "migrate", whose arguments are Django's.
OWN = [
    name
    for name, app in get_commands().items()
    if str(app).startswith("django_signal_kit") and name != "migrate"
]


@pytest.fixture(autouse=True)
def _wired(wire: Any) -> None:
    ContentType.objects.clear_cache()
    wire((AuditLog, {"models": ["testapp.Tag"]}))


def call(name: str, *args: Any, **options: Any) -> str:
    out = io.StringIO()
    call_command(name, *args, stdout=out, stderr=out, **options)
    return out.getvalue()


def add_entry(days: int, model: Any = Tag, **values: Any) -> Any:
    return AuditEntry.objects.create(
        at=timezone.now() - timedelta(days=days),
        action="update",
        content_type=ContentType.objects.get_for_model(model),
        using="default",
        **{"object_pk": "1", **values},
    )


# What is taken


@pytest.mark.parametrize("older_than", ["90d", Duration(hours=90 * 24), timedelta(days=90)])
def test_a_length_of_time(older_than: Any) -> None:
    add_entry(89)
    add_entry(91)
    told = call("pruneauditlog", older_than=older_than, chunk="10", dry_run=False)
    assert "Total: 1 deleted" in told


@pytest.mark.parametrize(
    "since", ["2026-01-31", date(2026, 1, 31), datetime(2026, 1, 31), "2026-01-31T00:00+01:00"]
)
def test_a_moment(since: Any) -> None:
    for day in (30, 31):
        add_entry(0, object_pk=str(day))
        at = datetime(2026, 1, day, 12, tzinfo=UTC)
        AuditEntry.objects.filter(object_pk=str(day)).update(at=at)
    until = datetime(2026, 2, 1, tzinfo=UTC)
    told = call("exportauditlog", format="jsonl", since=since, until=until)
    assert [json.loads(line)["object_pk"] for line in told.splitlines()] == ["31"]


@pytest.mark.parametrize("model", ["testapp.Tag", Tag, ["testapp.Tag"], (Tag,), ["testapp.tag"]])
def test_models(model: Any) -> None:
    add_entry(91)
    add_entry(91, Product)
    assert "Total: 1 deleted" in call("pruneauditlog", older_than="90d", model=model)
    TagFactory()
    AuditEntry.objects.all().delete()
    assert "testapp.Tag: 1 recorded" in call("backfillauditlog", models=model)
    name = model[0] if isinstance(model, list | tuple) else model
    assert "AuditLog" in call("showreceivers", model=name, signal="post_save")


@pytest.mark.parametrize("key", [17, "17", uuid.UUID(int=17)])
def test_a_key_and_a_path(key: Any, tmp_path: Path) -> None:
    add_entry(1, object_pk=str(key))
    add_entry(1, object_pk="18")
    file = tmp_path / "log.jsonl"
    told = call("exportauditlog", format="jsonl", model=Tag, object=key, output=file)
    assert "1 entries" in told
    assert len(file.read_text().splitlines()) == 1


def test_texts_where_a_number_or_nothing_is_meant() -> None:
    TagFactory()
    assert call("sealauditlog", size="1", timeout="5", lag="0", verbosity="0").startswith("Latest")
    assert "OK" in call("verifyauditlog", anchor=None, using="default")
    digest = "0" * 64
    with pytest.raises(CommandError):
        call("verifyauditlog", anchor=digest)
    assert call("backfillauditlog", verbosity="0", chunk=None, models=None) == ""


def test_the_names_of_receivers(wire: Any) -> None:
    wire((CreateRelated, {"related": "belongings.Gate"}))
    for names in ("CreateRelated", ["CreateRelated"]):
        assert "0 created" in call("createrelated", receivers=names, chunk="5", using="default")
    with pytest.raises(CommandError, match="No M2MCount covers"):
        call("recountm2m", models=Tag, chunk="5")


# What is refused

WRONG: list[tuple[str, dict[str, Any], str]] = [
    *(
        ("pruneauditlog", {"older_than": value}, r"^--older-than: .*is no length of time")
        for value in ("soon", "", timedelta(minutes=90), timedelta(0), timedelta(days=-1))
    ),
    *(
        ("pruneauditlog", {"older_than": value}, r"^--older-than: .* is no text, but of the type")
        for value in (5.5, True, object(), datetime.now(UTC), [])
    ),
    ("pruneauditlog", {"older_than": timedelta.max}, "--older-than: .*"),
    ("pruneauditlog", {"older_than": 90}, "--older-than: '90' is no length of time"),
    *(
        (name, {"chunk": value}, rf"^--chunk: {value!r} is no whole number above 0")
        for value in ("many", "", 0, -1, 2.5, True)
        for name in ("pruneauditlog", "backfillauditlog", "createrelated", "recountm2m")
    ),
    *(
        (name, {"using": value}, f"{value}")
        for value in ("archive", 5)
        for name in OWN
        if name in USING
    ),
    *((name, {"verbosity": 7}, "--verbosity is 7.") for name in OWN),
    *((name, {"verbosity": "loud"}, "--verbosity is 'loud'") for name in OWN),
    *(
        (name, {"dry_run": "no"}, "--dry-run is 'no'. Give True or False")
        for name in ("pruneauditlog", "backfillauditlog", "createrelated", "recountm2m")
    ),
    ("exportauditlog", {"format": "xml"}, r"^--format is 'xml'\. .*csv"),
    ("showreceivers", {"format": "xml"}, r"^--format is 'xml'\. .*json"),
    ("tracesignals", {}, "Name the command to run"),
    ("exportauditlog", {"since": "someday"}, "--since: 'someday' is no moment"),
    ("exportauditlog", {"until": 5.5}, "--until: 5.5 is no text"),
    ("exportauditlog", {"until": 2026}, "--until: 2026 is no moment"),
    ("exportauditlog", {"model": 5.5}, "--model is 5.5. Give a list of texts"),
    ("exportauditlog", {"model": [5.5]}, "--model: 5.5 is no text"),
    ("exportauditlog", {"model": "testapp.Tga"}, "Did you mean 'testapp.Tag'"),
    ("exportauditlog", {"object": ["1"], "model": Tag}, "--object: .* is no text"),
    ("exportauditlog", {"actor": 5.5}, "--actor: 5.5 is no text"),
    ("partitionauditlog", {"months": "few"}, "--months: 'few' is no whole number"),
    ("partitionauditlog", {"drop_older_than": "x"}, "--drop-older-than: 'x' is no length"),
    ("sealauditlog", {"size": "big"}, "--size is 'big', which is no number"),
    ("sealauditlog", {"size": 2.5}, "--size: 2.5 is no text"),
    ("sealauditlog", {"timeout": "long"}, "--timeout is 'long', which is no number"),
    ("sealauditlog", {"timeout": [1]}, r"--timeout is \[1\], which is no number"),
    ("sealauditlog", {"lag": float("nan")}, "--lag is nan. Give seconds"),
    ("sealauditlog", {"timeout": "inf"}, "--timeout is inf. Give seconds"),
    ("verifyauditlog", {"anchor": 5.5}, "--anchor is 5.5. Give a list"),
    ("verifyauditlog", {"anchor": ["x"]}, "--anchor is 'x'. Give a whole digest"),
    ("showreceivers", {"signal": 5.5}, "--signal: 5.5 is no text"),
    ("showreceivers", {"model": 5.5}, "--model: 5.5 is no text"),
    ("createrelated", {"receivers": 5.5}, "^receivers is 5.5. Give a list of texts"),
    ("recountm2m", {"models": ["shop.No"]}, "There is no model 'shop.No'"),
]


@pytest.mark.parametrize(
    ("name", "options", "match"),
    WRONG,
    ids=[f"{name}-{next(iter(options), None)}-{n}" for n, (name, options, _) in enumerate(WRONG)],
)
def test_what_is_wrong_is_told(name: str, options: dict[str, Any], match: str) -> None:
    with pytest.raises(CommandError, match=match):
        call(name, **options)


def test_each_command_of_the_kit_is_among_them() -> None:
    assert {name for name, *_ in WRONG} == set(OWN)


def test_the_command_line_is_read_as_ever() -> None:
    add_entry(91)
    assert "Total: 1 would be" in call("pruneauditlog", "--older-than", "90d", "--dry-run")
    assert "Total: 1 deleted" in call("pruneauditlog", "--older-than=90d", "--model", "testapp.*")
    with pytest.raises(CommandError, match="--older-than: 'soon' is no length of time"):
        call("pruneauditlog", "--older-than", "soon")


def test_months_from_code() -> None:
    if connection.vendor == "postgresql":
        pytest.skip("It would partition the table of the tests.")
    with pytest.raises(CommandError, match="PostgreSQL"):
        call("partitionauditlog", months="2", drop_older_than=Duration(months=24))
