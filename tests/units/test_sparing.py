"""What may fail harms no transaction, and costs a savepoint only if it asks the database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from django_signal_kit.units.sparing import DatabaseNeeded, spare, without_database
from tests.apps.testapp.models import Tag

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _leaves_no_wrapper() -> Iterator[None]:
    # Those that count the queries of requests stay on their connections.
    before = list(connection.execute_wrappers)
    yield
    assert connection.execute_wrappers == before


def fail(argument: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM nowhere")


def fail_and_go_on(argument: Any) -> str:
    with suppress(DatabaseError):
        fail(argument)
    return "done"


def fail_in_a_block(argument: Any) -> None:
    with transaction.atomic(savepoint=False):
        Tag.objects.create(name="within")
        raise ValueError


def fail_without_a_query(argument: Any) -> None:
    raise ValueError(argument)


def read_twice(argument: Any) -> int:
    return len(Tag.objects.all()) + len(Tag.objects.all())


def test_what_asks_no_database_costs_no_query() -> None:
    with transaction.atomic(), CaptureQueriesContext(connection) as queries:
        found, error = spare(connection, fail_without_a_query, "no name")
    assert (found, str(error)) == (None, "no name")
    assert len(queries) == 0


def test_several_queries_cost_one_savepoint() -> None:
    with transaction.atomic(), CaptureQueriesContext(connection) as queries:
        assert spare(connection, read_twice, None) == (0, None)
    kinds = [query["sql"].split()[0] for query in queries]
    assert kinds == ["SAVEPOINT", "SELECT", "SELECT", "RELEASE"]


def test_without_a_transaction_there_is_no_savepoint() -> None:
    with CaptureQueriesContext(connection) as queries:
        _, error = spare(connection, fail, None)
    assert isinstance(error, DatabaseError)
    assert not any("SAVEPOINT" in query["sql"] for query in queries)
    Tag.objects.create(name="a")


@pytest.mark.parametrize("function", [fail, fail_and_go_on, fail_in_a_block])
def test_what_fails_leaves_the_transaction_as_it_was(function: Any) -> None:
    with transaction.atomic():
        Tag.objects.create(name="before")
        found, error = spare(connection, function, None)
        Tag.objects.create(name="after")
    assert (found == "done") is (error is None)
    assert [tag.name for tag in Tag.objects.order_by("pk")] == ["before", "after"]


def test_what_it_has_written_stays_if_nothing_fails() -> None:
    with transaction.atomic():
        spare(connection, lambda name: Tag.objects.create(name=name), "within")
    assert Tag.objects.count() == 1


def test_one_within_another_harms_no_transaction() -> None:
    with transaction.atomic():
        spare(connection, lambda inner: (read_twice(None), spare(connection, inner, None)), fail)
        Tag.objects.create(name="after")
    assert Tag.objects.count() == 1


def test_a_transaction_that_is_lost_already_stays_so() -> None:
    with transaction.atomic():
        Tag.objects.create(name="lost")
        transaction.set_rollback(True)
        spare(connection, fail_without_a_query, None)
        assert transaction.get_rollback()
    assert Tag.objects.count() == 0


def interrupt(argument: Any) -> None:
    read_twice(argument)
    raise KeyboardInterrupt


def test_an_interrupt_goes_on() -> None:
    with pytest.raises(KeyboardInterrupt), transaction.atomic():
        spare(connection, interrupt, None)


def test_nothing_is_connected_to_without_a_database() -> None:
    with without_database():
        for act in (
            lambda: connection.cursor(),
            lambda: connection.ensure_connection(),
            lambda: Tag.objects.count(),
            lambda: transaction.atomic().__enter__(),
        ):
            with pytest.raises((DatabaseNeeded, RuntimeError)):
                act()
    assert "cursor" not in vars(connection)
