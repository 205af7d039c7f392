"""Plain rows, as many in a statement as the database takes."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from django_signal_kit.rows import inserting
from django_signal_kit.rows.inserting import CHUNK, insert
from tests.apps.relations.models import Team
from tests.apps.testapp.models import Plain

pytestmark = pytest.mark.django_db(transaction=True)

NAMES = ("name", "number")


def rows(count: int) -> list[tuple[str, int]]:
    return [(f"row {number}", number) for number in range(count)]


@pytest.mark.parametrize("count", [1, 2, CHUNK, CHUNK + 1, 2 * CHUNK])
def test_every_row_is_there_in_its_order(count: int) -> None:
    insert(Plain, NAMES, rows(count), connections["default"])
    assert list(Plain.objects.order_by("pk").values_list(*NAMES)) == rows(count)


def test_a_thousand_rows_are_two_statements_or_what_the_limit_forces() -> None:
    limit = connection.features.max_query_params or 2 * CHUNK
    with CaptureQueriesContext(connection) as queries:
        insert(Plain, NAMES, rows(1000), connections["default"])
    if connection.vendor == "postgresql":
        assert len(queries) == 1
    else:
        assert len(queries) == -(-1000 // min(CHUNK, limit // 2))


def test_nothing_is_cut_off_or_taken_for_sql() -> None:
    odd = [("%s ' \" \\ {} é \U0001f600", 1), ("", -1), ("null", 0)]
    insert(Plain, NAMES, odd, connections["default"])
    assert list(Plain.objects.order_by("pk").values_list(*NAMES)) == odd
    if connection.vendor != "sqlite":
        with pytest.raises(Exception, match=r"(?i)too long"):
            insert(Plain, NAMES, [("x" * 101, 1), ("y", 2)], connections["default"])


def test_the_sql_of_one_row_is_made_once(monkeypatch: Any) -> None:
    insert(Plain, NAMES, rows(1), connections["default"])
    kept = dict(inserting._kept)
    insert(Plain, NAMES, rows(1), connections["default"])
    assert inserting._kept == kept
    assert ("default", Plain, NAMES, 1, False) in kept


def test_a_rollback_takes_the_rows_back() -> None:
    with pytest.raises(KeyError), transaction.atomic():
        insert(Plain, NAMES, rows(3), connections["default"])
        raise KeyError
    assert not Plain.objects.exists()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_rows_that_are_there_can_be_left_out(count: int) -> None:
    Team.objects.create(code="A1")
    names = ("code", "player_count")
    rows = [(f"A{number}", 0) for number in range(1, count + 1)]
    with pytest.raises(IntegrityError):
        insert(Team, names, rows, connections["default"])
    insert(Team, names, rows, connections["default"], ignore_conflicts=True)
    assert list(Team.objects.order_by("pk").values_list(*names)) == rows


def test_the_commit_goes_along_on_postgresql_alone() -> None:
    with CaptureQueriesContext(connection) as queries, transaction.atomic():
        insert(Plain, NAMES, rows(1), connections["default"], is_last=True)
    (sql,) = [query["sql"] for query in queries if query["sql"].startswith("INSERT")]
    assert sql.endswith("; COMMIT") == (connection.vendor == "postgresql")
    assert Plain.objects.count() == 1
