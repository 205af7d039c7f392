"""Who writes gets to MariaDB's triggers in the packet of the write, and nothing else changes."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import OperationalError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils.functional import SimpleLazyObject

from django_signal_kit import batch, context, muted, only
from django_signal_kit.audit.capture.mysql import carrying
from django_signal_kit.audit.capture.mysql.variables import Variables, get_variables
from django_signal_kit.audit.models import AuditEntry
from tests.apps.testapp.models import Category, Tag, Token
from tests.audit.capture.mysql import ByTriggers, Install, only_on_mysql
from tests.audit.capture.mysql import install as install
from tests.audit.proxy import Proxy
from tests.factories import CategoryFactory, TagFactory, UserFactory

pytestmark = [pytest.mark.django_db(transaction=True), only_on_mysql]


def tell_actors() -> list[str]:
    """Who is said to have written, since the last call."""
    found = [
        entry.context.get("by", entry.actor_text) for entry in AuditEntry.objects.order_by("pk")
    ]
    AuditEntry.objects.all().delete()
    return found


@pytest.fixture(autouse=True)
def tags(install: Install) -> Any:
    return install(Tag, Category, Token)


def run(sql: str, args: Any = None) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql, args)
        return cursor


def write_beside() -> None:
    """As the driver's own cursor does, of which nobody knows."""
    connection.ensure_connection()
    connection.connection.cursor().execute("INSERT INTO testapp_tag (name) VALUES ('beside')")


def kill() -> None:
    """Take the session away from the connection."""
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("KILL %s", [connection.connection.thread_id()])
    finally:
        other.close()


def test_nothing_holds_a_session_that_has_been_closed() -> None:
    with context(actor="ada"):
        TagFactory()
        session = weakref.ref(connection.connection)
        connection.close()
        gc.collect()
        assert session() is None
        TagFactory()
    assert tell_actors() == ["ada", "ada"]


# What the write gives back


def test_rowcount_lastrowid_and_returning_are_the_writes_own() -> None:
    with context(actor="ada"):
        cursor = run("INSERT INTO testapp_tag (name) VALUES ('a'), ('b'), ('c')")
        assert cursor.rowcount == 3
        first = Tag.objects.earliest("pk").pk
        assert cursor.lastrowid == first
        assert run("UPDATE testapp_tag SET name = 'x'").rowcount == 3
        assert run("UPDATE testapp_tag SET name = 'x'").rowcount == 3
        assert run("SELECT LAST_INSERT_ID()").rowcount == 1
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO testapp_tag (name) VALUES (%s) RETURNING id, name", ["d"])
            assert cursor.fetchall() == ((first + 3, "d"),)
            assert [column[0] for column in cursor.description] == ["id", "name"]
            assert cursor.nextset() is None
            assert cursor.execute("DELETE FROM testapp_tag WHERE name = %s", ["x"]) == 3
    assert tell_actors() == ["ada"] * 10


@pytest.mark.parametrize("has_returning", [True, False])
def test_django_finds_the_keys_of_what_it_has_made(has_returning: bool, monkeypatch: Any) -> None:
    monkeypatch.setattr(connection.features, "can_return_columns_from_insert", has_returning)
    with context(actor="ada"):
        tag = Tag.objects.create(name="a")
    assert Tag.objects.get().pk == tag.pk
    assert Tag.objects.filter(pk=tag.pk).update(name="b") == 1
    assert Tag.objects.all().delete() == (1, {"testapp.Tag": 1})
    assert len(tell_actors()) == 3


def test_several_rows_at_once() -> None:
    with context(actor="ada"), connection.cursor() as cursor:
        cursor.executemany("INSERT INTO testapp_tag (name) VALUES (%s)", [["a"], ["b%"]])
        assert cursor.rowcount == 2
        cursor.executemany("UPDATE testapp_tag SET name = %s WHERE name = %s", [["c", "a"]] * 2)
        assert cursor.rowcount == 1
    with context(actor="bob"), connection.cursor() as cursor:
        cursor.executemany("DELETE FROM testapp_tag WHERE name = %s", iter([["c"], ["b%"]]))
    assert tell_actors() == ["ada", "ada", "ada", "bob", "bob"]


def test_several_statements_of_the_users_own() -> None:
    with context(actor="ada"), connection.cursor() as cursor:
        cursor.execute("INSERT INTO testapp_tag (name) VALUES ('a'); SELECT 5; SELECT 6")
        assert cursor.nextset() == 1
        assert cursor.fetchall() == ((5,),)
        assert cursor.nextset() == 1
        assert cursor.fetchall() == ((6,),)
        assert cursor.nextset() is None
    assert tell_actors() == ["ada"]


def test_procedures() -> None:
    run("DROP PROCEDURE IF EXISTS make_tag")
    run("CREATE PROCEDURE make_tag(named TEXT) INSERT INTO testapp_tag (name) VALUES (named)")
    try:
        with context(actor="ada"):
            run("CALL make_tag(%s)", ["a"])
        with context(actor="bob"), connection.cursor() as cursor:
            cursor.callproc("make_tag", ["b"])
    finally:
        run("DROP PROCEDURE make_tag")
    assert tell_actors() == ["ada", "bob"]


def test_a_file_of_the_client_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "tags"
    path.write_text("a\nb\n")
    load = f"LOAD DATA LOCAL INFILE '{path}' INTO TABLE testapp_tag (name)"
    with context(actor="ada"):
        run(load)
        run(load.lower().encode())
        # Which some drivers forbid.
        with suppress(OperationalError):
            run(f"/* of\nours */ -- and\n{load}")
    told = tell_actors()
    assert len(told) >= 4
    assert set(told) == {"ada"}


@pytest.mark.parametrize(
    "statement",
    ["SET STATEMENT lock_wait_timeout = 5 FOR {insert}", "BEGIN NOT ATOMIC {insert}; END"],
)
def test_what_begins_like_reading_and_writes(statement: str) -> None:
    statement = statement.format(insert="INSERT INTO testapp_tag (name) VALUES ('a')")
    if not connection.mysql_is_mariadb:
        pytest.skip("is MariaDB's own")
    with context(actor="ada"):
        run(statement)
    with muted("ByTriggers"):
        run(statement)
    assert tell_actors() == ["ada"]


def test_bytes_as_a_statement() -> None:
    with context(actor="ada"):
        run(b"INSERT INTO testapp_tag (name) VALUES (%s)", ["a"])
        run(b"INSERT INTO testapp_tag (name) VALUES ('100%')")
    assert tell_actors() == ["ada", "ada"]


def test_what_is_logged_of_a_query_is_the_query() -> None:
    with CaptureQueriesContext(connection) as queries, context(actor="ada"):
        Tag.objects.create(name="a%")
        run("DELETE FROM testapp_tag WHERE name LIKE 'a%'")
    assert [query["sql"][:11] for query in queries] == ["INSERT INTO", "DELETE FROM"]
    assert "'a%'" in queries[0]["sql"]


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """In front of the server, for the default connection."""
    settings = connection.settings_dict
    before = settings["HOST"], settings["PORT"]
    connection.close()
    with Proxy(before[0] or "127.0.0.1", int(before[1] or 3306)) as proxy:
        settings.update(HOST="127.0.0.1", PORT=proxy.port)
        try:
            connection.ensure_connection()
            yield proxy
        finally:
            connection.close()
            settings.update(HOST=before[0], PORT=before[1])


def test_a_write_is_one_round_trip(proxy: Proxy) -> None:
    def count(write: Any) -> int:
        before = proxy.round_trips
        write()
        return proxy.round_trips - before

    tag = Tag(name="a")
    with context(actor="ada"):
        assert count(tag.save) == 1
        tag.name = "b"
        assert count(tag.save) == 1
        assert count(lambda: Tag.objects.update(name="c")) == 1
        with transaction.atomic():
            assert count(tag.save) == 1
            assert count(tag.save) == 1
    assert count(lambda: list(Tag.objects.all())) == 1
    # Django asks nothing of a row to which nothing leads but links.
    assert count(lambda: CategoryFactory()) == 1
    assert tell_actors() == ["ada", "ada", "ada", "ada", ""]


# Never somebody else's


def test_nobody_writes_in_the_name_of_who_wrote_before() -> None:
    TagFactory()
    with context(actor="ada"):
        TagFactory()
    TagFactory()
    with context(actor="bob"), transaction.atomic():
        TagFactory()
        with context(actor="cleo"):
            TagFactory()
            with pytest.raises(ZeroDivisionError), transaction.atomic():
                TagFactory()
                raise ZeroDivisionError
            TagFactory()
        TagFactory()
    with context(actor="dora"):
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            TagFactory()
            raise ZeroDivisionError
    TagFactory()
    assert tell_actors() == ["", "ada", "", "bob", "cleo", "cleo", "bob", ""]


def test_a_query_of_the_next_scope_takes_back_what_was_said() -> None:
    with context(actor="ada"):
        TagFactory()
        Tag.objects.count()
        write_beside()
    Tag.objects.count()
    write_beside()
    with context(actor="bob"):
        TagFactory()
    with transaction.atomic():
        list(Tag.objects.all())
        write_beside()
    assert tell_actors() == ["ada", "ada", "database", "bob", "database"]


def test_what_is_said_is_taken_back_after_an_error_too() -> None:
    token = Token.objects.create()
    with context(actor="ada"), pytest.raises(Exception, match="Duplicate"):
        Token.objects.create(id=token.id)
    Tag.objects.count()
    write_beside()
    with context(actor="bob"):
        TagFactory()
    assert tell_actors() == ["", "database", "bob"]


def test_a_connection_that_was_lost_has_been_told_nothing() -> None:
    with context(actor="ada"):
        with transaction.atomic():
            TagFactory()
        kill()
        with pytest.raises(OperationalError):
            TagFactory()
        connection.close()
        TagFactory()
        connection.close()
        write_beside()
    assert tell_actors() == ["ada", "ada", "database"]


def test_a_session_that_is_lost_in_the_midst_of_a_write_is_djangos_error() -> None:
    tag = TagFactory()
    blocker = connection.get_new_connection(connection.get_connection_params())
    blocker.cursor().execute("SELECT * FROM testapp_tag FOR UPDATE")
    session = connection.connection.thread_id()

    def kill_who_waits() -> None:
        cursor = connections["default"].cursor()
        end = time.monotonic() + 60
        while time.monotonic() < end:
            cursor.execute(
                "SELECT info FROM information_schema.processlist WHERE id = %s", [session]
            )
            if "UPDATE" in str(cursor.fetchone()):
                break
        cursor.execute("KILL %s", [session])
        connections.close_all()

    killer = threading.Thread(target=kill_who_waits)
    killer.start()
    try:
        with pytest.raises(OperationalError):
            Tag.objects.filter(pk=tag.pk).update(name="b")
    finally:
        killer.join()
        blocker.close()
        connection.close()
    assert Tag.objects.get().name == tag.name
    assert tell_actors() == [""]


def test_what_is_not_told_any_more_is_forgotten() -> None:
    with context(actor="ada"):
        TagFactory()
        carrying.stop(connections["default"])
        write_beside()
        TagFactory()
    carrying.stop(connections["default"])
    assert "create_cursor" not in vars(connections["default"])
    assert tell_actors() == ["ada", "database", "database"]


def test_starting_twice_is_starting_once(tags: Any) -> None:
    carrier = connections["default"]._signal_kit_carrier  # type: ignore[attr-defined]
    carrying.start(connections["default"], carrier.packets)
    with context(actor="ada"), connection.cursor() as cursor:
        assert isinstance(cursor.cursor.cursor, carrying._Cursor)
        assert not isinstance(cursor.cursor.cursor._cursor, carrying._Cursor)
        TagFactory()
    assert tell_actors() == ["ada"]


# Who it is


def test_an_actor_who_is_asked_for_with_a_query() -> None:
    user = UserFactory(username="ada")

    def find() -> Any:
        return get_user_model().objects.get(username="ada")

    with context(actor=find):
        TagFactory()
    with context(actor=SimpleLazyObject(find)), transaction.atomic():
        TagFactory()
        TagFactory()
    entries = AuditEntry.objects.all()
    assert {(entry.actor_id, entry.actor_text) for entry in entries} == {(user.pk, "ada")}


def test_asking_for_an_actor_may_write() -> None:
    def find() -> str:
        CategoryFactory(name="asked")
        return "ada"

    with context(actor="bob"):
        TagFactory()
        with context(actor=find):
            TagFactory()
    assert tell_actors() == ["bob", "database", "ada"]


def test_whatever_is_in_a_context_gets_there() -> None:
    class Odd:
        def __eq__(self, other: object) -> bool:
            raise RuntimeError("no")

        __hash__ = None  # type: ignore[assignment]

    text = "%s %% '; DROP TABLE x; -- \" \\ \n ☃ 😀 \x00"
    with context(actor=text, reason=text, odd=Odd(), many=["x" * 100_000]):
        TagFactory()
        TagFactory()
    entry = AuditEntry.objects.earliest("pk")
    said = text.replace("\x00", "\ufffd")
    assert (entry.actor_text, entry.context["reason"]) == (said, said)
    assert entry.context["many"] == ["x" * 100_000]


def test_muted_receivers_hear_nothing() -> None:
    with muted("ByTriggers"):
        TagFactory(name="a")
        with transaction.atomic():
            Tag.objects.update(name="b")
    TagFactory(name="c")
    with transaction.atomic():
        TagFactory(name="d")
        with muted(ByTriggers):
            TagFactory(name="e")
        TagFactory(name="f")
    with only("ByTriggers"):
        TagFactory(name="g")
    told = AuditEntry.objects.order_by("pk")
    assert [entry.object_text for entry in told] == ["c", "d", "f", "g"]


def test_threads_have_their_own_actors() -> None:
    def write(name: str) -> None:
        try:
            carrying.start(connections["default"], packets)
            with context(actor=name):
                for number in range(20):
                    Tag.objects.create(name=f"{name} {number}")
        finally:
            connections.close_all()

    packets = connections["default"]._signal_kit_carrier.packets  # type: ignore[attr-defined]
    threads = [threading.Thread(target=write, args=(name,)) for name in ("ada", "bob", "cleo")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = AuditEntry.objects.all()
    assert len(entries) == 60
    assert all(entry.object_text.startswith(entry.actor_text) for entry in entries)


class Listening:
    """A cursor of the driver that notes what it has sent."""

    def __init__(self, cursor: Any, sent: list[bytes]) -> None:
        self.__dict__.update(cursor=cursor, sent=sent)

    def execute(self, *args: Any) -> Any:
        found = self.cursor.execute(*args)
        self.sent.append(self.cursor._executed)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cursor, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.cursor, name, value)


def write_and_listen(sent: list[bytes]) -> None:
    with connection.cursor() as cursor:
        inner = cursor.cursor.cursor
        inner._cursor = Listening(inner._cursor, sent)
        cursor.execute("INSERT INTO testapp_tag (name) VALUES ('a')")


def test_a_transaction_says_it_once() -> None:
    sent: list[bytes] = []
    with context(actor="ada"), batch():
        for _ in range(3):
            write_and_listen(sent)
        # Nothing is another one in this block.
        with context():
            write_and_listen(sent)
    assert [b"@signal_kit" in statement for statement in sent] == [True, False, False, False]
    assert tell_actors() == ["ada"] * 4


def test_what_the_session_knows_is_not_said_again() -> None:
    sent: list[bytes] = []
    for actor in ("ada", "bob"):
        with context(actor=actor):
            write_and_listen(sent)
            write_and_listen(sent)
    run("SELECT 1")
    write_and_listen(sent)
    said = [
        [name for name in Variables._fields if f"_{name} = ".encode() in statement]
        for statement in sent
    ]
    all_of_it = list(Variables._fields)
    assert said == [all_of_it, ["unit"], ["unit", "actor_text"], ["unit"], all_of_it]
    units = AuditEntry.objects.values_list("unit", flat=True)
    assert len({*units}) == 5
    assert tell_actors() == ["ada", "ada", "bob", "bob", ""]


def test_nothing_of_what_was_said_stays_in_the_session() -> None:
    with context(actor=UserFactory(username="ada")):
        TagFactory()
    run("SELECT 1")
    cursor = connection.connection.cursor()
    cursor.execute(f"SELECT {', '.join(get_variables(ByTriggers.__name__))}")
    assert cursor.fetchall() == ((None,) * 4,)
    assert tell_actors() == ["ada"]


# Where a packet holds one statement


def test_without_multi_statements_it_is_said_beforehand() -> None:
    settings = connections["default"].settings_dict
    before = settings["OPTIONS"]
    connection.close()
    settings["OPTIONS"] = {**before, "multi_statements": False}
    try:
        with context(actor="ada"):
            tag = TagFactory(name="a%")
            assert Tag.objects.filter(name="a%").update(name="b") == 1
        Tag.objects.count()
        write_beside()
        tag.delete()
    finally:
        connection.close()
        settings["OPTIONS"] = before
    assert tell_actors() == ["ada", "ada", "database", ""]
