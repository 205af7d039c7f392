"""A request and its response: what the signals of its start and its end do not tell.

``request_finished`` has no arguments, and comes in another context than ``request_started`` under
ASGI. So what belongs to a request travels in its WSGI environ or ASGI scope, from where the
middleware takes it; and the response brings it back when it is closed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping
from contextvars import ContextVar
from time import perf_counter
from typing import Any, Protocol, Self

from django.http import HttpRequest, HttpResponseBase
from django.utils.functional import LazyObject, empty

from django_signal_kit.current import Strand, context, get_scope
from django_signal_kit.units.failures import report_failure

KEY = "signal_kit.exchange"

_current: ContextVar[Exchange | None] = ContextVar("signal_kit_exchange", default=None)

get_exchange = _current.get


class Observer(Protocol):
    """Who measures exchanges."""

    def see(self, exchange: Exchange, request: HttpRequest, response: HttpResponseBase) -> Any:
        """Look at the response that is ready; what is returned is given to ``finish()``."""

    def finish(self, exchange: Exchange) -> None:
        """The exchange has ended. May be called again, to no effect."""


class Exchange:
    """One request, and how it goes on. Times are of ``time.perf_counter()``, in seconds."""

    __slots__ = (
        "method",
        "observers",
        "path",
        "query_count",
        "query_duration",
        "responded",
        "started",
        "status",
    )

    def __init__(self, method: str, path: str) -> None:
        self.method = method
        self.path = path
        self.started = perf_counter()
        #: When the response was ready; None if the middleware has not seen one.
        self.responded: float | None = None
        self.status: int | None = None
        self.query_count = 0
        self.query_duration = 0.0
        #: Who has not finished yet -> what it has seen of the response.
        self.observers: dict[Observer, Any] = {}

    def respond(self, request: HttpRequest, response: HttpResponseBase) -> None:
        """The response is ready to be sent. Never raises."""
        self.responded = perf_counter()
        self.status = response.status_code
        for observer in list(self.observers):
            try:
                self.observers[observer] = observer.see(self, request, response)
            except Exception as error:
                report_failure(observer, "request_finished", error)
        response._resource_closers.append(_Resume(self))  # type: ignore[attr-defined]

    def abandon(self) -> None:
        """There will be no response: the client has gone. Never raises."""
        for observer in list(self.observers):
            try:
                observer.finish(self)
            except Exception as error:
                report_failure(observer, "request_finished", error)


class _Resume:
    """Called when a response is closed, just before ``request_finished``, in its context."""

    def __init__(self, exchange: Exchange | None) -> None:
        self.exchange = exchange

    def __call__(self) -> None:
        if self.exchange is not None:
            _current.set(self.exchange)

    def __reduce__(self) -> Any:
        # A response that is kept in a cache leaves its exchange behind.
        return _Resume, (None,)


def begin(carrier: MutableMapping[str, Any], observer: Observer) -> Exchange:
    """The exchange of a request that starts; ``carrier`` is its environ or scope.

    Observers share it. What was current in this context and has not ended never will.
    """
    exchange: Exchange | None = carrier.get(KEY)
    if exchange is None or observer in exchange.observers or not exchange.observers:
        method = carrier.get("REQUEST_METHOD") or carrier.get("method") or ""
        path = carrier.get("PATH_INFO") or carrier.get("path") or ""
        exchange = carrier[KEY] = Exchange(method, path)
    exchange.observers[observer] = None
    _current.set(exchange)
    return exchange


def resume(request: HttpRequest) -> Exchange | None:
    """The exchange that began with this request, made current here; None if nobody observes."""
    carrier = getattr(request, "scope", None) or request.META
    exchange: Exchange | None = carrier.get(KEY)
    if exchange is not None:
        _current.set(exchange)
    return exchange


def keep_context(response: HttpResponseBase) -> None:
    """Let the context that holds here hold whenever a streamed response is asked for its next
    part, and when it is closed; and in between not."""
    streamed: Any = response
    if not (getattr(response, "streaming", False) and hasattr(response, "_iterator")):
        return
    strand = Strand(context(**(get_scope() or {})))
    held = _AsyncParts if streamed.is_async else _Parts
    streamed._iterator = held(strand, streamed._iterator)
    closers = streamed._resource_closers
    closers[:] = [_Closer(strand, closer) for closer in closers]
    # A server may read the file by itself. Reading one of Python's own runs no code of a project.
    file = getattr(response, "file_to_stream", None)
    if file is not None and type(file).__module__ != "_io":
        streamed.file_to_stream = _File(strand, file)


class _Parts:
    def __init__(self, strand: Strand, parts: Iterator[Any]) -> None:
        self.strand = strand
        self.parts = parts

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        with self.strand:
            return next(self.parts)


class _AsyncParts:
    def __init__(self, strand: Strand, parts: AsyncIterator[Any]) -> None:
        self.strand = strand
        self.parts = parts

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        with self.strand:
            return await anext(self.parts)


class _Closer:
    def __init__(self, strand: Strand, close: Callable[[], Any]) -> None:
        self.strand = strand
        self.close = close

    def __call__(self) -> Any:
        with self.strand:
            return self.close()


class _File:
    """A file for ``wsgi.file_wrapper``."""

    def __init__(self, strand: Strand, file: Any) -> None:
        self._strand = strand
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def read(self, *args: Any) -> Any:
        with self._strand:
            return self._file.read(*args)


def get_route(request: HttpRequest | None) -> str:
    """The pattern of the URL, as ``"shop/<slug:slug>/"``; empty if none matched."""
    match = getattr(request, "resolver_match", None)
    return getattr(match, "route", None) or ""


def get_known_user_pk(request: HttpRequest | None) -> Any:
    """The key of the request's user, if somebody has looked it up already; else None."""
    for name in ("_acached_user", "_cached_user", "user"):
        user = getattr(request, "__dict__", {}).get(name)
        if isinstance(user, LazyObject) and user.__dict__.get("_wrapped", empty) is empty:
            continue
        if user is not None:
            return user.pk if getattr(user, "is_authenticated", False) else None
    return None
