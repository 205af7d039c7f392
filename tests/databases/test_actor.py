"""A session always knows who is acting."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.middleware import SessionMiddleware
from django.db import DatabaseError, IntegrityError, connection, connections, transaction
from django.db.backends.signals import connection_created
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from hypothesis import example, given
from hypothesis import strategies as st

from django_signal_kit import context
from django_signal_kit.middleware import RequestContextMiddleware
from django_signal_kit.receivers import ConnectionSetup
from tests.apps.testapp.models import Tag
from tests.conftest import run_async
from tests.databases.sessions import (
    ACTOR,
    READ,
    VENDOR,
    ask,
    only_postgresql,
    who,
)
from tests.factories import UserFactory
from tests.threads import in_threads

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "other"]),
    pytest.mark.usefixtures("new_connections"),
]


def test_the_session_knows_who_is_acting(wire: Any) -> None:
    wire((ConnectionSetup, ACTOR))
    ann = UserFactory()
    assert who() == ""
    with context(actor=ann):
        assert who() == str(ann.pk)
        with context(actor="cron 'job' %s; --"):
            assert who() == "cron 'job' %s; --"
        with context(reason="unsaved", actor=get_user_model()()):
            assert who() == ""
        assert who() == str(ann.pk)
    assert who() == ""


def test_the_session_is_told_only_of_another_actor_and_by_no_counted_query(wire: Any) -> None:
    wire((ConnectionSetup, ACTOR))
    told: list[str] = []
    connection.ensure_connection()
    (follow,) = connection.execute_wrappers
    inner = follow._set
    follow._set = lambda connection, value: (told.append(value), inner(connection, value))
    with CaptureQueriesContext(connection) as queries:
        who(), who()
        with context(actor="ann"):
            who(), who(), Tag.objects.count()
        with context(actor="ann"):
            who()
        with context(actor="bea"):
            who(), who()
        who()
    assert told == ["ann", "bea", ""]
    assert len(queries) == 9


def test_a_connection_that_stays_open_forgets_the_actor_of_the_request_before(wire: Any) -> None:
    wire((ConnectionSetup, ACTOR))
    ann = UserFactory()
    raw = connection.connection
    seen: list[str] = []

    def view(request: HttpRequest) -> HttpResponse:
        seen.append(who())
        return HttpResponse()

    for user in (ann, AnonymousUser(), ann):
        request = RequestFactory().get("/")
        request.user = user
        RequestContextMiddleware(view)(request)
    assert seen == [str(ann.pk), "", str(ann.pk)]
    assert connection.connection is raw


def test_a_user_who_is_known_late_in_the_request_is_followed(wire: Any) -> None:
    wire((ConnectionSetup, ACTOR))
    ann = UserFactory()
    seen: list[str] = []

    def view(request: HttpRequest) -> HttpResponse:
        seen.append(who())
        request.user = ann
        seen.append(who())
        request.user = AnonymousUser()
        seen.append(who())
        return HttpResponse()

    request = RequestFactory().get("/")
    request.user = AnonymousUser()
    RequestContextMiddleware(view)(request)
    assert seen == ["", str(ann.pk), ""]


def respond(client_cookies: Any, view: Any) -> list[str]:
    """The first words of each query of a request."""
    request = RequestFactory().get("/")
    request.COOKIES.update(client_cookies)
    stack = SessionMiddleware(AuthenticationMiddleware(RequestContextMiddleware(view)))
    with CaptureQueriesContext(connection) as queries:
        stack(request)
    return [query["sql"][:40] for query in queries]


@pytest.mark.parametrize("first", ["user", "session", "row"])
def test_looking_up_the_user_costs_no_query_more(wire: Any, client: Any, first: str) -> None:
    client.force_login(UserFactory())
    cookies = {name: morsel.value for name, morsel in client.cookies.items()}
    seen: list[str] = []

    def view(request: HttpRequest) -> HttpResponse:
        if first == "user":
            assert request.user.is_authenticated
        elif first == "session":
            assert request.session.get("cart") is None
        Tag.objects.count()
        seen.append(str(request.user.pk))
        return HttpResponse()

    bare = respond(cookies, view)
    assert len(bare) == 3
    connections.close_all()
    wire((ConnectionSetup, ACTOR))
    assert sorted(respond(cookies, view)) == sorted(bare)


def test_the_user_is_looked_up_before_a_view_that_never_asks_reads_a_row(
    wire: Any, client: Any
) -> None:
    ann = UserFactory()
    client.force_login(ann)
    cookies = {name: morsel.value for name, morsel in client.cookies.items()}
    connection.close()
    wire((ConnectionSetup, ACTOR))
    seen: list[str] = []

    def view(request: HttpRequest) -> HttpResponse:
        seen.append(who())
        return HttpResponse()

    respond(cookies, view)
    assert seen == [str(ann.pk)]


def test_an_actor_who_costs_statements_is_asked_as_nobody(wire: Any) -> None:
    wire((ConnectionSetup, ACTOR))
    seen: list[str] = []

    def get_actor() -> str:
        seen.append(who())
        return "ann"

    with context(actor="before"):
        who()
    with context(actor=get_actor):
        assert who() == "ann"
    assert seen == [""]


def test_async_tasks_that_share_a_connection_keep_their_actors(wire: Any) -> None:
    import asyncio

    from asgiref.sync import sync_to_async

    wire((ConnectionSetup, ACTOR))

    async def act(name: str) -> list[str]:
        with context(actor=name):
            return [await sync_to_async(who)() for _ in range(5)]

    async def main() -> Any:
        return await asyncio.gather(*(act(name) for name in "abc"))

    assert run_async(main()) == [[name] * 5 for name in "abc"]


def test_threads_have_actors_of_their_own(wire: Any) -> None:
    wire((ConnectionSetup, ACTOR))
    barrier = threading.Barrier(3)
    seen: dict[str, set[str]] = {}

    def act(name: str) -> None:
        with context(actor=name):
            barrier.wait(60)
            seen[name] = {who() for _ in range(20)}

    in_threads(*(partial(act, name) for name in "abc"))
    assert seen == {name: {name} for name in "abc"}


# Transactions


class UndoError(Exception):
    pass


def test_a_rollback_leaves_no_wrong_actor(wire: Any) -> None:
    wire((ConnectionSetup, ACTOR))
    with context(actor="ann"):
        assert who() == "ann"
    with context(actor="bea"):
        with pytest.raises(UndoError), transaction.atomic():
            assert who() == "bea"
            raise UndoError
        assert who() == "bea"
        with transaction.atomic():
            assert who() == "bea"
    with context(actor="cid"):
        with transaction.atomic():
            assert who() == "cid"
            with context(actor="dan"), pytest.raises(UndoError), transaction.atomic():
                assert who() == "dan"
                raise UndoError
            assert who() == "cid"
    assert who() == ""


def test_an_actor_who_changes_inside_a_savepoint_is_told_again_after_its_rollback(
    wire: Any,
) -> None:
    wire((ConnectionSetup, ACTOR))
    actors = ["ann"]
    with context(actor=lambda: actors[-1]), transaction.atomic():
        assert who() == "ann"
        with pytest.raises(UndoError), transaction.atomic():
            actors.append("bea")
            assert who() == "bea"
            raise UndoError
        assert who() == "bea"


@only_postgresql
def test_a_value_that_is_set_in_a_transaction_goes_with_its_rollback() -> None:
    """Why it is not enough to remember what was set."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('app.actor', 'ann', false)")
        with pytest.raises(UndoError), transaction.atomic():
            cursor.execute("SELECT set_config('app.actor', 'bea', false)")
            raise UndoError
    assert who() == "ann"


def test_a_broken_transaction_is_told_of_as_without_it(wire: Any) -> None:
    wire((ConnectionSetup, ACTOR))
    UserFactory(username="ann")

    with transaction.atomic():
        with context(actor="bea"), pytest.raises(IntegrityError), transaction.atomic():
            UserFactory._meta.model(username="ann").save(force_insert=True)
        with context(actor="cid"):
            assert who() == "cid"
    with pytest.raises(transaction.TransactionManagementError), transaction.atomic():
        with context(actor="dan"):
            try:
                UserFactory._meta.model(username="ann").save(force_insert=True)
            except IntegrityError:
                connection.needs_rollback = True
        with context(actor="eve"):
            who()
    assert who() == ""


def test_manual_transactions_are_followed(wire: Any) -> None:
    wire((ConnectionSetup, ACTOR))
    transaction.set_autocommit(False)
    try:
        for name in ("ann", "bea"):
            with context(actor=name):
                assert who() == name
                mark = connection.savepoint()
                with context(actor="cid"):
                    assert who() == "cid"
                connection.savepoint_rollback(mark)
                assert who() == name
            transaction.rollback()
    finally:
        transaction.set_autocommit(True)
    assert who() == ""


STEPS = st.recursive(
    st.sampled_from(["", "ann", "bea"]),
    lambda inner: st.tuples(st.sampled_from(["commit", "rollback"]), st.lists(inner, max_size=4)),
    max_leaves=12,
)


def follow_steps(steps: Any) -> None:
    for step in steps:
        if isinstance(step, str):
            with context(actor=step or None):
                assert who() == step
            continue
        how, inner = step
        try:
            with transaction.atomic():
                follow_steps(inner)
                if how == "rollback":
                    raise UndoError
        except UndoError:
            pass


@given(steps=st.lists(STEPS, min_size=2, max_size=6))
@example(steps=[("rollback", ["ann"]), "ann"])
@example(steps=["ann", ("commit", [("rollback", ["bea"]), "bea", "ann"]), "bea"])
@example(steps=[("commit", ["ann", ("rollback", ["bea"]), ""]), "", ("rollback", ["bea"])])
def test_whatever_is_committed_or_rolled_back_each_statement_has_its_actor(steps: Any) -> None:
    from django.test.utils import override_settings

    from tests.conftest import as_entry

    with override_settings(SIGNAL_KIT={"RECEIVERS": [as_entry((ConnectionSetup, ACTOR))]}):
        connection.close()
        follow_steps(steps)


# Triggers and row-level security


def test_a_trigger_knows_who_is_acting(wire: Any) -> None:
    wire((ConnectionSetup, ACTOR))
    make, drop = TRIGGERS[VENDOR]
    try:
        with connection.cursor() as cursor:
            for sql in make:
                cursor.execute(sql)
        with context(actor="ann"):
            Tag.objects.create(name="a")
        with context(actor="bea"), transaction.atomic():
            Tag.objects.bulk_create([Tag(name="b"), Tag(name="c")])
        Tag.objects.create(name="d")
        with connection.cursor() as cursor:
            cursor.execute("SELECT name, actor FROM tag_log ORDER BY name")
            rows = [(name, actor or "") for name, actor in cursor.fetchall()]
        assert rows == [("a", "ann"), ("b", "bea"), ("c", "bea"), ("d", "")]
    finally:
        with connection.cursor() as cursor:
            for sql in drop:
                cursor.execute(sql)


TABLE = "CREATE TABLE tag_log (name varchar(100), actor varchar(100))"
TRIGGERS = {
    "sqlite": (
        [
            TABLE,
            "CREATE TRIGGER tag_log_t AFTER INSERT ON testapp_tag BEGIN "
            "INSERT INTO tag_log VALUES (NEW.name, app_actor()); END",
        ],
        ["DROP TRIGGER IF EXISTS tag_log_t", "DROP TABLE IF EXISTS tag_log"],
    ),
    "postgresql": (
        [
            TABLE,
            "CREATE FUNCTION tag_log_f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "INSERT INTO tag_log VALUES (NEW.name, current_setting('app.actor', true)); "
            "RETURN NULL; END $$",
            "CREATE CONSTRAINT TRIGGER tag_log_t AFTER INSERT ON testapp_tag "
            "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION tag_log_f()",
        ],
        [
            "DROP TRIGGER IF EXISTS tag_log_t ON testapp_tag",
            "DROP FUNCTION IF EXISTS tag_log_f()",
            "DROP TABLE IF EXISTS tag_log",
        ],
    ),
    "mysql": (
        [
            TABLE,
            "CREATE TRIGGER tag_log_t AFTER INSERT ON testapp_tag FOR EACH ROW "
            "INSERT INTO tag_log VALUES (NEW.name, @app_actor)",
        ],
        ["DROP TRIGGER IF EXISTS tag_log_t", "DROP TABLE IF EXISTS tag_log"],
    ),
}


@only_postgresql
def test_a_policy_shows_each_actor_his_own_rows(wire: Any) -> None:
    role = f"{connection.settings_dict['NAME']}_clerk"
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        if not cursor.fetchone()[0]:
            pytest.skip("only a superuser may make the role that the policy is for")
        cursor.execute(f"CREATE ROLE {role}")
        cursor.execute("CREATE TABLE secret (owner text, body text)")
        cursor.execute("INSERT INTO secret VALUES ('ann', 'a'), ('bea', 'b'), ('ann', 'c')")
        cursor.execute(f"GRANT SELECT ON secret TO {role}")
        cursor.execute("ALTER TABLE secret ENABLE ROW LEVEL SECURITY")
        cursor.execute(
            "CREATE POLICY own ON secret USING (owner = current_setting('app.actor', true))"
        )
    connection.close()
    wire((ConnectionSetup, {**ACTOR, "sql": {"default": [f"SET ROLE {role}"]}}))

    def read() -> list[str]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT body FROM secret ORDER BY body")
            return [body for (body,) in cursor.fetchall()]

    try:
        assert read() == []
        with context(actor="ann"):
            assert read() == ["a", "c"]
            with transaction.atomic(), context(actor="bea"):
                assert read() == ["b"]
            with pytest.raises(UndoError), transaction.atomic(), context(actor="bea"):
                assert read() == ["b"]
                raise UndoError
            assert read() == ["a", "c"]
        with context(actor="nobody' OR true --"):
            assert read() == []
    finally:
        wire()
        connection.close()
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE secret")
            cursor.execute(f"DROP ROLE {role}")


@only_postgresql
def test_a_session_that_may_only_read_is_told_as_well(wire: Any) -> None:
    wire((ConnectionSetup, {**ACTOR, "postgresql": {"default_transaction_read_only": True}}))
    with pytest.raises(DatabaseError, match="read-only"):
        Tag.objects.create(name="a")
    with context(actor="ann"):
        assert who() == "ann"
        with transaction.atomic(), context(actor="bea"):
            assert who() == "bea"


@only_postgresql
def test_a_connection_from_a_pool_may_know_the_actor_of_another(wire: Any) -> None:
    pytest.importorskip("psycopg_pool", reason="psycopg_pool is not installed")
    wire((ConnectionSetup, {**ACTOR, "postgresql": {"application_name": "shop"}}))
    created: list[Any] = []
    connection_created.connect(hear := lambda connection, **kwargs: created.append(connection))
    options = connection.settings_dict["OPTIONS"]
    options["pool"] = {"min_size": 1, "max_size": 1}
    try:
        seen, pids = [], set()
        for name in ("ann", None, "bea"):
            with context(actor=name):
                seen.append((who(), ask("SHOW application_name")))
                pids.add(ask("SELECT pg_backend_pid()"))
            connection.close()
        assert seen == [("ann", "shop"), ("", "shop"), ("bea", "shop")]
        assert len(pids) == 1, "it was the same session of the server"
        assert len(created) == 3, "the signal is sent whenever the pool hands one out"
        with connection.cursor() as cursor:
            assert cursor.db.execute_wrappers[0].value is None
    finally:
        connection.close()
        connection.close_pool()
        del options["pool"]
        connection_created.disconnect(hear)


# Its place among others


def test_other_wrappers_keep_their_place(wire: Any) -> None:
    wire((ConnectionSetup, ACTOR))
    seen: list[str] = []

    def watch(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        seen.append(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(watch):
        with context(actor="ann"):
            assert who() == "ann"
        connection.close()
        with context(actor="bea"):
            assert who() == "bea"
    with context(actor="cid"):
        assert who() == "cid"
    assert [sql for sql in seen if sql == READ] == [READ, READ]
    assert len(connection.execute_wrappers) == 1


def test_what_is_wired_no_more_follows_nobody(wire: Any) -> None:
    wire((ConnectionSetup, ACTOR))
    assert who() == ""
    wire()
    if VENDOR == "sqlite":
        with context(actor="ann"):
            Tag.objects.count()
    else:
        with context(actor="ann"):
            assert who() == ""
    assert connection.execute_wrappers == []


def test_two_of_them_have_variables_of_their_own(wire: Any) -> None:
    path = "django_signal_kit.receivers.ConnectionSetup"
    wire(
        {"RECEIVER": path, "NAME": "First", "OPTIONS": ACTOR},
        {"RECEIVER": path, "NAME": "Second", "OPTIONS": {"actor_variable": "app.second"}},
    )
    with context(actor="ann"):
        assert who() == ask(READ.replace("actor", "second")) == "ann"


def test_a_new_session_knows_nothing_of_who_opened_it(wire: Any) -> None:
    wire((ConnectionSetup, ACTOR))
    with context(actor="ann"):
        assert who() == "ann"
    connection.close()
    with context(actor="bea"):
        connection.ensure_connection()
    assert who() == ""


@only_postgresql
def test_a_session_that_cannot_be_told_says_so(wire: Any) -> None:
    wire((ConnectionSetup, ACTOR))
    assert who() == ""
    with context(actor="an\0n"), pytest.raises(DatabaseError) as error:
        who()
    assert "'default' cannot be told who is acting" in str(error.value)
