"""What may fail harms no transaction, and costs a savepoint only if it asks the database."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from django_signal_kit.units.sparing import Sparing
from tests.apps.testapp.models import Tag

pytestmark = pytest.mark.django_db(transaction=True)


def ask(sql: str = "SELECT 1 FROM nowhere") -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def test_what_asks_no_database_costs_no_query() -> None:
    with transaction.atomic(), CaptureQueriesContext(connection) as queries:
        with Sparing("default") as sparing:
            raise ValueError("no name")
    assert str(sparing.error) == "no name"
    assert len(queries) == 0
    assert connection.execute_wrappers == []


def test_several_queries_cost_one_savepoint() -> None:
    with transaction.atomic(), CaptureQueriesContext(connection) as queries:
        with Sparing("default") as sparing:
            list(Tag.objects.all())
            list(Tag.objects.all())
    assert sparing.error is None
    assert [query["sql"].split()[0] for query in queries] == [
        "SAVEPOINT",
        "SELECT",
        "SELECT",
        "RELEASE",
    ]


def test_without_a_transaction_there_is_no_savepoint() -> None:
    with CaptureQueriesContext(connection) as queries, Sparing("default") as sparing:
        ask()
    assert isinstance(sparing.error, DatabaseError)
    assert not any("SAVEPOINT" in query["sql"] for query in queries)
    Tag.objects.create(name="a")


def test_a_query_that_fails_leaves_the_transaction_as_it_was() -> None:
    with transaction.atomic():
        Tag.objects.create(name="before")
        with Sparing("default") as sparing:
            ask()
        Tag.objects.create(name="after")
    assert isinstance(sparing.error, DatabaseError)
    assert Tag.objects.count() == 2


def test_so_does_one_whose_error_is_swallowed() -> None:
    with transaction.atomic():
        with Sparing("default") as sparing:
            with suppress(DatabaseError):
                ask()
        Tag.objects.create(name="after")
    assert sparing.error is None
    assert Tag.objects.count() == 1


def test_so_does_a_block_that_is_left_with_the_error() -> None:
    with transaction.atomic():
        with Sparing("default"), transaction.atomic(savepoint=False):
            Tag.objects.create(name="within")
            raise ValueError
        Tag.objects.create(name="after")
    assert [tag.name for tag in Tag.objects.all()] == ["after"]


def test_what_it_has_written_stays_if_nothing_fails() -> None:
    with transaction.atomic(), Sparing("default"):
        Tag.objects.create(name="within")
    assert Tag.objects.count() == 1


def test_one_within_another_harms_no_transaction() -> None:
    with transaction.atomic():
        with Sparing("default"):
            list(Tag.objects.all())
            with Sparing("default"):
                ask()
        Tag.objects.create(name="after")
    assert Tag.objects.count() == 1


def test_a_transaction_that_is_lost_already_stays_so() -> None:
    with transaction.atomic():
        Tag.objects.create(name="lost")
        transaction.set_rollback(True)
        with Sparing("default"):
            raise ValueError
        assert transaction.get_rollback()
    assert Tag.objects.count() == 0


def test_an_interrupt_goes_on() -> None:
    with pytest.raises(KeyboardInterrupt), transaction.atomic(), Sparing("default"):
        list(Tag.objects.all())
        raise KeyboardInterrupt
    assert connection.execute_wrappers == []


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_each_database_in_a_transaction_is_spared(django_db_blocker: Any) -> None:
    with transaction.atomic(), transaction.atomic("other"):
        Tag.objects.using("other").create(name="a")
        with Sparing("default"), transaction.atomic("other", savepoint=False):
            list(Tag.objects.using("other"))
            raise ValueError
        Tag.objects.using("other").create(name="b")
    assert Tag.objects.using("other").count() == 2
