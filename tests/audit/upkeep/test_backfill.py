"""Each row that was there before the log gets one entry, which tells what it was then."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, models
from django.test.utils import override_settings

from django_signal_kit import context
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.audit.upkeep.backfill import get_backfills
from django_signal_kit.receivers import AuditLog
from tests.apps.testapp.models import (
    Club,
    Membership,
    Note,
    Person,
    Place,
    Product,
    Restaurant,
    Tag,
    Token,
)
from tests.factories import ProductFactory, TagFactory, UserFactory
from tests.management.test_progress import Terminal
from tests.threads import in_threads

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

ROOT = Path(__file__).parents[3]


class NamedLog(AuditLog):
    def get_object_text(self, instance: models.Model) -> str:
        return f"tag {instance.name}"

    def should_record(self, instance: models.Model, action: str, changes: Any) -> bool:
        return "hidden" not in str(changes)


def backfill(*args: str, **options: Any) -> str:
    out = io.StringIO()
    call_command("backfillauditlog", *args, stdout=out, **options)
    return out.getvalue()


def entries(instance: models.Model | None = None, using: str = "default") -> list[Any]:
    found = AuditEntry.objects.using(using).order_by("id")
    if instance is not None:
        found = found.filter(object_pk=str(instance.pk))
    return list(found.values_list("action", "changes", "context"))


def cover(wire: Any, *labels: str, **options: Any) -> Any:
    return wire((AuditLog, {"models": [f"testapp.{label}" for label in labels], **options}))


# What is recorded


@pytest.mark.parametrize("old_values", ["database", "snapshot"])
def test_a_row_that_was_there_before_is_recorded_as_live_ones_are(
    wire: Any, old_values: str
) -> None:
    old = ProductFactory(name="Saw", price="12.5", data={"a": [1, {"password": "b"}]})
    note = Note.objects.create(text="four")
    cover(wire, "Product", "Note", old_values=old_values)
    assert backfill() == "testapp.Product: 1 recorded\ntestapp.Note: 1 recorded\n"
    [(action, changes, told)] = entries(old)[:1]
    assert (action, told) == ("create", {"reason": "backfill"})
    assert changes["price"] == [None, "12.50"]
    assert changes["data"] == [None, {"a": [1, {"password": "[redacted]"}]}]
    assert "editor" not in changes
    assert AuditEntry.objects.get(object_text="Saw").using == "default"
    old_note = entries(note)[-1][1]
    ProductFactory(name="new")
    assert set(AuditEntry.objects.get(object_text="new").changes) == set(changes)
    Note.objects.create(text="four")
    assert {**entries()[-1][1], "id": 0} == {**old_note, "id": 0}


def test_a_second_run_records_nothing_more(wire: Any) -> None:
    TagFactory.create_batch(3)
    cover(wire, "Tag")
    assert backfill() == "testapp.Tag: 3 recorded\n"
    assert backfill() == "testapp.Tag: 0 recorded\n"
    assert len(entries()) == 3


def test_a_row_that_the_log_has_seen_come_is_left_alone(wire: Any) -> None:
    cover(wire, "Tag")
    TagFactory()
    assert backfill() == "testapp.Tag: 0 recorded\n"


@pytest.mark.parametrize("chunk", [1, 2, 3, 100])
def test_chunks_of_any_size_record_the_same(wire: Any, chunk: int) -> None:
    tags = TagFactory.create_batch(3)
    Token.objects.bulk_create(Token() for _ in range(5))
    cover(wire, "Tag", "Token")
    TagFactory()
    backfill("--chunk", str(chunk))
    assert Counter(action for action, _, _ in entries()) == {"create": 9}
    assert all(len(entries(tag)) == 1 for tag in tags)


def test_the_hooks_of_the_receiver_are_asked(wire: Any) -> None:
    TagFactory(name="shown"), TagFactory(name="hidden")
    wire((NamedLog, {"models": ["testapp.Tag"]}))
    assert backfill() == "testapp.Tag: 1 recorded\n"
    assert AuditEntry.objects.get().object_text == "tag shown"


def test_secrets_and_fields_that_are_left_out_stay_out(wire: Any) -> None:
    product = ProductFactory(name="Saw", api_token="t0p", slug="iban 12")
    cover(wire, "Product", redact=["slug"], exclude_fields=["price"], m2m=False)
    backfill()
    [(_, changes, _)] = entries(product)
    assert changes["api_token"] == changes["slug"] == [None, "[redacted]"]
    assert "price" not in changes
    assert "iban" not in str(changes)


# What has happened under the log before


def test_a_row_that_was_changed_under_the_log_is_recorded_as_it_was_before(wire: Any) -> None:
    product = ProductFactory(name="a", price="1.50", stock=1, data={"x": 1}, slug="old")
    cover(wire, "Product")
    product.name, product.price, product.data, product.editor_id = "b", "2.00", {}, None
    product.save()
    product.name = "c"
    product.save()
    first = AuditEntry.objects.earliest("id")
    backfill()
    _, _, (action, changes, told) = entries(product)
    assert (action, told) == ("create", {"reason": "backfill", "precedes": first.pk})
    assert changes["name"] == [None, "a"]
    assert changes["price"] == [None, "1.50"]
    assert changes["data"] == [None, {"x": 1}]
    assert changes["slug"] == [None, "old"]
    assert AuditEntry.objects.latest("id").object_text == "a"


def test_a_value_that_was_not_there_before_is_not_recorded_and_one_that_was_is(wire: Any) -> None:
    product = ProductFactory(image="a.png")
    cover(wire, "Product")
    Product.objects.filter(pk=product.pk).update(editor=UserFactory(), image="")
    Product.objects.filter(pk=product.pk).update(editor_id=None)
    backfill()
    changes = entries(product)[-1][1]
    assert "editor" not in changes
    assert changes["image"] == [None, "a.png"]


def test_what_is_secret_by_now_is_not_brought_back_from_older_entries(wire: Any) -> None:
    product = ProductFactory(slug="iban 12", data={"pin": 1})
    cover(wire, "Product")
    product.slug, product.data = "iban 34", {"pin": 2}
    product.save()
    cover(wire, "Product", redact=["slug", "pin"])
    backfill()
    changes = entries(product)[-1][1]
    assert changes["slug"][1] == "[redacted]"
    assert changes["data"] == [None, {"pin": "[redacted]"}]


def test_a_row_that_came_back_unheard_after_its_deletion_is_recorded_anew(wire: Any) -> None:
    cover(wire, "Tag")
    tag = TagFactory(name="first")
    key = tag.pk
    tag.delete()
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO testapp_tag (id, name) VALUES (%s, 'second')", [key])
    assert backfill() == "testapp.Tag: 1 recorded\n"
    assert [action for action, _, _ in entries()] == ["create", "delete", "create"]
    assert entries()[-1][1]["name"] == [None, "second"]
    assert entries()[-1][2] == {"reason": "backfill"}


# Links


def test_links_that_were_there_are_recorded_too(wire: Any) -> None:
    product, tags = ProductFactory(), TagFactory.create_batch(3)
    product.tags.add(*tags[:2])
    ProductFactory()
    cover(wire, "Product")
    backfill()
    (_, _, _), (action, changes, told) = entries(product)
    assert (action, told) == ("m2m_add", {"reason": "backfill"})
    assert changes == {"tags": {"added": sorted(tag.pk for tag in tags[:2])}}
    assert len(entries()) == 3


def test_links_are_those_before_the_first_entry(wire: Any) -> None:
    product, (a, b, c, d) = ProductFactory(), TagFactory.create_batch(4)
    product.tags.add(a, b, d)
    cover(wire, "Product")
    product.tags.remove(a)
    product.tags.add(c)
    product.tags.remove(c)
    product.tags.add(a)
    product.tags.remove(d)
    product.tags.add(c)
    backfill()
    assert entries(product)[-1][1] == {"tags": {"added": [a.pk, b.pk, d.pk]}}


def test_links_that_a_model_of_its_own_tells_are_not_told_twice(wire: Any) -> None:
    club, person = Club.objects.create(name="x"), Person.objects.create(name="y")
    Membership.objects.create(club=club, person=person)
    cover(wire, "Club", "Membership")
    backfill()
    assert [action for action, _, _ in entries()] == ["create", "create"]
    AuditEntry.objects.all().delete()
    cover(wire, "Club")
    backfill()
    assert [action for action, _, _ in entries()] == ["create", "m2m_add"]


def test_links_of_a_model_to_itself(wire: Any) -> None:
    a, b = Person.objects.create(name="a"), Person.objects.create(name="b")
    a.friends.add(b)
    a.follows.add(b)
    cover(wire, "Person")
    backfill()
    added = [(entry.object_pk, entry.changes) for entry in AuditEntry.objects.order_by("id")]
    assert [item for item in added if "name" not in item[1]] == [
        (str(a.pk), {"friends": {"added": [b.pk]}}),
        (str(a.pk), {"follows": {"added": [b.pk]}}),
        (str(b.pk), {"friends": {"added": [a.pk]}}),
    ]


def test_links_are_left_out_where_the_receiver_records_none(wire: Any) -> None:
    ProductFactory().tags.add(TagFactory())
    cover(wire, "Product", m2m=False)
    backfill()
    assert [action for action, _, _ in entries()] == ["create"]


# Which rows


def test_a_child_is_told_once(wire: Any) -> None:
    Place.objects.create(name="a")
    Restaurant.objects.create(name="b", stars=3)
    cover(wire, "Place")
    assert backfill() == "testapp.Place: 1 recorded\ntestapp.Restaurant: 1 recorded\n"
    assert entries()[-1][1]["name"] == [None, "b"]


def test_a_child_that_is_not_covered_is_told_as_its_parent(wire: Any) -> None:
    Restaurant.objects.create(name="b", stars=3)
    cover(wire, "Place", exclude=["testapp.Restaurant"])
    assert backfill() == "testapp.Place: 1 recorded\n"


def test_only_the_models_that_are_named(wire: Any) -> None:
    TagFactory(), ProductFactory()
    cover(wire, "Tag", "Product")
    assert backfill("testapp.tag") == "testapp.Tag: 1 recorded\n"
    assert "testapp.Product: 1 recorded" in backfill("testapp.*", "testapp.Tag")


def test_a_model_that_no_log_covers_is_told(wire: Any) -> None:
    with pytest.raises(CommandError, match="No AuditLog covers any model"):
        backfill()
    cover(wire, "Tag")
    with pytest.raises(CommandError, match=r"No AuditLog covers 'testapp\.Tga'. Did you mean"):
        backfill("testapp.Tga")


def test_a_model_that_two_logs_cover_is_recorded_once(wire: Any) -> None:
    TagFactory()
    wire((AuditLog, {"models": ["testapp.Tag"]}), (NamedLog, {"models": ["testapp.Tag"]}))
    assert backfill() == "testapp.Tag: 1 recorded\n"


def test_rows_in_another_database(wire: Any) -> None:
    Tag.objects.using("other").create(pk=1, name="a")
    Tag.objects.using("default").create(pk=1, name="b")
    cover(wire, "Tag")
    assert backfill("--using", "other") == "testapp.Tag: 1 recorded\n"
    assert AuditEntry.objects.using("other").get().using == "other"
    assert backfill() == "testapp.Tag: 1 recorded\n"
    assert backfill("--using", "other") == "testapp.Tag: 0 recorded\n"


class LogElsewhere:
    def db_for_write(self, model: type[models.Model], **hints: Any) -> str | None:
        return "other" if model is AuditEntry else None


def test_a_log_in_another_database(wire: Any) -> None:
    TagFactory()
    cover(wire, "Tag")
    # Inside what "wire" overrides, so that it is taken back before that.
    with override_settings(DATABASE_ROUTERS=[f"{__name__}.LogElsewhere"]):
        assert backfill() == "testapp.Tag: 1 recorded\n"
        assert backfill() == "testapp.Tag: 0 recorded\n"
    assert (len(entries()), len(entries(using="other"))) == (0, 1)


def test_a_dry_run_counts_and_writes_nothing(wire: Any) -> None:
    TagFactory.create_batch(3)
    cover(wire, "Tag")
    TagFactory()
    assert backfill("--dry-run", "--chunk=2") == "testapp.Tag: 3 would be recorded\n"
    assert len(entries()) == 1


def test_a_terminal_sees_how_far_it_is(wire: Any) -> None:
    TagFactory()
    cover(wire, "Tag")
    screen = Terminal()
    backfill(stderr=screen)
    assert "testapp.Tag: 1 rows" in screen.getvalue()


# Broken off


def test_what_is_broken_off_keeps_whole_chunks_and_can_be_run_again(wire: Any) -> None:
    TagFactory.create_batch(5)
    cover(wire, "Tag")
    writes = 0

    def interrupt(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        nonlocal writes
        result = execute(sql, params, many, context)
        writes += "INSERT INTO" in sql
        if writes == 2:
            raise KeyboardInterrupt
        return result

    out = io.StringIO()
    with connection.execute_wrapper(interrupt), pytest.raises(CommandError) as caught:
        call_command("backfillauditlog", "--chunk=2", stdout=out)
    assert (caught.value.returncode, out.getvalue()) == (130, "testapp.Tag: 2 recorded\n")
    # There the COMMIT goes along with the INSERT after which it was broken off.
    kept = 4 if connection.vendor == "postgresql" else 2
    assert len(entries()) == kept
    assert backfill() == f"testapp.Tag: {5 - kept} recorded\n"
    assert len(entries()) == 5


KILLED = """
import os, signal, sys
import django
from django.conf import settings
import tests.settings as base
base.DATABASES["default"]["NAME"] = os.environ["KILL_NAME"]
base.SIGNAL_KIT = {"RECEIVERS": [
    {"RECEIVER": "django_signal_kit.receivers.AuditLog", "OPTIONS": {"models": ["testapp.*"]}}
]}
django.setup()
from django.core.management import call_command
from django.db import connection

inserts = 0
die_at, when = 3, sys.argv[1]

def kill(execute, sql, params, many, context):
    global inserts
    if "INSERT INTO" in sql and "auditentry" in sql:
        inserts += 1
    if inserts == die_at and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = execute(sql, params, many, context)
    if inserts == die_at and when == "after":
        os.kill(os.getpid(), signal.SIGKILL)
    return result

def kill_between(execute, sql, params, many, context):
    # The first statement of the chunk that follows: the one before is committed.
    if inserts == die_at:
        os.kill(os.getpid(), signal.SIGKILL)
    return kill(execute, sql, params, many, context)

with connection.execute_wrapper(kill_between if when == "between" else kill):
    call_command("backfillauditlog", "testapp.Product", chunk=2)
"""


@pytest.mark.parametrize(("when", "kept"), [("before", 4), ("after", 4), ("between", 6)])
def test_a_killed_process_leaves_whole_chunks_and_the_next_does_the_rest(
    wire: Any, when: str, kept: int
) -> None:
    tag = TagFactory()
    products = ProductFactory.create_batch(9)
    for product in products:
        product.tags.add(tag)
    result = subprocess.run(
        [sys.executable, "-c", KILLED, when],
        cwd=ROOT,
        env={**os.environ, "KILL_NAME": str(connection.settings_dict["NAME"])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == -signal.SIGKILL, result.stderr
    if when == "after" and connection.vendor == "postgresql":
        kept += 2
    assert Counter(action for action, _, _ in entries()) == {"create": kept, "m2m_add": kept}
    cover(wire, "Product")
    assert backfill() == f"testapp.Product: {9 - kept} recorded\n"
    for product in products:
        assert [action for action, _, _ in entries(product)] == ["create", "m2m_add"]


# Others at the same time


def test_two_runs_at_once_record_no_row_twice(wire: Any) -> None:
    TagFactory.create_batch(40)
    cover(wire, "Tag")
    counts: list[int] = []

    def run() -> None:
        [backfill] = get_backfills(chunk=3)
        list(backfill.run())
        counts.append(backfill.count)

    in_threads(run, run, run)
    assert sum(counts) == 40
    keys = AuditEntry.objects.values_list("object_pk", "action")
    assert len(set(keys)) == len(keys) == 40


def test_the_history_is_true_whoever_writes_meanwhile(wire: Any) -> None:
    tags = TagFactory.create_batch(2)
    products = ProductFactory.create_batch(20, stock=0)
    for product in products:
        product.tags.add(tags[0])
    cover(wire, "Product")
    start = threading.Barrier(3)

    def write() -> None:
        start.wait()
        for round in (1, 2):
            for product in Product.objects.order_by("pk"):
                product.stock = round
                product.save()
                if round == 1:
                    product.tags.set([tags[1]])
        ProductFactory(name="new")

    def run() -> None:
        start.wait()
        for backfill in get_backfills(chunk=2):
            list(backfill.run())

    in_threads(write, run, run)
    for product in products:
        found = entries(product)
        [created] = [changes for action, changes, _ in found if action == "create"]
        assert created["stock"] == [None, 0]
        linked = [
            changes["tags"]["added"]
            for action, changes, told in found
            if action == "m2m_add" and told.get("reason") == "backfill"
        ]
        assert linked == [[tags[0].pk]]
    assert AuditEntry.objects.filter(action="create").count() == 21


def test_the_context_of_the_caller_is_kept(wire: Any) -> None:
    TagFactory()
    cover(wire, "Tag")
    with context(request_id="r1"):
        backfill()
    assert entries()[0][2] == {"request_id": "r1", "reason": "backfill"}
