"""Caches that live in a database, where a call that fails would break an open transaction, and
what is written is seen by others, and stays, only if that is committed."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.db import BaseDatabaseCache
from django.db import connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_signal_kit.units.journal import is_in_transaction

_NOTHING = nullcontext()


def guard(cache: BaseCache) -> AbstractContextManager[Any]:
    """What a call of ``cache`` in it raises leaves the transaction that is open usable: a
    savepoint, if the cache is a table in the database of that transaction, else nothing."""
    if isinstance(cache, BaseDatabaseCache):
        alias = router.db_for_write(cache.cache_model_class)
        if connections[alias].in_atomic_block:
            return transaction.atomic(using=alias)
    return _NOTHING


def is_undecided(cache: BaseCache) -> bool:
    """Is the cache a table, in whose database a transaction is open? A version that is made in it
    is touched by nobody, since nobody sees it; one that is touched in it is back if that is rolled
    back."""
    if not isinstance(cache, BaseDatabaseCache):
        return False
    connection = connections[router.db_for_write(cache.cache_model_class)]
    return is_in_transaction(connection) and not is_of_a_test(connection)


def is_of_a_test(connection: BaseDatabaseWrapper) -> bool:
    """Is there none but the transactions that a ``TestCase`` opens round its tests?"""
    blocks = connection.atomic_blocks
    return bool(blocks) and all(block._from_testcase for block in blocks)  # type: ignore[attr-defined]
