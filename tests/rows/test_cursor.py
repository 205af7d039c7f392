"""The kit's own statements: each connection keeps a cursor open for them."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from threading import Thread
from typing import Any
from unittest import mock

import pytest
from django.db import DatabaseError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_signal_kit.receivers import LastModified
from django_signal_kit.rows.cursor import execute, fetch
from tests.apps.testapp.models import Plain, Product
from tests.factories import ProductFactory
from tests.settings import DATABASE

pytestmark = pytest.mark.django_db(transaction=True)

NUMBER = "SELECT number FROM testapp_plain WHERE name = %s"
INSERT = "INSERT INTO testapp_plain (name, number) VALUES (%s, %s)"


@pytest.fixture
def connection() -> BaseDatabaseWrapper:
    return connections["default"]


@pytest.fixture
def opened(connection: BaseDatabaseWrapper, monkeypatch: Any) -> list[Any]:
    """The cursors that the connection makes."""
    made: list[Any] = []
    create: Callable[..., Any] = connection.create_cursor

    def create_cursor(name: str | None = None) -> Any:
        made.append(name)
        return create(name)

    monkeypatch.setattr(connection, "create_cursor", create_cursor)
    return made


def use(connection: BaseDatabaseWrapper) -> None:
    """The connection has a cursor that it keeps."""
    with transaction.atomic():
        fetch(connection, NUMBER, ["none"])


def test_one_cursor_runs_all_of_them(connection: BaseDatabaseWrapper, opened: list[Any]) -> None:
    use(connection)
    with transaction.atomic():
        # On SQLite Django has one for its BEGIN.
        opened.clear()
        execute(connection, INSERT, ["a", 1])
        execute(connection, INSERT, ["b", 2])
        assert fetch(connection, NUMBER, ["b"]) == [(2,)]
        assert opened == []


def test_placeholders_are_those_of_django(connection: BaseDatabaseWrapper) -> None:
    query = "SELECT number FROM testapp_plain WHERE name = %s AND name LIKE '5%%'"
    for number in range(3):
        with transaction.atomic():
            execute(connection, INSERT, [f"5% of {number}", number])
            assert fetch(connection, query, [f"5% of {number}"]) == [(number,)]


def test_what_an_execute_wrapper_runs_in_between_has_another(
    connection: BaseDatabaseWrapper,
) -> None:
    execute(connection, INSERT, ["a", 1])
    execute(connection, INSERT, ["b", 2])
    between: list[Any] = []

    def look(run: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        result = run(sql, params, many, context)
        if not between:
            between.append(None)
            between[0] = fetch(connection, NUMBER, ["b"])
        return result

    with transaction.atomic():
        use(connection)
        with connection.execute_wrapper(look):
            assert fetch(connection, NUMBER, ["a"]) == [(1,)]
    assert between == [[(2,)]]


def test_queries_are_seen_by_who_captures_them(connection: BaseDatabaseWrapper) -> None:
    use(connection)
    with transaction.atomic(), CaptureQueriesContext(connection) as queries:
        fetch(connection, NUMBER, ["a"])
    with transaction.atomic():
        fetch(connection, NUMBER, ["b"])
    assert [query["sql"].count("testapp_plain") for query in queries] == [1]


def test_one_that_has_failed_does_not_stay(connection: BaseDatabaseWrapper) -> None:
    use(connection)
    with pytest.raises(DatabaseError), transaction.atomic():
        fetch(connection, "SELECT nothing FROM testapp_plain WHERE name = %s", ["a"])
    with transaction.atomic():
        assert fetch(connection, NUMBER, ["a"]) == []


def test_it_ends_with_its_connection(connection: BaseDatabaseWrapper) -> None:
    use(connection)
    connection.close()
    with transaction.atomic():
        execute(connection, INSERT, ["a", 1])
        assert fetch(connection, NUMBER, ["a"]) == [(1,)]


def test_nothing_holds_what_has_been_closed(connection: BaseDatabaseWrapper, wire: Any) -> None:
    wire((LastModified, {"models": [Product]}))
    use(connection)
    gone = [weakref.ref(vars(connection)["_signal_kit_cursor"][1])]
    if DATABASE != "sqlite":
        # Its connections cannot be watched.
        gone.append(weakref.ref(connection.connection))
    connection.close()
    gc.collect()
    assert [ref() for ref in gone] == [None] * len(gone)


def test_a_connection_is_tried_before_its_first_statement(
    connection: BaseDatabaseWrapper, monkeypatch: Any
) -> None:
    use(connection)
    tried: list[None] = []
    is_usable = connection.is_usable
    monkeypatch.setattr(connection, "is_usable", lambda: tried.append(None) or is_usable())
    connection.health_check_enabled, connection.health_check_done = True, False
    fetch(connection, NUMBER, ["a"])
    connection.health_check_enabled = False
    assert tried == [None]


def test_another_thread_is_refused_as_ever(connection: BaseDatabaseWrapper) -> None:
    refused: list[DatabaseError] = []

    def try_it() -> None:
        try:
            fetch(connection, NUMBER, ["a"])
        except DatabaseError as error:
            refused.append(error)

    with transaction.atomic():
        use(connection)
        thread = Thread(target=try_it)
        thread.start()
        thread.join()
    assert len(refused) == 1


def test_who_stands_in_the_place_of_cursor_is_asked(connection: BaseDatabaseWrapper) -> None:
    with transaction.atomic():
        use(connection)
        with mock.patch.object(connection, "cursor", wraps=connection.cursor) as cursor:
            fetch(connection, NUMBER, ["a"])
            fetch(connection, NUMBER, ["a"])
        assert cursor.call_count == 1
        fetch(connection, NUMBER, ["a"])
        assert cursor.call_count == 1


def test_moments_are_those_of_the_time_zone_of_today(
    connection: BaseDatabaseWrapper, settings: Any
) -> None:
    ProductFactory(updated_at=timezone.now())
    query = "SELECT updated_at FROM testapp_product WHERE name <> %s"
    with transaction.atomic():
        fetch(connection, query, [""])
        settings.USE_TZ = False
        with connection.cursor() as cursor:
            cursor.execute(query, [""])
            found = list(cursor.fetchall())
        assert fetch(connection, query, [""]) == found


@pytest.mark.skipif(DATABASE == "sqlite", reason="its cursors keep no text")
def test_the_text_of_a_long_statement_does_not_stay(connection: BaseDatabaseWrapper) -> None:
    with transaction.atomic():
        use(connection)
        execute(connection, "UPDATE testapp_plain SET name = 'a' WHERE name = %s", ["x" * 99_999])
        assert "_signal_kit_cursor" not in vars(connection)


@pytest.mark.skipif(DATABASE != "sqlite", reason="servers have no statement open")
def test_sqlite_has_ended_what_was_asked(connection: BaseDatabaseWrapper) -> None:
    execute(connection, INSERT, ["a", 1])
    with transaction.atomic():
        assert fetch(connection, NUMBER, ["a"]) == [(1,)]
    with connection.cursor() as cursor:
        # Refused while a statement has not ended.
        cursor.execute("VACUUM")
    assert Plain.objects.count() == 1
