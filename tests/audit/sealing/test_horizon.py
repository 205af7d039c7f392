"""A transaction that commits late is sealed all the same, and nobody who writes has to wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.management import CommandError
from django.db import NotSupportedError, connection, transaction

from django_signal_kit.audit.models import AuditEntry, AuditSeal
from django_signal_kit.audit.sealing.horizon import StillOpenError, get_horizon
from django_signal_kit.audit.sealing.seal import seal_entries
from tests.audit.sealing.test_seal import OK, prune, run, seal, sql, verify, write

pytestmark = pytest.mark.django_db(transaction=True)

VENDOR = connection.vendor
has_many_writers = pytest.mark.skipif(VENDOR == "sqlite", reason="has one writer at a time")

INSERT = """
    INSERT INTO {table} (at, action, object_pk, object_text, changes, actor_text, context, {using})
    VALUES ('2026-01-02 03:04:05', 'update', '1', 'late', '{{}}', '', '{{}}', 'default')
"""

# Is a session waiting: for another's lock, or, of PostgreSQL's, asking who writes?
WAITING = {
    "postgresql": """
        SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database()
        AND pid <> pg_backend_pid()
        AND (wait_event_type = 'Lock' OR query LIKE '%%FROM pg_locks%%')
    """,
    "mysql": """
        SELECT COUNT(*) FROM information_schema.innodb_trx JOIN information_schema.processlist
        ON id = trx_mysql_thread_id WHERE db = DATABASE() AND trx_state = 'LOCK WAIT'
    """,
}


@pytest.fixture
def late() -> Iterator[Any]:
    """A connection with an entry that is not committed."""
    other = connection.copy()
    other.set_autocommit(False)
    insert(other)
    yield other
    other.rollback()
    other.close()


def insert(other: Any) -> None:
    quote = other.ops.quote_name
    with other.cursor() as cursor:
        cursor.execute(INSERT.format(table=AuditEntry._meta.db_table, using=quote("using")))


@contextmanager
def meanwhile(function: Callable[..., Any], *args: Any) -> Iterator[Future[Any]]:
    """Run ``function`` in a thread; go on when it has to wait for somebody."""

    def work() -> Any:
        try:
            return function(*args)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work)
        while VENDOR != "sqlite" and not is_waiting():
            assert not future.done(), future.result()
            # InnoDB does not look anew for who asks ten times a second.
            time.sleep(0.2)
        yield future


def is_waiting() -> bool:
    # PostgreSQL shows a transaction what it has shown it before.
    watcher = connection.copy()
    try:
        with watcher.cursor() as cursor:
            cursor.execute(WAITING[VENDOR])
            return cursor.fetchone()[0] > 0
    finally:
        watcher.close()


@has_many_writers
def test_a_transaction_that_may_commit_a_lower_id_is_waited_for(late):
    write(2)
    with meanwhile(seal) as sealing:
        late.commit()
        sealing.result(30)
    assert AuditEntry.objects.order_by("pk").first().object_text == "late"
    assert verify() == OK.format(3)
    assert "Not yet sealed: 0." in run("verifyauditlog")


@has_many_writers
def test_one_that_is_rolled_back_leaves_a_gap(late):
    write(2)
    with meanwhile(seal) as sealing:
        late.rollback()
        sealing.result(30)
    assert verify() == OK.format(2)


@has_many_writers
def test_who_writes_does_not_wait_for_who_waits(late):
    def seal_with_gap_locks() -> None:
        if VENDOR == "mysql":
            sql("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        seal()

    write(2)
    with meanwhile(seal_with_gap_locks) as sealing:
        if VENDOR == "mysql":
            sql("SET SESSION innodb_lock_wait_timeout = 1")
        write(2)
        insert(late)
        assert not sealing.done()
        late.commit()
        sealing.result(30)
    assert verify().startswith("OK.")
    seal()
    assert verify() == OK.format(6)


@has_many_writers
def test_who_does_not_end_in_time_is_told_of_and_sealed_the_next_time(late):
    write(1)
    with pytest.raises(CommandError, match=r"did not end within 1 seconds.*give a longer --timeo"):
        seal("--timeout=1")
    assert not AuditSeal.objects.exists()
    late.commit()
    seal()
    assert verify() == OK.format(2)


@has_many_writers
def test_who_only_reads_is_not_waited_for(late):
    write(1)
    late.rollback()
    with late.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {AuditEntry._meta.db_table}")
    seal("--timeout=1")
    assert verify() == OK.format(1)


def test_a_transaction_that_commits_a_higher_id_is_in_the_next_seal(late):
    late.rollback()
    (first,) = write(1)
    if VENDOR != "postgresql":
        insert(late)
    horizon = get_horizon(AuditEntry, "default", lag=0)
    if VENDOR == "postgresql":
        insert(late)
    late.commit()
    (one,) = seal_entries(AuditEntry, "default", up_to=horizon)
    assert (one.first_id, one.last_id) == (first, first)
    assert verify() == OK.format(1)
    seal()
    assert verify() == OK.format(2)


@has_many_writers
def test_the_time_to_wait_for_a_lock_is_what_it_was(late):
    if VENDOR != "mysql":
        pytest.skip("is set on MariaDB and MySQL")
    sql("SET SESSION innodb_lock_wait_timeout = 7")
    write(1)
    with pytest.raises(StillOpenError):
        get_horizon(AuditEntry, "default", timeout=1, lag=0)
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@innodb_lock_wait_timeout")
        assert cursor.fetchone() == (7,)


def test_many_rows_are_locked_page_by_page(monkeypatch):
    monkeypatch.setattr("django_signal_kit.audit.sealing.horizon._PAGE", 2)
    ids = write(5)
    assert get_horizon(AuditEntry, "default", lag=0) == ids[-1]


def test_above_what_is_sealed_there_may_be_nothing():
    assert get_horizon(AuditEntry, "default") is None
    ids = write(1)
    assert get_horizon(AuditEntry, "default", after=ids[0]) is None
    assert get_horizon(AuditEntry, "default", after=ids[0] - 1, lag=0) == ids[0]


def test_a_database_that_nobody_has_tried_is_refused(monkeypatch):
    write(1)
    monkeypatch.setattr(connection, "vendor", "oracle")
    with pytest.raises(NotSupportedError, match="on oracle: only on mysql, postgresql, sqlite"):
        get_horizon(AuditEntry, "default")


@pytest.mark.parametrize("option", ["timeout", "lag"])
def test_a_time_is_not_negative(option):
    with pytest.raises(CommandError, match=f"--{option} is -1. Give seconds, 0 or more."):
        run("sealauditlog", f"--{option}=-1")


def test_two_may_seal_at_once():
    ids = write(12)
    with ThreadPoolExecutor(2) as pool:

        def work() -> None:
            try:
                seal("--size=1")
            finally:
                connection.close()

        for future in [pool.submit(work) for _ in range(2)]:
            future.result()
    assert [one.last_id for one in AuditSeal.objects.order_by("pk")] == ids
    assert verify() == OK.format(12)


def test_who_seals_while_somebody_prunes_looks_again():
    ids = write(3)
    seal()
    more = write(2)[3:]

    def seal_the_rest() -> int:
        seals = seal_entries(AuditEntry, "default", up_to=more[-1])
        return sum(one.count for one in seals)

    with uncommitted() as commit:
        prune(ids[:1])
        with meanwhile(seal_the_rest) as sealing:
            commit()
            assert sealing.result(30) == 2
    assert [one.kind for one in AuditSeal.objects.order_by("pk")] == [
        "entries",
        "pruned",
        "entries",
    ]
    assert verify() == OK.format(4)


def test_two_may_prune_at_once():
    ids = write(4)
    seal()

    def prune_the_rest() -> None:
        if VENDOR == "mysql":
            sql("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        prune(ids[2:])

    with uncommitted() as commit:
        prune(ids[:2])
        with meanwhile(prune_the_rest) as pruning:
            commit()
            pruning.result(30)
    assert verify() == OK.format(0)


@contextmanager
def uncommitted() -> Iterator[Callable[[], None]]:
    """A transaction that ends when the function is called."""
    atomic = transaction.atomic()
    atomic.__enter__()
    yield lambda: atomic.__exit__(None, None, None)
