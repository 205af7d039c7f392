"""A request as one unit of work, for all views by a setting or for one by a decorator.

Where Django puts the transaction of ``ATOMIC_REQUESTS``: round the view alone. So an exception
that leaves the view rolls back what it did, and what is rendered or streamed later is not part of
it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, overload

from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.core.handlers.base import BaseHandler

from django_signal_kit.conf import conf
from django_signal_kit.units.batch import batch

View = TypeVar("View", bound=Callable[..., Any])

#: Requests by these change nothing, as HTTP has it.
SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))

_MARK = "_signal_kit_request_unit"


@overload
def request_unit(view: View, /) -> View: ...
@overload
def request_unit(*, using: str | None = None) -> Callable[[View], View]: ...
def request_unit(view: Any = None, /, *, using: str | None = None) -> Any:
    """Make each request of a view one unit of work on the database ``using``, whatever its method:
    ``@request_unit``, or ``@request_unit(using="other")``.

    As ``batch()`` round the view, which may be ``async``: a thread waits for it then. An exception
    rolls back what it did; what was done before a response is kept, whatever its status.
    """
    if view is not None:
        return _mark(_wrap(view, using, is_for=_any), False)
    return lambda view: _mark(_wrap(view, using, is_for=_any), False)


def no_request_unit(view: View, /) -> View:
    """Leave a view out of ``SIGNAL_KIT["REQUEST_UNIT"]``: each of its writes is a unit."""

    @wraps(view)
    def plain(*args: Any, **kwargs: Any) -> Any:
        return view(*args, **kwargs)

    @wraps(view)
    async def plain_async(*args: Any, **kwargs: Any) -> Any:
        return await view(*args, **kwargs)

    # Not on the view itself, which may be in use elsewhere.
    made: Any = plain_async if iscoroutinefunction(view) else plain
    return _mark(made, False)  # type: ignore[no-any-return]


def install() -> None:
    """Let the handlers of requests obey the setting, unless they do already."""
    original = BaseHandler.make_view_atomic
    if not hasattr(original, _MARK):
        wrapper = _mark(_wrap_make_view_atomic(original), True)
        BaseHandler.make_view_atomic = wrapper  # type: ignore[method-assign]


def _wrap_make_view_atomic(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def make_view_atomic(self: BaseHandler, view: Callable[..., Any]) -> Any:
        if conf.REQUEST_UNIT and getattr(view, _MARK, True):
            # Within Django's own transaction: there it takes no savepoint.
            view = _wrap(view, None, is_for=_is_unsafe)
        return original(self, view)

    return make_view_atomic


def _wrap(view: Any, using: str | None, *, is_for: Callable[[Any], bool]) -> Any:
    if iscoroutinefunction(view):
        # A transaction belongs to a thread: all that the view asks of the database, it asks there.
        run = sync_to_async(_run)

        @wraps(view)
        async def in_unit_async(request: Any, *args: Any, **kwargs: Any) -> Any:
            if is_for(request):
                return await run(async_to_sync(view), using, request, *args, **kwargs)
            return await view(request, *args, **kwargs)

        return in_unit_async

    @wraps(view)
    def in_unit(request: Any, *args: Any, **kwargs: Any) -> Any:
        if is_for(request):
            return _run(view, using, request, *args, **kwargs)
        return view(request, *args, **kwargs)

    return in_unit


def _run(view: Callable[..., Any], using: str | None, /, *args: Any, **kwargs: Any) -> Any:
    with batch(using):
        return view(*args, **kwargs)


def _is_unsafe(request: Any) -> bool:
    return request.method not in SAFE_METHODS


def _any(request: Any) -> bool:
    return True


def _mark(view: Any, value: bool) -> Any:
    setattr(view, _MARK, value)
    return view
