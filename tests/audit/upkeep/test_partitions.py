"""The table of the log becomes one part a month, and loses nothing on the way."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connection, models
from django.test.utils import override_settings
from django.utils import timezone

from django_signal_kit.audit.models import AbstractAuditEntry
from django_signal_kit.audit.upkeep.partitions import Partitions
from django_signal_kit.audit.upkeep.table import PartitionError
from django_signal_kit.receivers import AuditLog
from tests.factories import TagFactory

pytestmark = pytest.mark.django_db(transaction=True)

on_postgresql = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="only PostgreSQL has these partitions"
)

NOW = datetime(2026, 11, 15, 12, tzinfo=UTC)


@pytest.fixture
def log() -> Iterator[Any]:
    """A model of the log with a table of its own."""

    class PartedEntry(AbstractAuditEntry):
        class Meta(AbstractAuditEntry.Meta):
            abstract = False
            app_label = "testapp"
            db_table = "testapp_parted"
            indexes = (
                models.Index(fields=("content_type", "object_pk", "-id"), name="parted_object"),
                models.Index(fields=("at",), name="parted_at"),
            )

    with connection.schema_editor() as editor:
        editor.create_model(PartedEntry)
    try:
        with override_settings(SIGNAL_KIT_AUDIT_ENTRY_MODEL="testapp.PartedEntry"):
            yield PartedEntry
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE testapp_parted CASCADE")
        del apps.all_models["testapp"]["partedentry"]
        apps.clear_cache()


def write(log: Any, *moments: datetime) -> None:
    for moment in moments:
        log.objects.create(at=moment, action="update", object_text=f"{moment:%Y-%m-%d}")


def texts(table: str) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT object_text FROM {table} ORDER BY id")
        return [row[0] for row in cursor.fetchall()]


def parts() -> list[str]:
    return [part.name.removeprefix("testapp_parted_") for part in Partitions().get_parts()]


def partition(*args: str) -> str:
    out = io.StringIO()
    call_command("partitionauditlog", *args, stdout=out)
    return out.getvalue()


def get_constraints(table: str = "testapp_parted") -> dict[str, Any]:
    with connection.cursor() as cursor:
        return connection.introspection.get_constraints(cursor, table)


@pytest.mark.skipif(connection.vendor == "postgresql", reason="the others")
def test_other_databases_are_told_that_they_cannot() -> None:
    with pytest.raises(CommandError, match=r"only the tables of PostgreSQL .* Use pruneauditlog"):
        partition()


@on_postgresql
def test_a_full_table_keeps_its_entries_its_keys_and_its_indexes(log: Any, wire: Any) -> None:
    wire((AuditLog, {"models": ["testapp.Tag"]}))
    tags = TagFactory.create_batch(3)
    before, last = list(log.objects.values()), log.objects.latest("id").pk
    columns = {name: found["columns"] for name, found in get_constraints().items()}
    assert "testapp_parted is partitioned by month." in partition()
    assert list(log.objects.values()) == before
    tags[0].name = "new"
    tags[0].save()
    tags[1].delete()
    assert log.objects.latest("id").pk > last
    assert len({*log.objects.values_list("pk", flat=True)}) == 5
    found = {name: found["columns"] for name, found in get_constraints().items()}
    key = next(name for name in columns if name.endswith("_pkey"))
    assert found == {**columns, key: ["id", "at"]}


@on_postgresql
def test_it_can_be_run_every_month_and_makes_only_what_is_missing(log: Any) -> None:
    partitions = Partitions()
    partitions.convert(NOW)
    assert partitions.make(NOW, 2) == ["testapp_parted_202612", "testapp_parted_202701"]
    assert partitions.make(NOW, 2) == []
    assert parts() == ["history", "202612", "202701", "default"]
    december = NOW + timedelta(days=30)
    assert partitions.make(december, 2) == ["testapp_parted_202702"]


@on_postgresql
def test_the_command_says_what_it_did_and_that_nothing_was_to_be_done(log: Any) -> None:
    assert partition("--months", "1").count(" made.") == 1
    assert partition("--months", "1") == "Nothing to do.\n"


@on_postgresql
def test_an_entry_goes_to_the_part_of_its_month(log: Any) -> None:
    write(log, NOW)
    partitions = Partitions()
    partitions.convert(NOW)
    partitions.make(NOW, 2)
    write(log, datetime(2026, 12, 1, tzinfo=UTC), datetime(2026, 12, 31, 23, 59, tzinfo=UTC))
    write(log, datetime(2027, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC))
    assert texts("testapp_parted_history") == ["2026-11-15", "2020-01-01"]
    assert texts("testapp_parted_202612") == ["2026-12-01", "2026-12-31"]
    assert texts("testapp_parted_202701") == ["2027-01-01"]
    assert texts("testapp_parted_default") == []


@on_postgresql
def test_no_entry_is_refused_for_want_of_a_part_and_it_moves_when_there_is_one(log: Any) -> None:
    partitions = Partitions()
    partitions.convert(NOW)
    write(log, datetime(2026, 12, 5, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC))
    assert texts("testapp_parted_default") == ["2026-12-05", "2028-01-01"]
    partitions.make(NOW, 1)
    assert texts("testapp_parted_202612") == ["2026-12-05"]
    assert texts("testapp_parted_default") == ["2028-01-01"]
    assert log.objects.count() == 2


@on_postgresql
def test_an_entry_ahead_of_its_time_is_of_the_history(log: Any) -> None:
    write(log, datetime(2027, 2, 3, tzinfo=UTC))
    partitions = Partitions()
    partitions.convert(NOW)
    assert partitions.make(NOW, 4) == ["testapp_parted_202703"]


@on_postgresql
def test_parts_go_when_all_of_their_entries_are_older(log: Any) -> None:
    write(log, NOW)
    partitions = Partitions()
    partitions.convert(NOW)
    partitions.make(NOW, 2)
    write(log, datetime(2026, 12, 5, tzinfo=UTC), datetime(2027, 1, 5, tzinfo=UTC))
    assert partitions.drop_before(datetime(2026, 11, 30, tzinfo=UTC)) == []
    assert partitions.drop_before(datetime(2027, 1, 1, tzinfo=UTC)) == [
        "testapp_parted_history",
        "testapp_parted_202612",
    ]
    assert texts("testapp_parted") == ["2027-01-05"]


@on_postgresql
def test_the_command_drops_only_what_it_is_told(log: Any) -> None:
    Partitions().convert(datetime(2020, 1, 1, tzinfo=UTC))
    assert "history" not in partition()
    assert "history" in parts()
    assert "testapp_parted_history dropped." in partition("--drop-older-than", "24mo")
    with pytest.raises(CommandError, match="no length of time"):
        partition("--drop-older-than", "24")


@on_postgresql
def test_pruning_and_exporting_work_on_the_parts(log: Any) -> None:
    write(log, timezone.now() - timedelta(days=5), timezone.now())
    partition()
    out = io.StringIO()
    call_command("pruneauditlog", "--older-than", "1d", stdout=out)
    assert "Total: 1 deleted" in out.getvalue()
    out = io.StringIO()
    call_command("exportauditlog", format="jsonl", stdout=out)
    assert len(out.getvalue().splitlines()) == 1


@on_postgresql
@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("CREATE UNIQUE INDEX parted_unit ON testapp_parted (unit)", "unique index parted_unit"),
        (
            "CREATE TABLE testapp_remark (e bigint CONSTRAINT remark_fk"
            " REFERENCES testapp_parted (id))",
            "constraint remark_fk",
        ),
        (
            "ALTER TABLE testapp_parted ADD CONSTRAINT actor_fk FOREIGN KEY (actor_id)"
            " REFERENCES auth_user (id)",
            "constraint actor_fk",
        ),
        (
            "CREATE TRIGGER parted_t BEFORE UPDATE ON testapp_parted"
            " FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
            "trigger parted_t",
        ),
        ("CREATE VIEW testapp_remark AS SELECT id FROM testapp_parted", "view testapp_remark"),
        ("ALTER TABLE testapp_parted ENABLE ROW LEVEL SECURITY", "row-level security"),
        ("GRANT SELECT ON testapp_parted TO pg_monitor", "privilege of pg_monitor"),
        ("CREATE PUBLICATION parted_p FOR TABLE testapp_parted", "publication parted_p"),
    ],
)
def test_what_would_be_lost_is_told_and_nothing_is_done(log: Any, sql: str, told: str) -> None:
    write(log, NOW)
    with connection.cursor() as cursor:
        cursor.execute(sql)
    before = get_constraints()
    try:
        with pytest.raises(CommandError, match=rf"{told}.*, which a partitioned table"):
            partition()
        assert not Partitions().is_partitioned()
        assert get_constraints() == before
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP PUBLICATION IF EXISTS parted_p")
            cursor.execute("DROP VIEW IF EXISTS testapp_remark") if "VIEW" in sql else None
            cursor.execute("DROP TABLE IF EXISTS testapp_remark")


@on_postgresql
def test_a_conversion_that_fails_leaves_the_table_as_it_was(log: Any) -> None:
    write(log, NOW)
    before = get_constraints()

    def fail(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "ATTACH" in sql:
            raise KeyboardInterrupt
        return execute(sql, params, many, context)

    with connection.execute_wrapper(fail), pytest.raises(KeyboardInterrupt):
        partition()
    assert get_constraints() == before
    assert not Partitions().is_partitioned()
    partition()
    assert texts("testapp_parted") == ["2026-11-15"]


@on_postgresql
def test_two_at_once_do_not_meet(log: Any) -> None:
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [0x51674B17])
        with pytest.raises(CommandError, match="Another process is at the parts"):
            partition()
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [0x51674B17])
    finally:
        other.close()
    partition()


@on_postgresql
def test_a_table_that_is_not_there_is_told(log: Any) -> None:
    with override_settings(SIGNAL_KIT_AUDIT_ENTRY_MODEL="testapp.PartedEntry"):
        log._meta.db_table = "testapp_absent"
        try:
            with pytest.raises(PartitionError, match=r"no table testapp_absent\. Run migrate"):
                Partitions().is_partitioned()
        finally:
            log._meta.db_table = "testapp_parted"


@on_postgresql
def test_it_works_without_time_zones(log: Any) -> None:
    with override_settings(USE_TZ=False):
        write(log, datetime(2026, 11, 15))
        partitions = Partitions()
        partitions.convert(NOW)
        assert partitions.make(NOW, 1) == ["testapp_parted_202612"]
        assert partitions.make(NOW, 1) == []
        assert len(partitions.drop_before(datetime(2026, 12, 1, tzinfo=UTC))) == 1


@on_postgresql
def test_seals_know_which_entries_went_with_a_part(log: Any) -> None:
    write(log, *(datetime(2020, 1, day, tzinfo=UTC) for day in (1, 2, 3)))
    partitions = Partitions()
    partitions.convert(timezone.now())
    write(log, timezone.now())
    call_command("sealauditlog", stdout=io.StringIO())
    dropped = partitions.drop_before(timezone.now() + timedelta(days=40))
    assert any(name.endswith("history") for name in dropped)
    call_command("verifyauditlog", stdout=io.StringIO())
