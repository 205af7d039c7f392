"""Up to which id the log is complete.

An id is allotted before the commit: a transaction that is still open may come out with a lower id
than one that is visible already. Nobody who writes waits for whoever asks here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from django.db import NotSupportedError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Max, Model

from django_signal_kit.audit.sealing.scanning import get_all

#: Seconds between two looks at the locks.
_PAUSE = 0.1
#: MariaDB and MySQL allot an id some instants before they place, and lock, the row.
_LAG = {"mysql": 1.0}
#: Rows that are locked at once.
_PAGE = 10_000
_LOCK_WAIT_TIMEOUT = 1205

_WRITERS = """
    SELECT virtualtransaction, pid FROM pg_locks
    WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND granted
    AND relation = %s::regclass AND pid IS DISTINCT FROM pg_backend_pid()
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


class StillOpenError(TimeoutError):
    """A transaction that has written to the log has not ended in time."""

    def __init__(self, timeout: float, who: str = "") -> None:
        super().__init__(
            f"A transaction that has written to the audit log did not end within {timeout:g} "
            f"seconds{who}. Nothing is lost: seal again when it has, or give a longer --timeout."
        )


def get_horizon(
    model: type[Model],
    using: str,
    *,
    after: int | None = None,
    timeout: float = 60,
    lag: float | None = None,
) -> int | None:
    """An id above ``after`` below which no entry can appear any more; None if there is nothing.

    Waits until each transaction has ended that may commit a lower id, for ``timeout`` seconds at
    most: then StillOpenError is raised. ``lag`` seconds are waited before, by default one on
    MariaDB and MySQL. Raises NotSupportedError on a database that the kit does not know.
    """
    connection = connections[using]
    if connection.vendor not in _WAITS:
        raise NotSupportedError(
            f"The audit log cannot be sealed on {connection.vendor}: only on "
            f"{', '.join(sorted(_WAITS))}."
        )
    highest: int | None = get_all(model, using).aggregate(highest=Max("pk"))["highest"]
    if highest is None or (after is not None and highest <= after):
        return None
    time.sleep(_LAG.get(connection.vendor, 0) if lag is None else lag)
    _WAITS[connection.vendor](connection, model, after, highest, timeout)
    return highest


def _wait_on_sqlite(
    connection: BaseDatabaseWrapper,
    model: type[Model],
    after: int | None,
    highest: int,
    timeout: float,
) -> None:
    """Writers come one at a time: whoever was allotted a lower id has ended."""


def _wait_on_postgresql(
    connection: BaseDatabaseWrapper,
    model: type[Model],
    after: int | None,
    highest: int,
    timeout: float,
) -> None:
    # Whoever was allotted an id holds the lock since before, and until the entry is visible.
    table = connection.ops.quote_name(model._meta.db_table)
    end = time.monotonic() + timeout
    waited_for: dict[str, int | None] | None = None
    while True:
        with connection.cursor() as cursor:
            cursor.execute(_WRITERS, [table])
            writers = dict(cursor.fetchall())
        known = writers if waited_for is None else waited_for
        waited_for = {key: known[key] for key in known if key in writers}
        if not waited_for:
            return
        if time.monotonic() >= end:
            pids = ", ".join(sorted({str(pid or "prepared") for pid in waited_for.values()}))
            raise StillOpenError(timeout, f" (PostgreSQL's processes: {pids})")
        time.sleep(_PAUSE)


def _wait_on_mysql(
    connection: BaseDatabaseWrapper,
    model: type[Model],
    after: int | None,
    highest: int,
    timeout: float,
) -> None:
    # A shared lock is had once whoever placed the row has ended. It needs no privilege, unlike
    # information_schema.innodb_trx, which does not say either who wrote to which table.
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@innodb_lock_wait_timeout")
        before = cursor.fetchone()[0]
        cursor.execute("SET SESSION innodb_lock_wait_timeout = %s", [max(1, int(timeout))])
    try:
        while locked := _lock_page(connection, model, after, highest):
            highest = locked[-1][0] - 1
    except OperationalError as error:
        if error.args[0] != _LOCK_WAIT_TIMEOUT:
            raise
        raise StillOpenError(timeout) from error
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION innodb_lock_wait_timeout = %s", [before])


def _lock_page(
    connection: BaseDatabaseWrapper, model: type[Model], after: int | None, highest: int
) -> Sequence[tuple[Any, ...]]:
    """The next ids, each locked until the statement ends; downwards, for upwards the first row
    above ``highest`` would be locked as well."""
    quote = connection.ops.quote_name
    pk, table = quote(str(model._meta.pk.column)), quote(model._meta.db_table)
    with connection.cursor() as cursor:
        if not connection.in_atomic_block:
            # The gaps between the rows, and behind the last, stay free for others.
            cursor.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        cursor.execute(
            f"SELECT {pk} FROM {table} WHERE {pk} > %s AND {pk} <= %s "
            f"ORDER BY {pk} DESC LIMIT {_PAGE} LOCK IN SHARE MODE",
            [-(2**63) if after is None else after, highest],
        )
        return cursor.fetchall()  # type: ignore[no-any-return]


_Wait = Callable[[BaseDatabaseWrapper, type[Model], int | None, int, float], None]
_WAITS: dict[str, _Wait] = {
    "sqlite": _wait_on_sqlite,
    "postgresql": _wait_on_postgresql,
    "mysql": _wait_on_mysql,
}
