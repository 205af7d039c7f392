"""Who writes is known to the triggers of SQLite before they ask, and to no other program."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, nullcontext
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import OperationalError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from django_signal_kit import context
from django_signal_kit.audit.capture import packets
from django_signal_kit.audit.capture.sqlite import carrying
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.receivers import AuditLog
from tests.apps.testapp.models import Category, Tag
from tests.audit.capture.pairs import installed
from tests.conftest import run_async
from tests.factories import TagFactory

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "sqlite", reason="triggers of SQLite"),
]


@pytest.fixture(autouse=True)
def log(wire: Any) -> Iterator[None]:
    wire((AuditLog, {"models": [Tag], "capture": "triggers"}))
    with installed():
        yield


def hear() -> list[Any]:
    """``(actor, context)`` of each entry since the last time."""
    entries = AuditEntry.objects.order_by("pk")
    found = [(entry.actor_text, entry.context) for entry in entries]
    AuditEntry.objects.all().delete()
    return found


def test_an_actor_is_asked_for_before_the_write_and_once_a_transaction() -> None:
    asked = []

    def find_actor() -> Any:
        # As request.user does; and it makes what it looks for.
        asked.append(connection.in_atomic_block)
        return get_user_model().objects.get_or_create(username="ada")[0]

    with context(actor=find_actor, reason="a"):
        TagFactory()
        with transaction.atomic():
            TagFactory()
            Tag.objects.update(name="b")
            with context(reason="b"):
                Tag.objects.update(name="c")
    assert hear() == [("ada", {"reason": "a"})] * 4 + [("ada", {"reason": "b"})] * 2
    # For each of three packets.
    assert len(asked) == 3


def test_an_actor_who_cannot_be_found_makes_the_write_fail() -> None:
    def find_actor() -> Any:
        raise LookupError("gone")

    with context(actor=find_actor):
        with pytest.raises(LookupError):
            Tag.objects.create(name="a")
        assert list(Tag.objects.all()) == []
    assert hear() == []


def test_reading_asks_for_no_actor() -> None:
    def find_actor() -> Any:
        raise LookupError("gone")

    with context(actor=find_actor), transaction.atomic():
        list(Tag.objects.all())
        with transaction.atomic():
            assert not Category.objects.exists()


def test_what_is_no_write_asks_for_none_in_small_letters_either() -> None:
    """What sets a connection up runs before ``migrate`` has made the triggers."""

    def find_actor() -> Any:
        raise AssertionError("nobody has asked for him")

    with context(actor=find_actor), connection.cursor() as cursor:
        for sql in ("pragma foreign_keys = on", " select 1", "savepoint a", "release a"):
            cursor.execute(sql)


def test_no_statement_of_its_own_is_run() -> None:
    TagFactory()
    hear()
    with CaptureQueriesContext(connection) as captured, context(actor="the cron"):
        Tag.objects.create(name="a")
    assert len(captured) == 1
    assert hear() == [("the cron", {})]


def test_what_is_written_past_django_is_that_of_another_program() -> None:
    with context(actor="the cron"):
        TagFactory()
        connection.connection.execute("INSERT INTO testapp_tag (name) VALUES ('b')")
    assert hear() == [("the cron", {}), ("", {"by": "database"})]


def test_a_statement_within_another_has_its_own_and_leaves_the_outer_one_its() -> None:
    def make_names() -> Iterator[list[str]]:
        yield ["a"]
        with context(actor="inner"):
            TagFactory()
        yield ["b"]

    with context(actor="outer"), connection.cursor() as cursor:
        cursor.executemany("INSERT INTO testapp_tag (name) VALUES (%s)", make_names())
    assert [actor for actor, _ in hear()] == ["outer", "inner", "outer"]


def test_all_that_a_transaction_writes_has_one_unit_and_each_write_outside_its_own() -> None:
    with transaction.atomic():
        TagFactory()
        with transaction.atomic():
            TagFactory()
    TagFactory()
    TagFactory()
    one, two, three, four = AuditEntry.objects.order_by("pk").values_list("unit", flat=True)
    assert one == two
    assert len({two, three, four}) == 3


def test_all_rows_of_a_statement_have_one_unit() -> None:
    for _ in range(3):
        TagFactory()
    AuditEntry.objects.all().delete()
    Tag.objects.update(name="a")
    units = list(AuditEntry.objects.values_list("unit", flat=True))
    assert len(units) == 3
    assert len({*units}) == 1


def test_a_packet_is_written_once_a_statement_and_only_if_a_trigger_asks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tag = TagFactory()
    TagFactory()
    written = []

    def note(connection: Any) -> Any:
        written.append(connection.alias)
        return packets.get_shared_id(connection)

    monkeypatch.setattr(carrying, "get_shared_id", note)
    for scope in (nullcontext(), context(actor="the cron")):
        with scope:
            tag.save()
            Category.objects.create(name=scope.__class__.__name__)
            assert written == []
            Tag.objects.update(name=scope.__class__.__name__)
            assert written == ["default"]
        written.clear()
        tag.refresh_from_db()


def test_a_connection_that_is_opened_anew_tells_it_again() -> None:
    connection.close()
    with context(actor="the cron"):
        TagFactory()
    assert hear() == [("the cron", {})]


def test_starting_again_adds_nothing_and_stopping_takes_it_away() -> None:
    before = list(connection.execute_wrappers)
    carrying.start(connection, packets.current)
    assert connection.execute_wrappers == before
    carrying.stop(connection)
    try:
        assert not any(isinstance(each, carrying.Carrier) for each in connection.execute_wrappers)
        carrying.stop(connection)
        with context(actor="the cron"):
            TagFactory()
        assert hear() == [("", {"by": "database"})]
        with connection.cursor() as cursor:
            cursor.execute("SELECT char(), char(65, 66)")
            assert cursor.fetchone() == ("", "AB")
    finally:
        carrying.start(connection, packets.current)


def test_who_wraps_statements_for_a_while_takes_his_own_wrapper_away() -> None:
    TagFactory()
    hear()
    carrying.stop(connection)
    seen = []

    def note(execute: Any, *arguments: Any) -> Any:
        seen.append(arguments[0])
        return execute(*arguments)

    TagFactory()
    with connection.execute_wrapper(note):
        carrying.start(connection, packets.current)
        TagFactory()
    TagFactory()
    assert len(seen) == 1
    assert [said for _, said in hear()] == [{"by": "database"}, {}, {}]


def test_threads_that_look_for_their_actors_wait_for_each_other_and_are_told_apart() -> None:
    def write(name: str) -> None:
        def find_actor() -> str:
            return f"{name}{get_user_model().objects.count() or ''}"

        try:
            for _ in range(20):
                with context(actor=find_actor), transaction.atomic():
                    Tag.objects.create(name=name)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=write, args=[f"thread {n}"]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = list(AuditEntry.objects.all())
    assert [entry for entry in entries if entry.actor_text != entry.object_text] == []
    assert len(entries) == 80


def test_tasks_of_an_event_loop_are_told_apart() -> None:
    async def write(name: str) -> None:
        with context(actor=name):
            tag = await Tag.objects.acreate(name=name)
            tag.name = f"{name}!"
            await tag.asave()

    async def main() -> None:
        import asyncio

        await asyncio.gather(*(write(f"task {n}") for n in range(5)))

    run_async(main())
    entries = list(AuditEntry.objects.order_by("pk"))
    assert len(entries) == 10
    assert all(entry.object_text.rstrip("!") == entry.actor_text for entry in entries)


def test_a_database_in_memory_that_connections_share_has_triggers_for_all(tmp_path: Any) -> None:
    # What Django's tests have.
    address = "file:capture?mode=memory&cache=shared"
    with closing(sqlite3.connect(address, uri=True, isolation_level=None)) as one:
        for (sql,) in connection.connection.execute(
            "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' "
            "AND tbl_name IN ('testapp_tag', 'signal_kit_audit_auditentry')"
        ):
            one.execute(sql)
        with closing(sqlite3.connect(address, uri=True, isolation_level=None)) as two:
            two.create_function("char", 0, lambda: '{"AuditLog":{"actor_text":"two"}}')
            one.execute("INSERT INTO testapp_tag (name) VALUES ('one')")
            two.execute("INSERT INTO testapp_tag (name) VALUES ('two')")
            found = one.execute(
                "SELECT object_text, actor_text FROM signal_kit_audit_auditentry"
            ).fetchall()
    assert found == [("one", ""), ("two", "two")]


def test_a_write_ahead_log_makes_no_difference() -> None:
    def set_mode(mode: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA journal_mode = {mode}")
            assert cursor.fetchone() == (mode,)

    set_mode("wal")
    try:
        with context(actor="the cron"):
            TagFactory()
        with pytest.raises(OperationalError), transaction.atomic():
            TagFactory()
            raise OperationalError
    finally:
        set_mode("delete")
    assert hear() == [("the cron", {})]
