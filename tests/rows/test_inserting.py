"""Plain rows, as many in a statement as the database takes."""

from __future__ import annotations

import uuid
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from django_signal_kit.audit.models import AuditEntry
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


def test_what_is_the_same_in_all_rows_is_given_once() -> None:
    name = "same %s ' \\ \x1f é"
    rows = [(name, number) for number in range(CHUNK + 3)]
    with CaptureQueriesContext(connection) as queries:
        insert(Plain, NAMES, rows, connections["default"])
    assert list(Plain.objects.order_by("pk").values_list(*NAMES)) == rows
    if connection.vendor != "mysql":
        assert sum(query["sql"].count("same") for query in queries) == len(queries)


def test_what_comes_first_and_last_may_be_another_in_between() -> None:
    rows = [("x", 1), ("y", 2), ("x", 1)]
    insert(Plain, NAMES, rows, connections["default"])
    assert list(Plain.objects.order_by("pk").values_list(*NAMES)) == rows


def test_rows_that_are_the_same_altogether_are_all_there() -> None:
    rows = [("x", 1)] * 3
    insert(Plain, NAMES, rows, connections["default"])
    assert list(Plain.objects.values_list(*NAMES)) == rows


@pytest.mark.parametrize(("unit", "actor", "text"), [(uuid.UUID(int=5), 7, "x"), (None, None, "")])
def test_a_value_for_all_rows_is_what_it_is(unit: Any, actor: Any, text: str) -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 6, UTC)
    names = ("at", "action", "object_text", "using", "unit", "actor_id", "changes", "object_pk")
    given = unit
    if unit is not None and not connection.features.has_native_uuid_field:
        given = unit.hex
    moment = connection.ops.adapt_datetimefield_value(at)
    shared = (moment, "update", text, text, given, actor, '{"a": 1}')
    rows = [(*shared, str(number), "{}", text) for number in range(3)]
    insert(AuditEntry, (*names, "context", "actor_text"), rows, connection)
    found = AuditEntry.objects.order_by("pk").values_list(*names, "context", "actor_text")
    same = (at, "update", text, text, unit, actor, {"a": 1})
    assert [*found] == [(*same, str(number), {}, text) for number in range(3)]


def test_one_value_that_is_too_long_for_all_rows_is_not_cut_off() -> None:
    if connection.vendor == "sqlite":
        pytest.skip("keeps it")
    with pytest.raises(DatabaseError, match=r"(?i)too long"):
        insert(Plain, NAMES, [("x" * 101, number) for number in range(2)], connection)


def test_the_least_number_may_be_that_of_all_rows() -> None:
    rows = [("a", -(2**31)), ("b", -(2**31))]
    insert(Plain, NAMES, rows, connections["default"])
    assert list(Plain.objects.order_by("pk").values_list(*NAMES)) == rows


@pytest.mark.parametrize("odd", ["a\x1fb", "\x1f", "\x1e\n\t"])
def test_what_stands_between_texts_may_be_in_one(odd: str) -> None:
    rows = [("first", 1), (odd, 2), ("", 3)]
    insert(Plain, NAMES, rows, connections["default"])
    assert list(Plain.objects.order_by("pk").values_list(*NAMES)) == rows


def test_nothing_and_something_may_be_in_one_column() -> None:
    names = ("at", "action", "object_pk", "changes", "context", "actor_id", "content_type_id")
    at = connection.ops.adapt_datetimefield_value(datetime(2026, 1, 2, tzinfo=UTC))
    rows = [(at, "create", str(key), "{}", "{}", key or None, 7 - key) for key in range(3)]
    rows = [(*row, "", "", "") for row in rows]
    insert(AuditEntry, (*names, "object_text", "actor_text", "using"), rows, connection)
    found = AuditEntry.objects.order_by("pk").values_list("actor_id", "content_type_id")
    assert [*found] == [(None, 7), (1, 6), (2, 5)]


@pytest.mark.skipif(connection.vendor != "postgresql", reason="binds there alone")
def test_the_server_may_bind_the_parameters() -> None:
    other = connection.copy()
    other.settings_dict = deepcopy(connection.settings_dict)
    other.settings_dict["OPTIONS"]["server_side_binding"] = True
    try:
        for rows in ([("same", 1), ("same", 2)], [("a\x1f", 1), ("b", 2)], [("a", 1), ("b", 2)]):
            insert(Plain, NAMES, rows, other)
    finally:
        other.close()
    assert Plain.objects.count() == 6


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


def test_the_commit_goes_along_with_psycopg_3_alone() -> None:
    with CaptureQueriesContext(connection) as queries, transaction.atomic():
        insert(Plain, NAMES, rows(1), connections["default"], is_last=True)
    (sql,) = [query["sql"] for query in queries if query["sql"].startswith("INSERT")]
    takes_it = connection.Database.__name__ == "psycopg"  # type: ignore[attr-defined]
    assert sql.endswith("; COMMIT") == takes_it
    assert Plain.objects.count() == 1
