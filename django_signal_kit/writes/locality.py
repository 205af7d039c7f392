"""May an update be done part by part? Only if no row depends on another."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import Subquery
from django.db.models.sql import Query


def is_row_by_row(query: Query, values: Iterable[Any]) -> bool:
    """Do the condition and the new values of an update look at nothing but the row itself?

    Then updating part of the rows changes nothing for the rest.
    """
    tables = [alias for alias, count in query.alias_refcount.items() if count]
    expressions = (query.where, *query.annotations.values(), *values)
    is_alone = len(tables) <= 1 and query.group_by is None
    return is_alone and not any(map(_has_subquery, expressions))


def _has_subquery(expression: Any) -> bool:
    if isinstance(expression, Query | Subquery) or hasattr(expression, "query"):
        return True
    if isinstance(expression, list | tuple):
        return any(map(_has_subquery, expression))
    parts = [
        *getattr(expression, "children", ()),
        getattr(expression, "lhs", None),
        getattr(expression, "rhs", None),
    ]
    if hasattr(expression, "get_source_expressions"):
        parts += expression.get_source_expressions()
    return any(_has_subquery(part) for part in parts if part is not None)
