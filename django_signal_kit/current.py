"""Who is doing this, in which request, and which receivers are muted meanwhile.

Held in context variables: other threads and other async tasks see nothing of it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Set
from contextvars import ContextVar
from functools import wraps
from types import AsyncGeneratorType, CoroutineType, GeneratorType, TracebackType
from typing import Any, NamedTuple, Self, TypeVar, cast

from asgiref.sync import iscoroutinefunction

_context: ContextVar[Said | None] = ContextVar("signal_kit_context", default=None)
#: Names of the receivers that are muted in the whole process, where no block says otherwise.
muted_everywhere: set[str] = set()
_muted: ContextVar[Set[str]] = ContextVar("signal_kit_muted", default=muted_everywhere)
# The blocks that are open here, the outermost first. Not kept on the Scope: threads may share one.
_open: ContextVar[tuple[_Block, ...]] = ContextVar("signal_kit_open", default=())

get_muted: Callable[[], Set[str]] = _muted.get

F = TypeVar("F", bound=Callable[..., Any])


class Scope:
    """A value of a context variable for the length of a ``with`` block or of a function.

    Re-entrant. Restored when the block ends by an exception too, and when blocks end in another
    order than they should. Decorates functions, ``async def`` ones and generators of both kinds:
    for these it holds while their body runs, and not while they wait at a ``yield``.
    """

    #: What is set.
    variable: ContextVar[Any]

    def get_change(self) -> Any:
        """What this scope says, when it is entered."""
        raise NotImplementedError

    @staticmethod
    def merge(outer: Any, change: Any) -> Any:
        """The value inside of a block: that outside of it, and what the block says."""
        raise NotImplementedError

    def copy(self) -> Self:
        raise NotImplementedError

    def __enter__(self) -> Self:
        _enter(self, self.get_change())
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _, *others = _leave(self) or (None,)
        for block in others:
            # They are open still.
            _enter(block.scope, block.change)

    def __call__(self, function: F) -> F:
        if isinstance(function, type | staticmethod | classmethod | property):
            raise TypeError(
                f"{type(self).__name__}() decorates functions, and {function!r} is none. Write it "
                f"below @staticmethod, @classmethod or @property, and decorate the methods of a "
                f"class one by one."
            )
        wrap = _wrap
        if inspect.isgeneratorfunction(function):
            wrap = _wrap_generator
        elif inspect.isasyncgenfunction(function):
            wrap = _wrap_async_generator
        elif iscoroutinefunction(function):
            wrap = _wrap_coroutine
        return cast(F, wrap(self, function))


class _Block(NamedTuple):
    scope: Scope
    change: Any
    outer: Any


def _enter(scope: Scope, change: Any) -> None:
    outer = scope.variable.get()
    scope.variable.set(scope.merge(outer, change))
    _open.set((*_open.get(), _Block(scope, change, outer)))


def _leave(scope: Scope) -> tuple[_Block, ...]:
    """Close the innermost block of ``scope`` and those that were opened in it, and return them,
    the outermost first. None are if it was opened in another thread or task."""
    blocks = _open.get()
    for position in range(len(blocks) - 1, -1, -1):
        if blocks[position].scope is scope:
            for block in reversed(blocks[position:]):
                block.scope.variable.set(block.outer)
            _open.set(blocks[:position])
            return blocks[position:]
    return ()


class Strand:
    """A scope that is left and entered again, with the blocks that were opened in it and are open
    still: what a generator does between two of its ``yield``."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope.copy()
        self.blocks: tuple[_Block, ...] = ()

    def __enter__(self) -> None:
        for block in self.blocks:
            _enter(block.scope, block.change)
        if not self.blocks:
            self.scope.__enter__()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.blocks = _leave(self.scope)


# Each call has a scope of its own: two threads may run a function at once.


def _wrap(scope: Scope, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def scoped(*args: Any, **kwargs: Any) -> Any:
        with scope.copy():
            found = function(*args, **kwargs)
        # Its body is still to run, if somebody has wrapped what is no plain function in one.
        wrap = _WRAPPERS.get(found.__class__)
        return found if wrap is None else wrap(scope, lambda: found)()

    return scoped


def _wrap_coroutine(scope: Scope, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    async def scoped(*args: Any, **kwargs: Any) -> Any:
        with scope.copy():
            return await function(*args, **kwargs)

    return scoped


def _wrap_generator(scope: Scope, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def scoped(*args: Any, **kwargs: Any) -> Any:
        strand = Strand(scope)
        generator = function(*args, **kwargs)
        resume, given = generator.send, None
        while True:
            with strand:
                try:
                    item = resume(given)
                except StopIteration as end:
                    return end.value
            try:
                resume, given = generator.send, (yield item)
            except GeneratorExit:
                with strand:
                    generator.close()
                raise
            except BaseException as error:
                resume, given = generator.throw, error

    return scoped


def _wrap_async_generator(scope: Scope, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    async def scoped(*args: Any, **kwargs: Any) -> Any:
        strand = Strand(scope)
        generator = function(*args, **kwargs)
        resume, given = generator.asend, None
        while True:
            with strand:
                try:
                    item = await resume(given)
                except StopAsyncIteration:
                    return
            try:
                resume, given = generator.asend, (yield item)
            except GeneratorExit:
                with strand:
                    await generator.aclose()
                raise
            except BaseException as error:
                resume, given = generator.athrow, error

    return scoped


_WRAPPERS: dict[type, Callable[..., Any]] = {
    AsyncGeneratorType: _wrap_async_generator,
    CoroutineType: _wrap_coroutine,
    GeneratorType: _wrap_generator,
}


class Said(dict[str, Any]):
    """What open blocks say together."""

    __slots__ = ("made",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        #: See :func:`get_made`.
        self.made: dict[Any, Any] = {}


class context(Scope):  # noqa: N801
    """Say who is doing what follows, and why: ``with context(actor=user, reason="import"):``.

    Any keyword is kept and given back by :func:`get_context`; an inner block adds to the outer
    one and may replace its values. ``actor`` is a user, ``None``, or a callable without arguments
    that returns one of them and is called only when somebody asks.
    """

    variable = _context

    def __init__(self, **values: Any) -> None:
        self.values = values

    def get_change(self) -> Mapping[str, Any]:
        return self.values

    @staticmethod
    def merge(outer: Said | None, change: Mapping[str, Any]) -> Said:
        return Said({**(outer or {}), **change})

    def copy(self) -> context:
        return context(**self.values)


class Muting(Scope):
    """The receivers of these names are not called inside the block."""

    variable = _muted

    def __init__(self, get_names: Callable[[], frozenset[str]]) -> None:
        self.get_names = get_names

    def get_change(self) -> frozenset[str]:
        return self.get_names()

    @staticmethod
    def merge(outer: Set[str], change: frozenset[str]) -> frozenset[str]:
        # What is muted everywhere may change meanwhile: a block keeps to what it has found.
        return change | outer

    def copy(self) -> Muting:
        return Muting(self.get_names)


def get_scope() -> Mapping[str, Any] | None:
    """What the open :class:`context` blocks say, ``actor`` as it was given: the same object as
    long as the same blocks are open. None outside of them."""
    return _context.get()


def get_made() -> dict[Any, Any] | None:
    """What has been made of what the open blocks say, for who would make it again: it is gone when
    they are. None outside of them."""
    scope = _context.get()
    return None if scope is None else scope.made


def peek_actor() -> Any:
    """The actor as the enclosing blocks say it: perhaps a callable that nobody has asked yet."""
    values = _context.get()
    return None if values is None else values.get("actor")


def get_details() -> dict[str, Any]:
    """What :func:`get_context` says beside the actor, whom nobody asks for that: as a dict of its
    own."""
    return {key: value for key, value in (_context.get() or {}).items() if key != "actor"}


def get_context() -> dict[str, Any]:
    """What the enclosing :class:`context` blocks and the request say, as a dict of its own.

    Always has ``"actor"``: a user or ``None``. Under ``RequestContextMiddleware`` there are also
    ``request_id``, ``ip``, ``method`` and ``path``, all text.
    """
    values = dict(_context.get() or {})
    actor = values.get("actor")
    values["actor"] = actor() if callable(actor) else actor
    return values
