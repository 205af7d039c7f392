"""Rows of through models that are written directly, as the changes of links that they are.

Each function goes round one write of such rows, in its unit of work. Of what a manager of the
relation writes itself they tell nothing: ``m2m_changed`` does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from django.db.models import Model, Q, QuerySet
from django.db.models.deletion import Collector

from django_signal_kit.rows.columns import get_columns
from django_signal_kit.rows.database import Row, read_rows
from django_signal_kit.rows.fields import is_named
from django_signal_kit.rows.snapshots import get_new_row, get_old_row
from django_signal_kit.writes.calls import get_call
from django_signal_kit.writes.linknews import UNKNOWN, News, count_links, deletion, find_ends
from django_signal_kit.writes.linkreading import (
    can_return,
    find_same,
    get_gone,
    read_deleted,
    read_matching,
    returning,
)
from django_signal_kit.writes.links import SOURCE, TARGET, Heard, Link, LinkChange, Relation, heard


@contextmanager
def saving(
    instance: Model, update_fields: Iterable[str] | None, using: str, *, raw: bool
) -> Iterator[None]:
    """A row is saved."""
    known = heard[type(instance)]
    names = None if update_fields is None else set(update_fields)
    if names is not None and known.names.isdisjoint(names):
        yield
        return
    old = get_old_row(instance, using)
    news = News(known, using, raw=raw)
    news.tell_ahead([old], [_plan(known, instance, instance.__dict__, old, names)])
    yield
    # Others may have changed the row before the statement came.
    old = get_old_row(instance, using)
    written = [f for f in known.fields if names is None or {f.name, f.attname} & names]
    news.tell([old], [{**(old or {}), **get_new_row(instance, written, using)}])


@contextmanager
def updating(
    model: type[Model],
    list_rows: Callable[[], Iterable[Model]],
    using: str,
    names: Collection[str],
    values: Mapping[str, Any] | None = None,
) -> Iterator[None]:
    """Rows that are there get ``values`` in bulk, or what the instances hold. They are asked for
    before it and, as they may get other keys, after it."""
    if not needs_rows(model, names):
        yield
        return
    known = heard[model]
    before: dict[Any, Row] = {}
    planned: dict[Any, Row] = {}
    for row in list_rows():
        old = get_old_row(row, using)
        if old is not None and row.pk not in before:
            before[row.pk] = {name: old[name] for name in known.attnames}
            given = row.__dict__ if values is None else values
            planned[row.pk] = _plan(known, row, given, old, names)
    news = News(known, using, is_bulk=True)
    news.tell_ahead(before.values(), planned.values())
    yield
    keys = list(before) if values is None else [row.pk for row in list_rows()]
    columns = [get_columns(model)[name] for name in known.attnames]
    news.tell(before.values(), read_rows(model, keys, columns, using).values())


def needs_rows(model: type[Model], names: Iterable[str]) -> bool:
    """Does an update change links, so that its rows have to be read?"""
    known = heard.get(model)
    return known is not None and not known.names.isdisjoint(names)


@contextmanager
def creating(
    queryset: QuerySet[Any],
    objs: Sequence[Model],
    ignore_conflicts: bool,
    update_conflicts: bool,
    unique_fields: Collection[str] | None,
) -> Iterator[None]:
    """Rows are made in bulk, by a call of a manager perhaps."""
    known, using = heard.get(queryset.model), queryset.db
    if known is None:
        yield
        return
    call = get_call(known.through, using)
    news = News(known, using, is_bulk=call is None)
    if call is not None:
        news.join(call, is_own=call.makes(objs))
    conditions: list[Q] = []
    if update_conflicts:
        conditions = find_same(known, objs, unique_fields)
    elif ignore_conflicts and not can_return(using):
        conditions = find_same(known, objs, known.attnames)
    before = read_matching(known, conditions, using)
    if not news.is_told_by_call:
        planned = [_plan(known, obj, obj.__dict__, None, None) for obj in objs]
        news.tell_ahead(before, planned, ends=False)
    made: list[Row] = []
    if ignore_conflicts and not conditions:
        with returning(queryset, known, made):
            yield
    else:
        yield
        if conditions:
            made += read_matching(known, conditions, using)
        else:
            made += [get_new_row(obj, known.fields, using) for obj in objs]
    news.tell(before, made)


@contextmanager
def deleting(collector: Collector) -> Iterator[None]:
    """Rows are deleted, and links with them."""
    queried = [rows.model for rows in collector.fast_deletes]
    for known in {
        id(found): found for model in (*collector.data, *queried) if (found := heard.get(model))
    }.values():
        _tell_deletion(collector, known)
    token = deletion.set(collector)
    try:
        yield
    finally:
        deletion.reset(token)


def _tell_deletion(collector: Collector, known: Heard) -> None:
    origin = collector.origin
    is_direct = getattr(origin, "model", type(origin)) in known.models
    call = get_call(known.through, collector.using)
    is_own = (
        call is not None and not call.has_deleted and is_direct and isinstance(origin, QuerySet)
    )

    @cache
    def read() -> list[Row]:
        return read_deleted(collector, known)

    for relation in known.relations:
        if is_own and call is not None and relation is call.relation:
            call.has_deleted = True
            continue
        gone = get_gone(collector, relation)
        goes_with = None
        if known.through._meta.auto_created and not is_direct and bool(gone[0]) != bool(gone[1]):
            goes_with = SOURCE if gone[SOURCE] else TARGET

        def list_lost(relation: Relation = relation) -> Counter[Link]:
            return count_links(relation, read())

        def find(relation: Relation = relation) -> Collection[Link]:
            lost = count_links(relation, read())
            return find_ends(relation, set(lost), lost, Counter(), collector.using)

        change = LinkChange(
            relation,
            "remove",
            collector.using,
            find,
            named=list_lost,
            gone=gone,
            goes_with=goes_with,
            is_aside=is_own,
        )
        known.tell(change, raw=is_own and call is not None and call.raw)


def _plan(
    known: Heard,
    row: Model,
    values: Mapping[str, Any],
    old: Row | None,
    names: Collection[str] | None,
) -> dict[str, Any]:
    """What the row will hold, as far as can be said: ``values`` by name or attname, where they
    are written."""
    planned: dict[str, Any] = {}
    for field in known.fields:
        value = None if old is None else old[field.attname]
        if names is None or is_named(field, names):
            value = values.get(field.attname, values.get(field.name, value))
            if value is None and field.is_cached(row):
                # It had no key yet when it was assigned.
                value = field.get_cached_value(row)
            if isinstance(value, Model):
                value = getattr(value, field.target_field.attname)
            try:
                value = get_columns(type(row))[field.attname].canonical(value)
            except ValueError:
                value = UNKNOWN
        planned[field.attname] = value
    return planned
