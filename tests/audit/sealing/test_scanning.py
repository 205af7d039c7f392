"""A table is read to its end, whatever somebody wrote into it."""

from __future__ import annotations

import pytest
from django.core.management import CommandError
from django.db import OperationalError, connection

from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.audit.sealing.scanning import get_all, read
from tests.audit.sealing.test_seal import OK, TABLE, seal, sql, verify, write

only_sqlite = pytest.mark.skipif(connection.vendor != "sqlite", reason="stores what it is given")

GARBAGE = {
    "at": "'not a time'",
    "changes": "'{'",
    "unit": "'not a uuid'",
    "object_text": "CAST(x'ff' AS TEXT)",
    "context": "'" + "[" * 100_000 + "]" * 100_000 + "'",
}


def spoil(id: int, column: str) -> None:
    sql("PRAGMA ignore_check_constraints = ON")
    sql(f"UPDATE {TABLE} SET {column} = {GARBAGE[column]} WHERE id = {id}")
    sql("PRAGMA ignore_check_constraints = OFF")


@only_sqlite
@pytest.mark.django_db
@pytest.mark.parametrize("column", GARBAGE)
def test_an_entry_that_cannot_be_read_was_altered(column):
    ids = write(3)
    seal()
    assert verify() == OK.format(3)
    spoil(ids[1], column)
    assert verify() == f"Entry {ids[1]} was altered."


@only_sqlite
@pytest.mark.django_db
def test_an_entry_that_cannot_be_read_is_not_sealed():
    ids = write(2)
    spoil(ids[1], "unit")
    with pytest.raises(CommandError, match=f"Entry {ids[1]} of the audit log cannot be read"):
        seal()


@pytest.mark.django_db
@pytest.mark.parametrize(("after", "up_to"), [(None, None), (0, 4), (1, 3), (4, 4)])
def test_a_range_is_read_page_by_page(after, up_to, monkeypatch):
    monkeypatch.setattr("django_signal_kit.audit.sealing.scanning._PAGE", 2)
    ids = write(5)
    found = read(
        get_all(AuditEntry, "default"),
        ["object_pk"],
        None if after is None else ids[after] - 1,
        None if up_to is None else ids[up_to],
    )
    places = range(5)[slice(after, None if up_to is None else up_to + 1)]
    assert list(found) == [(ids[place], (str(place),)) for place in places]


@pytest.mark.django_db(transaction=True)
def test_an_error_of_the_database_is_not_taken_for_a_forgery(monkeypatch):
    def fail(*args):
        raise OperationalError("server closed the connection")

    write(1)
    with connection.execute_wrapper(fail), pytest.raises(OperationalError, match="server closed"):
        list(read(get_all(AuditEntry, "default"), ["id"]))
