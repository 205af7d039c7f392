"""On PostgreSQL a packet goes along with the first write of a transaction, whatever the driver."""

from __future__ import annotations

import io
import traceback
from base64 import b64encode
from collections.abc import Iterator
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import DatabaseError, IntegrityError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from django_signal_kit import batch, context, muted, only
from django_signal_kit.audit.capture.postgresql.bodies import AFTER_PACKET, BEFORE_PACKET
from django_signal_kit.audit.capture.postgresql.verbs import is_read
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.receivers import AuditLog, DeletionLog
from tests.apps.testapp.models import Category, Tag
from tests.audit.capture.both import alone
from tests.audit.capture.installing import installed
from tests.audit.capture.pgbouncer import PROGRAM, pgbouncer
from tests.audit.proxy import through_proxy
from tests.factories import TagFactory, UserFactory

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="is about PostgreSQL"),
]
has_psycopg = find_spec("psycopg") is not None


@pytest.fixture(autouse=True)
def audit(wire: Any) -> Iterator[None]:
    with alone():
        wire(
            (AuditLog, {"models": ["testapp.Tag"], "capture": "triggers"}),
            (DeletionLog, {"models": ["testapp.Category"]}),
        )
        with installed():
            yield


@pytest.fixture(
    params=[
        "as it is",
        pytest.param(
            "server_side_binding", marks=pytest.mark.skipif(not has_psycopg, reason="psycopg 3")
        ),
        pytest.param(
            "pool",
            marks=pytest.mark.skipif(find_spec("psycopg_pool") is None, reason="no psycopg_pool"),
        ),
        pytest.param(
            "pgbouncer", marks=pytest.mark.skipif(PROGRAM is None, reason="no pgbouncer here")
        ),
    ]
)
def link(request: Any, audit: None, tmp_path: Path) -> Iterator[str]:
    """The default database, reached in each of the ways that there are."""
    if request.param == "as it is":
        yield request.param
        return
    before = connections["default"]
    settings = deepcopy(before.settings_dict)
    if request.param == "pgbouncer":
        with pgbouncer(tmp_path, settings) as port:
            settings |= {"HOST": "127.0.0.1", "PORT": port, "DISABLE_SERVER_SIDE_CURSORS": True}
            yield from _exchange(request.param, before, settings)
        return
    settings["OPTIONS"] = {**settings["OPTIONS"], request.param: True}
    yield from _exchange(request.param, before, settings)


def _exchange(name: str, before: Any, settings: dict[str, Any]) -> Iterator[str]:
    before.close()
    made = connections["default"] = type(before)(settings, "default")
    # pytest-django lets nobody else connect.
    made.ensure_connection()
    try:
        yield name
    finally:
        made.close()
        if getattr(made, "pool", None):
            made.close_pool()
        connections["default"] = before


def run(sql: Any, params: Any = None) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall() if cursor.description else cursor.rowcount


def _run_untold(sql: str) -> None:
    """Not by way of the kit: the packet would hide what another program says."""
    with connection.connection.cursor() as cursor:
        cursor.carrier._is_asking = True
        try:
            cursor.execute(sql)
        finally:
            cursor.carrier._is_asking = False


def tell() -> list[tuple[str, str, Any]]:
    """What was done, by whom, and why; forgotten then."""
    entries = list(AuditEntry.objects.order_by("id"))
    run("TRUNCATE signal_kit_audit_auditentry")
    return [(each.action, each.actor_text, each.context) for each in entries]


DATABASE = {"by": "database"}
#: A packet that somebody has written by hand.
_CODE = b64encode(b'{"AuditLog": {"actor_text": "eve"}}').decode()
MINE = f"{BEFORE_PACKET}{_CODE}{AFTER_PACKET}"


def test_in_autocommit_each_write_says_who_it_is(link: str) -> None:
    with context(actor=UserFactory(username="ada"), reason="100% 'so' \\ ☃"):
        tag = Tag.objects.create(name="a")
        tag.name = "it's 100%"
        tag.save()
    tag.delete()
    why = {"reason": "100% 'so' \\ ☃"}
    assert tell() == [("create", "ada", why), ("update", "ada", why), ("delete", "", {})]


def test_a_transaction_says_it_for_each_block(link: str) -> None:
    with transaction.atomic():
        with context(actor=UserFactory(username="ada")):
            tag = TagFactory()
            tag.name = "a"
            tag.save()
            with context(reason="inner"):
                tag.name = "b"
                tag.save()
            tag.name = "c"
            tag.save()
        tag.delete()
    units = set(AuditEntry.objects.values_list("unit", flat=True))
    assert len(units) == 1
    assert tell() == [
        ("create", "ada", {}),
        ("update", "ada", {}),
        ("update", "ada", {"reason": "inner"}),
        ("update", "ada", {}),
        ("delete", "", {}),
    ]


def test_a_rollback_takes_back_what_was_said_and_it_is_said_again(link: str) -> None:
    with context(actor=UserFactory(username="ada")), transaction.atomic():
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            TagFactory()
            raise ZeroDivisionError
        TagFactory()
        sid = connection.savepoint()
        with context(reason="in a savepoint"):
            TagFactory()
            connection.savepoint_rollback(sid)
            TagFactory()
        run("SAVEPOINT mine")
        with context(reason="in another"):
            TagFactory()
            run("ROLLBACK TO SAVEPOINT mine")
            TagFactory()
    with context(actor=UserFactory(username="ben")):
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            TagFactory()
            raise ZeroDivisionError
        TagFactory()
    assert tell() == [
        ("create", "ada", {}),
        ("create", "ada", {"reason": "in a savepoint"}),
        ("create", "ada", {"reason": "in another"}),
        ("create", "ben", {}),
    ]


def test_a_rollback_of_which_django_knows_nothing_is_seen(link: str) -> None:
    with context(actor=UserFactory(username="ada")), transaction.atomic():
        TagFactory()
        connection.connection.rollback()
        TagFactory()
    assert tell() == [("create", "ada", {})]


def test_a_write_that_fails_says_so_as_in_django_and_the_next_one_is_told(link: str) -> None:
    tag = TagFactory()
    tell()
    with context(actor=UserFactory(username="ada")):
        with pytest.raises(IntegrityError):
            Tag.objects.create(id=tag.pk, name="again")
        with transaction.atomic():
            with pytest.raises(IntegrityError), transaction.atomic():
                Tag.objects.create(id=tag.pk, name="again")
            tag.delete()
    assert tell() == [("delete", "ada", {})]


def test_results_are_those_of_the_write(link: str) -> None:
    tags = TagFactory.create_batch(3)
    tell()
    with context(reason="so"):
        assert run("UPDATE testapp_tag SET name = 'x'") == 3
        assert run("UPDATE testapp_tag SET name = %s RETURNING name", ["y"]) == [("y",)] * 3
        assert run("UPDATE testapp_tag SET name = '100%' WHERE name LIKE 'y%'") == 3
        assert run("UPDATE testapp_tag SET name = %s WHERE name LIKE '100%%'", ["z"]) == 3
        assert Tag.objects.filter(pk=tags[0].pk).delete()[0] == 1
        with transaction.atomic():
            assert Tag.objects.update(name="same") == 2
            assert run("INSERT INTO testapp_tag (name) VALUES ('n') RETURNING 1") == [(1,)]
        assert run("DELETE FROM testapp_tag WHERE name = %(name)s", {"name": "n"}) == 1
        assert run("INSERT INTO testapp_tag (name) VALUES ('100%%')", []) == 1
    told = tell()
    assert len(told) == 18
    assert {each[2]["reason"] for each in told} == {"so"}


def test_whatever_writes_carries_it(link: str) -> None:
    with context(reason="so"):
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO testapp_tag (name) VALUES (%s)", [["a"], ["b%"]])
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.executemany("INSERT INTO testapp_tag (name) VALUES (%s)", [["c"], ["d"]])
        run(_compose("INSERT INTO testapp_tag (name) VALUES ({})", "e%"))
        run("\n -- why\n/* and ; */ insert into testapp_tag (name) values ('f')")
        run("WITH new AS (INSERT INTO testapp_tag (name) VALUES ('g') RETURNING id) TABLE new")
        run("DO $$ BEGIN INSERT INTO testapp_tag (name) VALUES ('h'); END $$")
        run("SELECT 1; INSERT INTO testapp_tag (name) VALUES ('l')")
        run("BEGIN; INSERT INTO testapp_tag (name) VALUES ('m'); COMMIT")
        run("EXPLAIN ANALYZE INSERT INTO testapp_tag (name) VALUES ('n')")
        _copy("i\nj\n")
        with transaction.atomic():
            _copy("k\n")
    assert tell() == [("create", "", {"reason": "so"})] * 14
    assert "".join(sorted(Tag.objects.values_list("name", flat=True))) == "ab%cde%fghijklmn"


@pytest.mark.parametrize(
    "before",
    [
        "VALUES (1)",
        "LOCK TABLE testapp_tag IN EXCLUSIVE MODE",
        "CREATE TEMP TABLE IF NOT EXISTS mine (id integer)",
        "PREPARE make AS SELECT 1; DEALLOCATE make",
        "BEGIN ISOLATION LEVEL SERIALIZABLE",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "START TRANSACTION; INSERT INTO testapp_tag (name) VALUES ('a'); COMMIT",
    ],
)
def test_what_comes_after_other_statements_carries_it(link: str, before: str) -> None:
    sql = f"{before}; INSERT INTO testapp_tag (name) VALUES ('b'); COMMIT"
    with context(reason="so"):
        run(sql)
    assert tell() == [("create", "", {"reason": "so"})] * sql.count("INSERT")


@pytest.mark.parametrize("sql", ["SELECT 1", "INSERT INTO testapp_category (name) VALUES ('a')"])
def test_a_rollback_after_another_statement_is_seen(link: str, sql: str) -> None:
    with context(reason="so"), transaction.atomic():
        run("SAVEPOINT mine")
        TagFactory()
        run(f"{sql}; ROLLBACK TO SAVEPOINT mine")
        TagFactory()
    assert tell() == [("create", "", {"reason": "so"})]


def test_a_transaction_that_a_text_leaves_open_is_told(link: str) -> None:
    with context(reason="so"):
        run("BEGIN; INSERT INTO testapp_category (name) VALUES ('a')")
        TagFactory()
        run("COMMIT")
    assert tell() == [("create", "", {"reason": "so"})]


def test_a_procedure_may_commit_and_is_told_who_it_is(link: str) -> None:
    insert = "INSERT INTO testapp_tag (name) VALUES (name)"
    for name, body in (("whole", insert), ("halves", f"{insert}; COMMIT; {insert}")):
        run(f"DROP PROCEDURE IF EXISTS {name}")
        run(f"CREATE PROCEDURE {name}(name text) LANGUAGE plpgsql AS $$ BEGIN {body}; END $$")
    try:
        with context(reason="so"):
            run("CALL whole(%s)", ["a"])
            run("CALL halves(%s)", ["b"])
            run("DO $$ BEGIN CALL halves('c'); COMMIT; END $$")
            with transaction.atomic(), pytest.raises(DatabaseError), transaction.atomic():
                run("CALL halves('d')")
            # As the first of its transaction, too.
            with pytest.raises(DatabaseError, match="invalid transaction"), transaction.atomic():
                run("CALL halves('d')")
            TagFactory(name="e")
    finally:
        run("DROP PROCEDURE whole; DROP PROCEDURE halves")
    assert "".join(Tag.objects.order_by("id").values_list("name", flat=True)) == "abbcce"
    # Values that the server binds leave no room for a comment: what comes after the first COMMIT.
    untold = DATABASE if link == "server_side_binding" else {"reason": "so"}
    so = {"reason": "so"}
    assert [why for _, _, why in tell()] == [so, so, untold, so, so, so]


def test_a_write_that_is_a_transaction_by_itself_is_the_only_statement_of_its_packet() -> None:
    TagFactory.create_batch(3)
    tell()
    with context(actor=UserFactory(username="ada"), reason="it's */ so"):
        sent = run("UPDATE testapp_tag SET name = %s RETURNING current_query()", ["a"])
        with transaction.atomic():
            after = run("INSERT INTO testapp_tag (name) VALUES ('b') RETURNING current_query()")
        run("DELETE FROM testapp_tag -- all")
    [[alone], *_] = sent
    assert alone.startswith("UPDATE testapp_tag SET name = 'a' RETURNING current_query()\n;\n/* ")
    assert "ada" not in alone
    assert after[0][0].startswith("SELECT pg_catalog.set_config(")
    assert tell() == [
        (action, "ada", {"reason": "it's */ so"})
        for action in ("update", "update", "update", "create", *["delete"] * 4)
    ]


@pytest.mark.parametrize(
    "sql",
    [
        f"INSERT INTO testapp_tag (name) VALUES ('{BEFORE_PACKET}'e30='); /* '*/",
        f"INSERT INTO testapp_tag (name) VALUES ($${BEFORE_PACKET}e30='*/$$)",
        f"INSERT INTO testapp_tag (name) VALUES ('a') {MINE} -- '*/",
        # The literal ends where the packet would begin.
        f"INSERT INTO testapp_tag (name) VALUES ('{BEFORE_PACKET}) /* the users'*/",
        f"INSERT INTO testapp_tag (name) VALUES ($${BEFORE_PACKET}$$) /* the users'*/",
        f"INSERT INTO testapp_tag (name) VALUES ('a') -- by {' '.join(MINE.split())}",
        f"INSERT INTO testapp_tag (name) VALUES ('a') /* by {MINE}*/",
        "INSERT INTO testapp_tag (name) VALUES ('a'); /* the users'*/",
        "INSERT INTO testapp_tag (name) VALUES ($$a$$); /* the users'*/",
    ],
)
def test_what_looks_like_a_packet_within_a_statement_is_none(sql: str) -> None:
    _run_untold(sql)
    assert tell() == [("create", "", DATABASE)]


def test_a_packet_is_looked_for_once_however_long_the_statement_and_many_its_rows() -> None:
    # Another program's: nobody tells it in another way.
    TagFactory.create_batch(2)
    tell()
    _run_untold("SELECT set_config('signal_kit.unit', gen_random_uuid()::text, false)")
    try:
        _run_untold(f"UPDATE testapp_tag SET name = 'a'{MINE}")
    finally:
        _run_untold("SELECT set_config('signal_kit.unit', '', false)")
    assert tell() == [("update", "", DATABASE)] * 2
    _run_untold(f"UPDATE testapp_tag SET name = 'b'{MINE}")
    assert tell() == [("update", "eve", DATABASE)] * 2


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO testapp_tag (name) VALUES ('a'",
        "INSERT INTO testapp_tag (name) VALUES ('a",
        "INSERT INTO testapp_tag (name) VALUES ($$a",
        "INSERT INTO testapp_tag (name) VALUES ('a') /* so",
        "INSERT testapp_tag (name) VALUES ('a')",
        "INSERT INTO testapp_tag (name) VALUES ('a', 'b')",
        "INSERT INTO testapp_tag (nothing) VALUES ('a')",
        "insert testapp_tag (name) VALUES ('a')",
        "insert INTO testapp_tag (nothing) VALUES ('a')",
        "INSERT INTO testapp_tag (name) VALUES ('a'); nothing",
        "INSERT INTO testapp_tag (name) VALUES ('a'); INSERT INTO testapp_tag (name) VALUES ('b",
        "INSERT INTO testapp_tag (name) VALUES (';a",
        "UPDATE testapp_tag SET name = $$;a",
        "DELETE FROM testapp_tag; /* a",
        "DELETE FROM testapp_tag WHERE name = 'a;' AND",
        "insert INTO testapp_tag (name) VALUES (';a",
    ],
)
def test_an_error_quotes_the_statement_alone(sql: str, link: str) -> None:
    def fail() -> str:
        with pytest.raises(DatabaseError) as caught:
            run(sql)
        said = "".join(traceback.format_exception(caught.value))
        for secret in ("eyJ", "secret", "set_config("):
            assert secret not in said
        return str(caught.value)

    with context(reason="secret"):
        fail()
        with transaction.atomic(), transaction.atomic(savepoint=True):
            run("SELECT 1")
            sid = connection.savepoint()
            fail()
            connection.savepoint_rollback(sid)
        TagFactory()
    assert tell() == [("create", "", {"reason": "secret"})]


def test_a_statement_that_fails_is_shown_as_it_was_given() -> None:
    pk = TagFactory().pk
    with context(reason="sécret"):
        for values in ([pk, "a"], {"id": pk, "name": "a"}):
            marks = "%(id)s, %(name)s" if isinstance(values, dict) else "%s, %s"
            for verb in ("INSERT", "insert"):
                with CaptureQueriesContext(connection) as queries, pytest.raises(IntegrityError):
                    run(f"{verb} INTO testapp_tag (id, name) VALUES ({marks})", values)
                if has_psycopg:
                    shown = f"{verb} INTO testapp_tag (id, name) VALUES ({pk}, 'a')"
                    assert queries[0]["sql"] == shown


@pytest.mark.skipif(not has_psycopg, reason="psycopg 2 makes the query by itself")
def test_a_function_that_is_called_by_name_says_who_it_is(link: str) -> None:
    run(
        "CREATE FUNCTION make(name text) RETURNS text LANGUAGE sql AS "
        "$$ INSERT INTO testapp_tag (name) VALUES (name) RETURNING name $$"
    )
    try:
        with transaction.atomic():
            TagFactory()
            with context(reason="so"), connection.cursor() as cursor:
                cursor.callproc("make", ["a"])
    finally:
        run("DROP FUNCTION make")
    assert [why for _, _, why in tell()] == [{}, {"reason": "so"}]


def test_what_was_committed_before_an_error_is_not_done_again(link: str) -> None:
    insert = "INSERT INTO testapp_tag (name) VALUES"
    with context(reason="so"), pytest.raises(DatabaseError, match="syntax"):
        run(f"{insert} ('a'); COMMIT; {insert} ('b'); DO 'BEGIN SLECT 1; END'")
    with context(reason="so"), pytest.raises(DatabaseError, match="syntax"):
        run(f"{insert} ('a'); {insert} ('b'); DO 'BEGIN SLECT 1; END'")
    with context(reason="so"), pytest.raises(DatabaseError, match="expressions"):
        run(f"{insert} ('a'); {insert} ('b', 'c')")
    with context(reason="so"), pytest.raises(DatabaseError, match="termination"):
        run(f"{insert} ('a'); COMMIT; {insert} ('b'); DO 'BEGIN COMMIT; END'")
    assert tell() == [("create", "", {"reason": "so"})] * 2


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT 1", True),
        ("SELECT 1 FROM t FOR UPDATE", True),
        ("/* why */ SELECT 1 FROM t FOR UPDATE", True),
        ("(SELECT 1 FROM t FOR UPDATE) UNION SELECT 2", True),
        ("SET ROLE app", True),
        ("SET x = 1; SHOW x", True),
        ("CREATE INDEX CONCURRENTLY a ON t (updated)", True),
        ("VACUUM t", True),
        ("COPY t TO STDOUT", True),
        ("COPY (DELETE FROM t RETURNING a) TO STDOUT", False),
        ("CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $a$ DELETE FROM t; $a$", True),
        ("CREATE FUNCTION f() RETURNS void LANGUAGE sql AS 'DELETE FROM t;'", True),
        ("CREATE TABLE t (a text DEFAULT 'b;'); DELETE FROM u WHERE a = 'b'", False),
        ("WITH a AS (/* it's */ DELETE FROM t WHERE b = 'c' RETURNING d) TABLE a", False),
        ("LOCK t; CALL p()", False),
        ("SELECT 1; UPDATE t SET a = 1", False),
        ("BEGIN; DELETE FROM t; COMMIT", False),
        ("explain analyze delete from t", False),
        ("MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE", False),
        (b"SELECT 1", False),
    ],
)
def test_what_reads_is_told_from_what_may_write(query: Any, expected: bool) -> None:
    assert is_read(query) == expected


def _compose(sql: str, value: str) -> Any:
    if has_psycopg:
        from psycopg.sql import SQL, Literal
    else:
        from psycopg2.sql import SQL, Literal
    return SQL(sql).format(Literal(value))


def _copy(lines: str) -> None:
    sql = "COPY testapp_tag (name) FROM STDIN"
    with connection.cursor() as cursor:
        if has_psycopg:
            with cursor.copy(sql) as copy:
                copy.write(lines)
        else:
            cursor.copy_expert(sql, io.StringIO(lines))


def test_reads_are_left_alone(link: str) -> None:
    TagFactory.create_batch(5)
    with transaction.atomic():
        assert len(list(Tag.objects.iterator(chunk_size=2))) == 5
        assert run("SELECT current_setting('signal_kit.context', true)") in ([("",)], [(None,)])
        assert Tag.objects.select_for_update().count() == 5


def test_nothing_is_left_to_the_next_client_of_the_session(link: str) -> None:
    with context(reason="mine"):
        TagFactory()
        with transaction.atomic():
            TagFactory()
    tell()
    _run_untold("INSERT INTO testapp_tag (name) VALUES ('a')")
    assert tell() == [("create", "", DATABASE)]


def test_who_is_muted_writes_nothing(link: str) -> None:
    with muted("AuditLog"):
        TagFactory()
    with transaction.atomic():
        with only("DeletionLog"):
            tag = TagFactory()
        tag.name = "a"
        tag.save()
    assert [each[0] for each in tell()] == ["update"]


def test_an_actor_is_asked_for_once_and_only_if_something_is_written(link: str) -> None:
    asked = []

    def ask() -> Any:
        asked.append(1)
        return get_user_model().objects.get()

    UserFactory(username="ada")
    with context(actor=ask):
        list(Tag.objects.all())
        assert asked == []
        with transaction.atomic():
            TagFactory()
            once = len(asked)
            TagFactory.create_batch(3)
    assert len(asked) == once > 0
    assert tell() == [("create", "ada", {})] * 4


def test_a_write_is_one_query_and_one_round_trip() -> None:
    tag = TagFactory()
    with CaptureQueriesContext(connection) as queries:
        tag.name = "a"
        tag.save()
    [query] = queries
    if has_psycopg:
        assert query["sql"].startswith("UPDATE")
    shown = (
        ("UPDATE testapp_tag SET name = %s", ["it's 100%"]),
        ("UPDATE testapp_tag SET name = %(name)s", {"name": "it's 100%"}),
        ("UPDATE testapp_tag SET name = 'it''s 100%'", None),
    )
    with context(reason="'; \\"):
        for statement, values in shown:
            with CaptureQueriesContext(connection) as queries:
                run(statement, values)
            if has_psycopg:
                assert queries[0]["sql"] == "UPDATE testapp_tag SET name = 'it''s 100%'"
    with through_proxy(connection) as proxy:
        # Nobody asks the catalogue any more.
        tag.save()
        before = proxy.round_trips
        with context(reason="so"):
            tag.name = "b"
            tag.save()
        assert proxy.round_trips - before == 1


@pytest.mark.skipif(not has_psycopg, reason="psycopg 2 binds all itself")
def test_values_that_the_server_binds_cost_no_round_trip_either() -> None:
    options = connection.settings_dict["OPTIONS"]
    connection.close()
    options["server_side_binding"] = True
    # Django asks it once for each connection object.
    connection.features.__dict__.pop("uses_server_side_binding", None)
    try:
        with through_proxy(connection) as proxy:
            tag = TagFactory()
            before = proxy.round_trips
            tag.name = "b"
            tag.save()
            assert proxy.round_trips - before == 1
    finally:
        connection.close()
        del options["server_side_binding"]
        connection.features.__dict__.pop("uses_server_side_binding", None)


def test_a_unit_of_another_receivers_is_one(wire: Any) -> None:
    with batch():
        TagFactory()
        TagFactory()
    TagFactory()
    first, second, third = AuditEntry.objects.order_by("id").values_list("unit", flat=True)
    assert first == second != third
    assert third is not None


def test_another_program_has_one_unit_a_transaction() -> None:
    TagFactory()
    AuditEntry.objects.all().delete()
    made = connection.Database.connect(**_get_parameters())  # type: ignore[attr-defined]
    try:
        with made.cursor() as cursor:
            cursor.execute("INSERT INTO testapp_tag (name) VALUES ('a')")
            cursor.execute("UPDATE testapp_tag SET name = 'b'")
        made.commit()
        with made.cursor() as cursor:
            cursor.execute("DELETE FROM testapp_tag WHERE name = 'b'")
        made.commit()
    finally:
        made.close()
    entries = list(AuditEntry.objects.order_by("id"))
    assert {(each.actor, each.actor_text, each.context["by"]) for each in entries} == {
        (None, "", "database")
    }
    units = [each.unit for each in entries]
    assert len(units) == 5
    assert len(set(units[:3])) == 1
    assert len(set(units)) == 2
    assert {unit.version for unit in units} == {7}


def _get_parameters() -> dict[str, Any]:
    found = connection.settings_dict
    return {
        "host": found["HOST"],
        "port": found["PORT"] or 5432,
        "user": found["USER"],
        "password": found["PASSWORD"],
        "dbname": found["NAME"],
    }


def test_a_model_that_nobody_records_is_written_as_ever() -> None:
    TagFactory()
    AuditEntry.objects.all().delete()
    with CaptureQueriesContext(connection) as queries:
        Category.objects.create(name="a")
    assert len(queries) == 1
    assert not AuditEntry.objects.exists()
