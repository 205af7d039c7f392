"""Functions that run in a block, each call in one of its own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from inspect import isasyncgenfunction, isgeneratorfunction
from typing import Any, TypeVar, cast

from asgiref.sync import iscoroutinefunction

F = TypeVar("F", bound=Callable[..., Any])


def run_in(
    make_block: Callable[[], AbstractContextManager[Any]], function: F, name: str, remedy: str
) -> F:
    """``function``, of which each call is in a block that ``make_block`` makes. Takes ``async
    def`` ones too. Raises TypeError for classes, generators and what is no function; ``name`` and
    ``remedy`` begin and end its sentence."""
    is_plain = callable(function) and not isinstance(function, type)
    if not is_plain or isgeneratorfunction(function) or isasyncgenfunction(function):
        raise TypeError(
            f"{name}() decorates functions and async functions, and {function!r} is neither. "
            f"{remedy}"
        )
    if iscoroutinefunction(function):

        @wraps(function)
        async def run(*args: Any, **kwargs: Any) -> Any:
            with make_block():
                return await function(*args, **kwargs)

    else:

        @wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            with make_block():
                return function(*args, **kwargs)

    return cast(F, run)
