"""What a query reads, said in tags: of the rows that there are, and of those that may come.

A query that fixes the columns of a template by ``=`` or ``IN`` is told by its tags:
``filter(category_id=3)`` by ``"category:3"``, which falls whenever a row comes to that category,
leaves it or changes. So is one without rows. Any other is told by a template that names no column,
``"products"``, which falls whenever a row of the table changes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any
from uuid import UUID

from django.db.models import Model
from django.db.models.expressions import Col, ColPairs
from django.db.models.lookups import Exact, In
from django.db.models.sql.where import AND

from django_signal_kit.cache.gathering import CollectedTags
from django_signal_kit.cache.sources import Fixed, Source, is_plain, sources

_VALUES = (int, UUID, type(None))


def tell_query(compiler: Any, found: CollectedTags) -> None:
    """Note in ``found`` the tags of what the query of ``compiler`` reads, which is about to say
    where from; those of its parts have compilers of their own."""
    query = compiler.query
    if query.is_empty():
        return
    aliases = [
        (alias, source.table_name)
        for alias, source in query.alias_map.items()
        if query.alias_refcount[alias] and getattr(source, "table_name", None)
    ]
    if not any(sources.get(table) or sources.get_ends(table) for _, table in aliases):
        return
    fixed = _get_fixed(compiler.where)
    by_rows = set(_list_selected(compiler))
    for alias, table in aliases:
        own = sources.get(table)
        if alias not in by_rows:
            for source in own:
                _tell(source, source.get_tags(fixed.get(alias, {})), found)
        if not own:
            _tell_links(table, fixed.get(alias, {}), found)


def tell_row(instance: Model, found: CollectedTags, told: set[Any]) -> None:
    """Note the tags of the rows to which ``instance`` has been joined, and of theirs."""
    for related in vars(instance._state).get("fields_cache", {}).values():
        if isinstance(related, Model) and (key := (type(related), related.pk)) not in told:
            told.add(key)
            for source in sources.get(related._meta.db_table):
                _tell(source, source.get_tags_of_row(related), found)
            tell_row(related, found, told)


def _tell(source: Source, tags: Collection[str] | None, found: CollectedTags) -> None:
    if tags is None:
        found.note_unknown(source.model._meta.label, source.receiver.name)
    else:
        found.add(tags)
        found.note_caches(source.receiver.caches)


def _tell_links(table: str, fixed: Fixed, found: CollectedTags) -> None:
    """A link that comes or goes touches the tags of the rows at both its ends: either will do."""
    ends = [
        (source, {source.model._meta.pk.attname: fixed[column]} if column in fixed else {})
        for column, end in sources.get_ends(table)
        for source in sources.get(end)
    ]
    told = [(source, source.get_tags(key)) for source, key in ends]
    known = [
        (bool(key), source, tags)
        for (source, tags), (_, key) in zip(told, ends, strict=True)
        if tags is not None
    ]
    if known:
        _, source, tags = max(known, key=lambda each: each[0])
        _tell(source, tags, found)
    elif told:
        _tell(told[0][0], None, found)


def _get_fixed(where: Any) -> dict[str, dict[str, list[Any]]]:
    """Alias of a table -> attname -> the values that the column has in each row that is read."""
    fixed: dict[str, dict[str, list[Any]]] = {}
    for lookup in _list_lookups(where):
        for alias, field, values in _list_columns(lookup):
            if is_plain(field) and all(type(value) in _VALUES for value in values):
                known = [value for value in values if value is not None]
                fixed.setdefault(alias, {}).setdefault(field.attname, list(dict.fromkeys(known)))
    return fixed


def _list_columns(lookup: Any) -> Iterator[tuple[str, Any, list[Any]]]:
    """The columns of one condition, by alias and field, and the values that it allows to each."""
    column: Any = lookup.lhs
    is_many = isinstance(lookup, In)
    if not lookup.rhs_is_direct_value() or (is_many and not isinstance(lookup.rhs, Collection)):
        return
    given = list(lookup.rhs) if is_many else [lookup.rhs]
    if type(column) is Col:
        yield column.alias, column.target, given
    elif type(column) is ColPairs and all(isinstance(row, Sequence) for row in given):
        for place, field in enumerate(column.targets):
            yield column.alias, field, [row[place] for row in given]


def _list_lookups(where: Any) -> Iterator[Any]:
    """The conditions by ``=`` and ``IN`` that hold for each row."""
    if where is None or where.negated or where.connector != AND:
        return
    for child in where.children:
        if hasattr(child, "children"):
            yield from _list_lookups(child)
        elif isinstance(child, Exact | In) and type(child).__module__.startswith("django.db."):
            yield child


def _list_selected(compiler: Any) -> Iterator[str]:
    """Aliases of the tables that are joined for ``select_related()`` alone, by foreign keys: of
    these each row that matters is loaded, and tells its tags itself."""
    query = compiler.query
    is_ordered = (
        query.order_by
        or query.extra_order_by
        or (query.default_ordering and query.get_meta().ordering)
    )
    if not compiler.klass_info or not query.select_related or (query.is_sliced and is_ordered):
        return
    asked = set(_list_aliases(compiler.where))
    infos = list(compiler.klass_info.get("related_klass_infos", ()))
    while infos:
        info = infos.pop()
        infos += info.get("related_klass_infos", ())
        field = info["field"]
        if not info["reverse"] and getattr(field, "target_field", None) is not None:
            alias = compiler.select[info["select_fields"][0]][0].alias
            if alias not in asked and field.target_field.primary_key:
                yield alias


def _list_aliases(expression: Any) -> Iterator[str]:
    if expression is None:
        return
    if type(expression) is Col:
        yield expression.alias
    for part in getattr(expression, "children", None) or expression.get_source_expressions():
        if hasattr(part, "get_source_expressions"):
            yield from _list_aliases(part)
