"""Counts the queries of an exchange, on whichever connection they are made."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_signal_kit.exchange import get_exchange


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


def count_on(connection: BaseDatabaseWrapper) -> None:
    """Count on this connection from now on. It stays: a connection serves many requests."""
    wrappers = connection.execute_wrappers
    if count_query not in wrappers:
        # In front: execute_wrapper() takes its own away from the end.
        wrappers.insert(0, count_query)


def count_on_open_connections() -> None:
    for connection in connections.all(initialized_only=True):
        count_on(connection)
