"""Who is doing this, in which request, and which receivers are muted meanwhile.

Held in context variables: other threads and other async tasks see nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from functools import wraps
from inspect import iscoroutinefunction
from types import TracebackType
from typing import Any, Self, TypeVar, cast

_context: ContextVar[Mapping[str, Any]] = ContextVar("signal_kit_context")
_muted: ContextVar[frozenset[str]] = ContextVar("signal_kit_muted", default=frozenset())
# How to leave the blocks that are open here. Not kept on the Scope: threads may share one.
_tokens: ContextVar[tuple[tuple[ContextVar[Any], Token[Any]], ...]] = ContextVar(
    "signal_kit_tokens", default=()
)

get_muted: Callable[[], frozenset[str]] = _muted.get

F = TypeVar("F", bound=Callable[..., Any])


class Scope:
    """A value of a context variable for the length of a ``with`` block or of a function.

    Re-entrant, and restored when the block ends by an exception too. Decorates plain functions
    and ``async def`` ones.
    """

    def get_change(self) -> tuple[ContextVar[Any], Any]:
        raise NotImplementedError

    def copy(self) -> Self:
        raise NotImplementedError

    def __enter__(self) -> Self:
        variable, value = self.get_change()
        _tokens.set((*_tokens.get(), (variable, variable.set(value))))
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        *outer, (variable, token) = _tokens.get()
        _tokens.set(tuple(outer))
        variable.reset(token)

    def __call__(self, function: F) -> F:
        # Each call has a scope of its own: two threads may run the function at once.
        if iscoroutinefunction(function):

            @wraps(function)
            async def scoped(*args: Any, **kwargs: Any) -> Any:
                with self.copy():
                    return await function(*args, **kwargs)

        else:

            @wraps(function)
            def scoped(*args: Any, **kwargs: Any) -> Any:
                with self.copy():
                    return function(*args, **kwargs)

        return cast(F, scoped)


class context(Scope):  # noqa: N801
    """Say who is doing what follows, and why: ``with context(actor=user, reason="import"):``.

    Any keyword is kept and given back by :func:`get_context`; an inner block adds to the outer
    one and may replace its values. ``actor`` is a user, ``None``, or a callable without arguments
    that returns one of them and is called only when somebody asks.
    """

    def __init__(self, **values: Any) -> None:
        self.values = values

    def get_change(self) -> tuple[ContextVar[Any], Any]:
        return _context, {**_context.get({}), **self.values}

    def copy(self) -> context:
        return context(**self.values)


class Muting(Scope):
    """The receivers of these names are not called inside the block."""

    def __init__(self, get_names: Callable[[], frozenset[str]]) -> None:
        self.get_names = get_names

    def get_change(self) -> tuple[ContextVar[Any], Any]:
        return _muted, _muted.get() | self.get_names()

    def copy(self) -> Muting:
        return Muting(self.get_names)


def get_scope() -> Mapping[str, Any] | None:
    """What the open :class:`context` blocks say, ``actor`` as it was given: the same object as
    long as the same blocks are open. None outside of them."""
    return _context.get(None)


def peek_actor() -> Any:
    """The actor as the enclosing blocks say it: perhaps a callable that nobody has asked yet."""
    values = _context.get(None)
    return None if values is None else values.get("actor")


def get_context() -> dict[str, Any]:
    """What the enclosing :class:`context` blocks and the request say, as a dict of its own.

    Always has ``"actor"``: a user or ``None``. Under ``RequestContextMiddleware`` there are also
    ``request_id``, ``ip``, ``method`` and ``path``, all text.
    """
    values = dict(_context.get({}))
    actor = values.get("actor")
    values["actor"] = actor() if callable(actor) else actor
    return values
