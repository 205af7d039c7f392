"""Counts the queries of an exchange, on whichever connection they are made."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

from django_signal_kit.exchange import get_exchange
from django_signal_kit.units.wrapping import Staying


def count_query(
    execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any
) -> Any:
    """An execute wrapper. Outside an exchange it does nothing."""
    exchange = get_exchange()
    if exchange is None:
        return execute(sql, params, many, context)
    start = perf_counter()
    try:
        return execute(sql, params, many, context)
    finally:
        exchange.query_duration += perf_counter() - start
        exchange.query_count += 1


#: It stays: a connection serves many requests.
wrapping = Staying(count_query)
