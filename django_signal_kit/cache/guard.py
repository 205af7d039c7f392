"""Caches that live in a database, where a call that fails would break an open transaction."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.db import BaseDatabaseCache
from django.db import connections, router, transaction

_NOTHING = nullcontext()


def guard(cache: BaseCache) -> AbstractContextManager[Any]:
    """What a call of ``cache`` in it raises leaves the transaction that is open usable: a
    savepoint, if the cache is a table in the database of that transaction, else nothing."""
    if isinstance(cache, BaseDatabaseCache):
        alias = router.db_for_write(cache.cache_model_class)
        if connections[alias].in_atomic_block:
            return transaction.atomic(using=alias)
    return _NOTHING
