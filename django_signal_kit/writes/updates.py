"""QuerySet.update(), which stays the one statement that Django makes of it.

If a receiver asks for the rows, they are read and locked before the statement and told of before
and after it. The statement then writes the rows that were read and no others: see ``confined``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

import django
from django.db import connections, transaction
from django.db.models import Model, QuerySet
from django.db.models.sql import UpdateQuery

from django_signal_kit import signals
from django_signal_kit.units.locking import begin
from django_signal_kit.units.statements import get_tables
from django_signal_kit.units.unit import UnitOfWork
from django_signal_kit.writes import late, linkrows
from django_signal_kit.writes.bulk import covered, is_hushed
from django_signal_kit.writes.confined import confine
from django_signal_kit.writes.late import waiting
from django_signal_kit.writes.matched import find
from django_signal_kit.writes.migrating import is_silent
from django_signal_kit.writes.noting import note_all

#: Models of which a receiver asks for the rows of QuerySet.update().
read: set[type[Model]] = set()

# Before, Django leaves away the fields of distinct().
_REFUSES_DISTINCT = django.VERSION >= (6, 1)


def wrap_update(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def update(self: QuerySet[Any], **kwargs: Any) -> Any:
        model, query = self.model, self.query
        if waiting:
            late.settle()
        if model not in covered or is_hushed(self) or is_silent((model,)):
            return original(self, **kwargs)
        if query.combinator or query.is_sliced or (query.distinct_fields and _REFUSES_DISTINCT):
            return original(self, **kwargs)
        self._for_write = True  # type: ignore[attr-defined]
        using = self.db

        def write(values: dict[str, Any], keys: list[Any] | None) -> Any:
            confined = self if keys is None else confine(self, keys, using)
            count = original(confined, **values)
            self._result_cache = None
            return count

        return _update(self, None, using, _by_name(model, kwargs), write)

    return update


def wrap_update_batch(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def update_batch(
        self: UpdateQuery, pk_list: list[Any], values: dict[str, Any], using: str
    ) -> Any:
        model = self.model
        if waiting:
            late.settle()
        if model not in covered or is_silent((model,)):
            return original(self, pk_list, values, using)

        def write(values: dict[str, Any], keys: list[Any] | None) -> Any:
            original(self, pk_list, values, using)
            return len(pk_list)

        rows: QuerySet[Any] = QuerySet(model, using=using)
        _update(rows.filter(pk__in=pk_list), pk_list, using, _by_name(model, values), write)
        return None

    return update_batch


def _update(
    queryset: QuerySet[Any],
    pk_list: list[Any] | None,
    using: str,
    values: dict[str, Any],
    write: Callable[[dict[str, Any], list[Any] | None], Any],
) -> Any:
    model = queryset.model
    values = dict(values)
    sent = {"sender": model, "queryset": queryset, "values": values, "using": using}
    with UnitOfWork(using, atomic=covered[model]) as unit, ExitStack() as stack:
        if model not in read and not linkrows.needs_rows(model, values):
            signals.pre_queryset_update.send(**sent, rows=None)
            count = write(values, None)
            if count:
                unit.note_statement(get_tables(model))
                unit.note_write()
            signals.post_queryset_update.send(**sent, rows=None, count=count)
            return count
        with ExitStack() as links:
            with _in_transaction(using):
                matched = find(unit, queryset, pk_list, values)
                stack.callback(matched.close)
                signals.pre_queryset_update.send(**sent, rows=matched.rows)
                if unit.journal.statements.have_written(model, unit.began):
                    # Receivers have: the rows that match may be others, and hold something else.
                    matched = find(unit, queryset, pk_list, values)
                    stack.callback(matched.close)
                told = linkrows.updating(model, lambda: matched.rows, using, values, values)
                links.enter_context(told)
                count = write(values, matched.keys)
            if count:
                unit.note_statement(get_tables(model))
                unit.note_write()
            matched.move_on(values)
            if isinstance(matched.rows, list):
                note_all(unit, signals.post_queryset_update, model, matched.rows, values)
        signals.post_queryset_update.send(**sent, rows=matched.rows, count=count)
        return count


@contextmanager
def _in_transaction(using: str) -> Iterator[None]:
    """A transaction, if none is open: a lock on what has been read lasts until it is written."""
    connection = connections[using]
    if connection.in_atomic_block:
        yield
        return
    atomic = transaction.atomic(using)
    begin(atomic, connection)
    try:
        yield
    except BaseException as error:
        atomic.__exit__(type(error), error, error.__traceback__)
        raise
    atomic.__exit__(None, None, None)


def _by_name(model: type[Model], values: dict[str, Any]) -> dict[str, Any]:
    """``values`` by the names of fields, as receivers know them: Django takes attnames, too."""
    named = {model._meta.get_field(name).name: value for name, value in values.items()}
    return named if len(named) == len(values) else values
