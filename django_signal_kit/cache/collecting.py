"""Rows that are read inside a block tell their tags by themselves.

Two methods of Django are wrapped when the first block of the process is opened, and not before.
They stay wrapped: a class that is changed again and again loses what the interpreter keeps to make
it fast. Outside of a block a wrapper asks one context variable.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any

from django.db.models import Model
from django.db.models.query import ModelIterable
from django.db.models.sql.compiler import SQLCompiler

from django_signal_kit.cache.gathering import CollectedTags, gather, get_current
from django_signal_kit.cache.queries import tell_query, tell_row

_lock = threading.Lock()
_is_installed = False


def collect_tags() -> AbstractContextManager[CollectedTags]:
    """``with collect_tags() as tags:`` — the tags of all that is used in the block: of cached
    values, of :func:`note_tags`, and of the rows that are read, by the option ``tags`` of the
    ``CacheInvalidation`` that cover them.

    ``tags`` is iterated over after the block. Its ``unknown`` has the labels of covered models of
    which rows were read that no tag stands for: then nobody learns when what was made is wrong.
    Holds for this thread or async task, and what it calls. Not seen are raw SQL, rows that were
    read before, and models that no CacheInvalidation with tags covers.
    """
    _install()
    return gather(reads_rows=True)


def _install() -> None:
    global _is_installed
    if _is_installed:
        return
    with _lock:
        if not _is_installed:
            compiler: Any = SQLCompiler
            compiler.get_from_clause = _wrap_get_from_clause(compiler.get_from_clause)
            iterable: Any = ModelIterable
            iterable.__iter__ = _wrap_iter(iterable.__iter__)
            _is_installed = True


def _wrap_get_from_clause(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def get_from_clause(self: Any) -> Any:
        found = get_current()
        if found is not None and found.reads_rows:
            tell_query(self, found)
        return original(self)

    return get_from_clause


def _wrap_iter(original: Callable[..., Iterator[Model]]) -> Callable[..., Iterator[Model]]:
    @wraps(original)
    def __iter__(self: Any) -> Iterator[Model]:  # noqa: N807
        found = get_current()
        rows = original(self)
        if found is None or not found.reads_rows or not self.queryset.query.select_related:
            return rows
        return _tell_rows(rows, found)

    return __iter__


def _tell_rows(rows: Iterator[Model], found: CollectedTags) -> Iterator[Model]:
    told: set[Any] = set()
    for row in rows:
        tell_row(row, found, told)
        yield row
