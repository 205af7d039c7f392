"""One account of how a value is looked up, for synchronous callers and for asynchronous ones.

It is a generator of steps: a function to call, which may block; seconds to wait; or ``MAKE``, for
the value to be made. Each gives back the result.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator
from functools import wraps
from inspect import isawaitable, iscoroutinefunction
from typing import Any, TypeAlias, TypeVar

from asgiref.sync import sync_to_async

F = TypeVar("F", bound=Callable[..., Any])

MAKE: Any = object()


class NotForOthersError(Exception):
    """What was made is for one alone, and is not stored."""


Steps: TypeAlias = Generator[Any, Any, Any]


def run(steps: Steps, make: Callable[[], Any]) -> Any:
    """Take the steps, and return what they return."""

    async def act(step: Any) -> Any:
        if step is MAKE:
            return make()
        if isinstance(step, float):
            time.sleep(step)  # noqa: ASYNC251 no event loop runs it
            return None
        return step()

    try:
        # Nothing in it waits for an event loop, so that it comes to its end at once.
        _take(steps, act).send(None)
    except StopIteration as end:
        return end.value


async def arun(steps: Steps, make: Callable[[], Any]) -> Any:
    """Take the steps under an event loop: what may block, in a thread."""

    async def act(step: Any) -> Any:
        if step is MAKE:
            value = make()
            return await value if isawaitable(value) else value
        if isinstance(step, float):
            return await asyncio.sleep(step)
        return await sync_to_async(step)()

    return await _take(steps, act)


async def _take(steps: Steps, act: Callable[[Any], Awaitable[Any]]) -> Any:
    go: Callable[[Any], Any] = steps.send
    value: Any = None
    while True:
        try:
            step = go(value)
        except StopIteration as end:
            return end.value
        try:
            value = await act(step)
            go = steps.send
        except BaseException as error:
            go, value = steps.throw, error


def decorate(function: F, plan: Callable[..., Steps]) -> F:
    """``function``, each call of which takes the steps that ``plan`` returns for its arguments,
    and is made where they say ``MAKE``."""
    if iscoroutinefunction(function):

        @wraps(function)
        async def acall(*args: Any, **kwargs: Any) -> Any:
            return await arun(plan(*args, **kwargs), lambda: function(*args, **kwargs))

        return acall  # type: ignore[return-value]

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return run(plan(*args, **kwargs), lambda: function(*args, **kwargs))

    return call  # type: ignore[return-value]
