"""Do the triggers stand that this process counts on?

Asked once of each database, before the first write that counts on them: triggers that nobody has
installed record nothing, and nobody would notice.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db.backends.base.base import BaseDatabaseWrapper

from django_signal_kit.audit.capture.wanted import fold, list_installed, list_names
from django_signal_kit.exceptions import TriggersMissingError, join

#: Databases whose triggers stand, and those that are being migrated.
_standing: set[str] = set()
_suspended: set[str] = set()


def forget() -> None:
    """Other receivers may be wired now."""
    _standing.clear()


def suspend(using: str) -> None:
    """``migrate`` has begun: it makes what is missing."""
    _suspended.add(using)


def resume(using: str) -> None:
    _suspended.discard(using)
    _standing.discard(using)


@contextmanager
def suspended(using: str) -> Iterator[None]:
    """Inside of the block nobody is asked; after it, anew."""
    was_suspended = using in _suspended
    suspend(using)
    try:
        yield
    finally:
        if not was_suspended:
            resume(using)


def is_sure(using: str) -> bool:
    """Is there nothing to :func:`check` in this database?"""
    return using in _standing or using in _suspended


def check(connection: BaseDatabaseWrapper) -> None:
    """Raise TriggersMissingError if a table of this database has none of the triggers that are
    to record it. Those of other settings will do: who deploys last has his way."""
    using = connection.alias
    if is_sure(using):
        return
    installed = list_installed(using)
    there = {
        (each.name, fold(connection, each.table))
        for each in installed
        # Of one whose trigger is gone, or disabled, nobody knows what it does.
        if each.checksum
    }
    wholes = {fold(connection, each.table) for each in installed if each.is_whole}
    missing = {
        table
        for name, table in list_names(using)
        if (name, fold(connection, table)) not in there and fold(connection, table) not in wholes
    }
    if missing:
        raise TriggersMissingError(using, join(sorted(missing), most=5))
    _standing.add(using)
