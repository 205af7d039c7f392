"""Functions that are called at the same time, each in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from django.core.cache import caches
from django.db import connections

from django_signal_kit.cache.recovery import disconnect

T = TypeVar("T")


def in_threads(*functions: Callable[[], T], timeout: float = 120) -> list[T]:
    """What they return, in their order. Each has connections of its own, closed at its end.
    Raises what one of them has raised, and TimeoutError if one has not ended by then."""
    outcomes: list[Future[T]] = [Future() for _ in functions]
    pairs = zip(functions, outcomes, strict=True)
    threads = [threading.Thread(target=_run, args=pair, daemon=True) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout)
    return [outcome.result(timeout=0) for outcome in outcomes]


def _run(function: Callable[[], T], outcome: Future[T]) -> None:
    try:
        result = function()
    except BaseException as error:
        _close()
        outcome.set_exception(error)
    else:
        _close()
        outcome.set_result(result)


def _close() -> None:
    connections.close_all()
    for cache in caches.all(initialized_only=True):
        disconnect(cache)
