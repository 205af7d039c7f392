"""Through the log in the order of time, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import Q, QuerySet


def walk(rows: QuerySet[Any, Any], size: int) -> Iterator[list[Any]]:
    """``rows`` in pages of at most ``size``, oldest first. Each has ``pk`` and ``at``.

    A page is one short statement that begins where the last one ended, so that neither a cursor
    nor a transaction stays open, and memory is that of a page on every database.
    """
    rows = rows.order_by("at", "pk")
    page = list(rows[:size])
    while page:
        yield page
        last = page[-1]
        # The first condition says nothing new, but lets the database enter its index there.
        later = rows.filter(Q(at__gt=last.at) | Q(at=last.at, pk__gt=last.pk), at__gte=last.at)
        page = list(later[:size]) if len(page) == size else []
