"""One account of how a value is looked up, for synchronous callers and for asynchronous ones.

It is a generator of steps: a function to call, which may block; seconds to wait; or ``MAKE``, for
the value to be made. Each gives back the result.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Generator
from typing import Any, TypeAlias

from asgiref.sync import sync_to_async

MAKE: Any = object()


class NotForOthersError(Exception):
    """What was made is for one alone, and is not stored."""


Steps: TypeAlias = Generator[Any, Any, Any]


def run(steps: Steps, make: Callable[[], Any]) -> Any:
    """Take the steps, and return what they return."""
    go: Callable[[Any], Any] = steps.send
    value: Any = None
    while True:
        try:
            step = go(value)
        except StopIteration as end:
            return end.value
        try:
            if step is MAKE:
                value = make()
            elif isinstance(step, float):
                time.sleep(step)
            else:
                value = step()
            go = steps.send
        except BaseException as error:
            go, value = steps.throw, error


async def arun(steps: Steps, make: Callable[[], Any]) -> Any:
    """Take the steps under an event loop: what may block, in a thread."""
    go: Callable[[Any], Any] = steps.send
    value: Any = None
    while True:
        try:
            step = go(value)
        except StopIteration as end:
            return end.value
        try:
            if step is MAKE:
                value = make()
                if inspect.isawaitable(value):
                    value = await value
            elif isinstance(step, float):
                await asyncio.sleep(step)
            else:
                value = await sync_to_async(step)()
            go = steps.send
        except BaseException as error:
            go, value = steps.throw, error
