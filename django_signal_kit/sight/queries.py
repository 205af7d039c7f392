"""Whose query is it? That of the receiver that runs innermost, as a trace has it.

A receiver that is called says so in a place of its thread, which costs a tenth of a microsecond; a
context variable would cost three times as much. One that is async has its queries sent by other
threads: it says so in the context, which ``sync_to_async`` takes along.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Generator
from contextvars import ContextVar
from functools import partial
from types import coroutine
from typing import Any, TypeAlias

from django_signal_kit.units.wrapping import Staying

Tick: TypeAlias = Callable[[], int]


class Here:
    """What runs in one thread."""

    __slots__ = ("asks", "under")

    def __init__(self) -> None:
        #: Counts a query of the receiver that runs, if one does that is not async.
        self.asks: Tick | None = None
        #: Which async one was waiting when it was called.
        self.under: list[Tick] | None = None


class _Thread(threading.local):
    def __init__(self) -> None:
        self.here = Here()


thread = _Thread()
#: Of the innermost receiver that is async: a list of its own for each call.
_waiting: ContextVar[list[Tick] | None] = ContextVar("signal_kit_waiting", default=None)
get_waiting, _set_waiting = _waiting.get, _waiting.set


@coroutine
def follow(awaited: Awaitable[Any], asks: Tick) -> Generator[Any, Any, Any]:
    """Await it, and say at each step whose it is: Django runs the async receivers of a signal by
    turns in one context."""
    steps, own = awaited.__await__(), [asks]
    resume: Callable[[], Any] = partial(next, steps)
    while True:
        outer = get_waiting()
        _set_waiting(own)
        try:
            waited_for = resume()
        except StopIteration as end:
            return end.value
        finally:
            _set_waiting(outer)
        try:
            resume = partial(steps.send, (yield waited_for))
        except BaseException as error:
            resume = partial(steps.throw, error)


def count_query(
    execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any
) -> Any:
    """An execute wrapper. Where no receiver runs it does nothing."""
    here, innermost = thread.here, get_waiting()
    if innermost is not None and innermost is not here.under:
        # It was called after the one that runs in this thread.
        innermost[0]()
    elif here.asks is not None:
        here.asks()
    return execute(sql, params, many, context)


#: On connections of other threads it stays until they end, where nobody asks.
wrapping = Staying(count_query)
