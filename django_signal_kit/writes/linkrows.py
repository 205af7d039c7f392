"""Rows of through models that are written directly, as the changes of links that they are.

Each function goes round one write of such rows, in its unit of work. Of what a manager of the
relation writes itself they tell nothing: ``m2m_changed`` does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, partial
from typing import Any

from django.db import connections
from django.db.models import Model, Q, QuerySet
from django.db.models.deletion import Collector
from django.db.models.sql import InsertQuery

from django_signal_kit.rows.canonical import get_columns
from django_signal_kit.rows.database import CHUNK, Row, lock_rows, read_rows
from django_signal_kit.rows.snapshots import get_new_row, get_old_row
from django_signal_kit.units.locking import lock_before_reading
from django_signal_kit.writes.calls import Call, get_call
from django_signal_kit.writes.links import SOURCE, TARGET, Heard, Link, LinkChange, Relation, heard

_UNKNOWN = object()

#: As many rows are looked for by their unique values in one query.
_PART = 100

# The deletion that is going on. It may take links away by an update, too: SET_NULL of an end.
_deletion: ContextVar[Collector | None] = ContextVar("signal_kit_deletion", default=None)


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
    news = _News(known, using, raw=raw)
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
    news = _News(known, using, is_bulk=True)
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
    news = _News(known, using, is_bulk=call is None)
    if call is not None:
        news.join(call, is_own=call.makes(objs))
    conditions: list[Q] = []
    if update_conflicts:
        conditions = _find_same(known, objs, unique_fields)
    elif ignore_conflicts and not _can_return(using):
        conditions = _find_same(known, objs, known.attnames)
    before = _read(known, conditions, using)
    planned = [_plan(known, obj, obj.__dict__, None, None) for obj in objs]
    news.tell_ahead(before, planned, ends=False)
    made: list[Row] = []
    if ignore_conflicts and not conditions:
        with _returning(queryset, known, made):
            yield
    else:
        yield
        if conditions:
            made += _read(known, conditions, using)
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
    token = _deletion.set(collector)
    try:
        yield
    finally:
        _deletion.reset(token)


def _tell_deletion(collector: Collector, known: Heard) -> None:
    origin = collector.origin
    is_direct = getattr(origin, "model", type(origin)) in known.models
    call = get_call(known.through, collector.using)
    is_own = (
        call is not None and not call.has_deleted and is_direct and isinstance(origin, QuerySet)
    )

    @cache
    def read() -> list[Row]:
        return _read_deleted(collector, known)

    for relation in known.relations:
        if is_own and call is not None and relation is call.relation:
            call.has_deleted = True
            continue
        gone = _get_gone(collector, relation)
        goes_with = None
        if known.through._meta.auto_created and not is_direct and bool(gone[0]) != bool(gone[1]):
            goes_with = SOURCE if gone[SOURCE] else TARGET

        def list_lost(relation: Relation = relation) -> Counter[Link]:
            return count_links(relation, read())

        def find(relation: Relation = relation) -> Collection[Link]:
            lost = count_links(relation, read())
            return _find_ends(relation, set(lost), lost, Counter(), collector.using)

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


class _News:
    """What is told of a write: ahead of it what can be said then, and the rest after it."""

    def __init__(
        self, known: Heard, using: str, *, is_bulk: bool = False, raw: bool = False
    ) -> None:
        self.known = known
        self.using = using
        self.is_bulk = is_bulk
        self.raw = raw
        self.call: Call | None = None
        self.is_own = False
        self.told: dict[tuple[Relation, str], set[Link]] = {}

    def join(self, call: Call, *, is_own: bool) -> None:
        """The write is part of a call; ``is_own``: the part that ``m2m_changed`` tells."""
        self.call, self.is_own, self.raw = call, is_own, call.raw
        self.told[call.relation, "pre_add"] = set(call.announced)

    def tell_ahead(
        self,
        before: Iterable[Row | None],
        planned: Iterable[Mapping[str, Any]],
        *,
        ends: bool = True,
    ) -> None:
        """``ends``: what is not planned is no more."""
        before, planned = list(before), list(planned)
        for relation in self.known.relations:
            old, new = count_links(relation, before), count_links(relation, planned)
            if any(_UNKNOWN in link for link in new):
                # An expression, which only the database can tell.
                continue
            lost, gained = set(old - new), set(new - old)
            if ends:
                self._tell(
                    relation,
                    "remove",
                    lost,
                    partial(_find_ends, relation, old=old, new=new, using=self.using),
                )
            self._tell(relation, "pre_add", gained, instead_of=lost if ends else ())

    def tell(self, before: Iterable[Row | None], after: Iterable[Mapping[str, Any]]) -> None:
        before, after = list(before), list(after)
        for relation in self.known.relations:
            old, new = count_links(relation, before), count_links(relation, after)
            lost, gained = set(old - new), set(new - old)
            if self.call is not None and self.is_own and relation is self.call.relation:
                self.call.made = (self.call.made or set()) | gained
                continue
            # The rows are written: seen from there, what they held is what is new.
            find = partial(_find_ends, relation, using=self.using)
            self._tell(relation, "remove", lost, partial(find, old=Counter(), new=Counter()))
            self._tell(relation, "pre_add", gained)
            self._tell(relation, "add", gained, partial(find, old=new, new=old))

    def _tell(
        self,
        relation: Relation,
        action: str,
        links: set[Link],
        find: Callable[[set[Link]], Collection[Link]] | None = None,
        *,
        instead_of: Collection[Link] = (),
    ) -> None:
        is_calls = self.call is not None and relation is self.call.relation
        if self.is_own and is_calls:
            return
        told = self.told.setdefault((relation, action), set())
        links = links - told
        if links:
            told |= links
            collector = _deletion.get()
            change = LinkChange(
                relation,
                action,
                self.using,
                links if find is None else partial(find, links),
                named=links,
                is_aside=self.call is not None and not is_calls,
                instead_of=instead_of,
                gone=((), ()) if collector is None else _get_gone(collector, relation),
            )
            self.known.tell(change, is_bulk=self.is_bulk, raw=self.raw)


def count_links(relation: Relation, rows: Iterable[Mapping[str, Any] | None]) -> Counter[Link]:
    return Counter(link for row in rows if (link := relation.get_link(row)) is not None)


def _find_ends(
    relation: Relation, links: set[Link], old: Counter[Link], new: Counter[Link], using: str
) -> Collection[Link]:
    """Those of the links that no row holds any more, once rows that hold ``old`` now hold ``new``
    instead."""
    if relation.is_unique or not links:
        return links
    counts = relation.count(links, using)
    return {link for link in links if counts.get(link, 0) - old[link] + new[link] <= 0}


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
        if names is None or field.name in names or field.attname in names:
            value = values.get(field.attname, values.get(field.name, value))
            if value is None and field.is_cached(row):
                # It had no key yet when it was assigned.
                value = field.get_cached_value(row)
            if isinstance(value, Model):
                value = getattr(value, field.target_field.attname)
            try:
                value = get_columns(type(row))[field.attname].canonical(value)
            except ValueError:
                value = _UNKNOWN
        planned[field.attname] = value
    return planned


def _get_gone(collector: Collector, relation: Relation) -> tuple[set[Any], set[Any]]:
    """What links name of the rows, at each end, that a deletion deletes."""
    gone: tuple[set[Any], set[Any]] = (set(), set())
    for end in (SOURCE, TARGET):
        model, attname = relation.get_model(end), relation.get_attname(end)
        for deleted, instances in collector.data.items():
            if issubclass(deleted, model._meta.concrete_model):  # type: ignore[arg-type]
                gone[end].update(getattr(instance, attname) for instance in instances)
    return gone


def _read_deleted(collector: Collector, known: Heard) -> list[Row]:
    """The links that a deletion takes away, locked."""
    using = collector.using
    connection = connections[using]
    lock_before_reading(connection, known.through)
    if connection.in_atomic_block and connection.features.has_select_for_update:
        # Nobody may link one of them between the reading and the deletion.
        for relation in known.relations:
            for end, keys in enumerate(_get_gone(collector, relation)):
                ends: QuerySet[Any] = QuerySet(relation.get_model(end), using=using)
                for some in _in_parts(keys):
                    named = ends.filter(**{f"{relation.get_attname(end)}__in": some})
                    list(
                        lock_rows(named.order_by("pk"), connection, no_key=False).values_list("pk")
                    )
    columns = [get_columns(known.through)[field.attname] for field in known.fields]
    found: list[Row] = []
    for model, instances in collector.data.items():
        if model in known.models and model._meta.concrete_model is known.through:
            pks = [instance.pk for instance in instances]
            found += read_rows(known.through, pks, columns, using).values()
    for rows in collector.fast_deletes:
        if rows.model in known.models:
            found += _read_rows(known, rows, using)
    return found


def _read(known: Heard, conditions: Iterable[Q], using: str) -> list[Row]:
    """The rows that match, locked."""
    found: list[Row] = []
    for condition in conditions:
        lock_before_reading(connections[using], known.through)
        rows: QuerySet[Any] = QuerySet(known.through, using=using)
        found += _read_rows(known, rows.filter(condition), using)
    return found


def _read_rows(known: Heard, rows: QuerySet[Any], using: str) -> list[Row]:
    if rows.query.distinct or rows.query.group_by is not None:
        # What is grouped cannot be locked.
        plain: QuerySet[Any] = QuerySet(rows.model, using=using)
        rows = plain.filter(pk__in=rows.order_by().values("pk"))
    locked = lock_rows(rows.order_by(), connections[using], no_key=False)
    names = known.attnames
    return [dict(zip(names, row, strict=True)) for row in locked.values_list(*names)]


def _find_same(
    known: Heard, objs: Sequence[Model], unique_fields: Collection[str] | None
) -> list[Q]:
    """Conditions for the rows that are where ``objs`` would be: those with the same values of
    ``unique_fields``, or of any that are unique."""
    meta = known.through._meta
    if unique_fields:
        groups = [[meta.pk.name if name == "pk" else name for name in unique_fields]]
    else:
        groups = [[field.name] for field in meta.concrete_fields if field.unique]
        groups += [list(names) for names in meta.unique_together]
        groups += [list(constraint.fields) for constraint in meta.total_unique_constraints]
    conditions: list[Q] = []
    for start in range(0, len(objs), _PART):
        same = Q()
        for names in groups:
            for obj in objs[start : start + _PART]:
                fields: list[Any] = [meta.get_field(name) for name in names]
                values = {field.attname: getattr(obj, field.attname) for field in fields}
                if None not in values.values():
                    same |= Q(**values)
        if same:
            conditions.append(same)
    return conditions


def _in_parts(keys: Collection[Any]) -> Iterator[list[Any]]:
    found = sorted(keys, key=str)
    return (found[start : start + CHUNK] for start in range(0, len(found), CHUNK))


def _can_return(using: str) -> bool:
    """Can the database say which rows it has really inserted?"""
    return connections[using].features.can_return_rows_from_bulk_insert


@contextmanager
def _returning(queryset: QuerySet[Any], known: Heard, made: list[Row]) -> Iterator[None]:
    """What ``bulk_create(ignore_conflicts=True)`` inserts goes into ``made``. Django does not ask
    for it."""

    def insert(
        objs: Sequence[Model],
        fields: Sequence[Any],
        returning_fields: Any = None,
        raw: bool = False,
        using: str | None = None,
        **conflicts: Any,
    ) -> list[Any]:
        conflicts = {name: value for name, value in conflicts.items() if value is not None}
        query = InsertQuery(queryset.model, **conflicts)
        query.insert_values(fields, list(objs), raw=raw)
        compiler = query.get_compiler(using=using)
        compiler.returning_fields = known.fields
        with compiler.connection.cursor() as cursor:
            rows: Any = []
            for sql, parameters in compiler.as_sql():
                cursor.execute(sql, parameters)
                rows += cursor.fetchall()
        columns = [field.get_col(known.through._meta.db_table) for field in known.fields]
        if converters := compiler.get_converters(columns):
            rows = compiler.apply_converters(rows, converters)
        made.extend(dict(zip(known.attnames, row, strict=True)) for row in rows)
        return []

    queryset._insert = insert  # type: ignore[attr-defined]
    try:
        yield
    finally:
        del queryset._insert  # type: ignore[attr-defined]
