"""Reads a table in the order of its ids, a page at a time, whatever somebody wrote into it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.db import Error
from django.db.models import Model, QuerySet

_PAGE = 500


def read(
    queryset: QuerySet[Any, Any],
    columns: Sequence[str],
    after: int | None = None,
    up_to: int | None = None,
) -> Iterator[tuple[int, tuple[Any, ...] | None]]:
    """The id and the values of each row above ``after`` and up to ``up_to``. None stands for the
    values of a row that cannot be read. Costs the memory of a page."""
    if up_to is not None:
        queryset = queryset.filter(pk__lte=up_to)
    while True:
        page = queryset.order_by("pk")
        if after is not None:
            page = page.filter(pk__gt=after)
        found = _read_page(page, columns)
        yield from found
        if len(found) < _PAGE:
            return
        after = found[-1][0]


def get_all(model: type[Model], using: str) -> QuerySet[Any, Any]:
    """All rows, whatever the managers of ``model`` hide."""
    return model._base_manager.using(using)


def _read_page(
    page: QuerySet[Any, Any], columns: Sequence[str]
) -> list[tuple[int, tuple[Any, ...] | None]]:
    try:
        return [(key, tuple(values)) for key, *values in page.values_list("pk", *columns)[:_PAGE]]
    except Exception as error:
        _check_is_about_a_value(error)
    keys = page.values_list("pk", flat=True)[:_PAGE]
    return [(key, _read_row(page, columns, key)) for key in keys]


def _read_row(
    page: QuerySet[Any, Any], columns: Sequence[str], key: int
) -> tuple[Any, ...] | None:
    try:
        return page.filter(pk=key).values_list(*columns).first()
    except Exception as error:
        _check_is_about_a_value(error)
        return None


def _check_is_about_a_value(error: Exception) -> None:
    """Any exception may come from the conversion of a value. Of those of the database only one
    does: SQLite's, of a text that is not UTF-8."""
    if isinstance(error, Error) and "decode" not in str(error):
        raise error
