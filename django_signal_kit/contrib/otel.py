"""OpenTelemetry: a span for each receiver that is called and for each flush, in the trace of the
request; across tasks they are linked."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar
from functools import wraps
from inspect import iscoroutinefunction
from types import TracebackType
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import Link, Span, SpanContext, Status, StatusCode, Tracer, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from django_signal_kit.receiver import Receiver
from django_signal_kit.sight.failures import describe, get_path
from django_signal_kit.sight.names import get_label
from django_signal_kit.tasks import context as travelling
from django_signal_kit.wiring import measuring
from django_signal_kit.wiring.registry import registry

#: Under which the trace travels with a task. Baggage does not: it may hold anything.
KEY = "trace"

_propagator = TraceContextTextMapPropagator()
#: The span that sent the task that runs here.
_sender: ContextVar[SpanContext | None] = ContextVar("signal_kit_sender", default=None)


def instrument(*, slower_than: float = 0, tracer_provider: TracerProvider | None = None) -> None:
    """Make spans from now on.

    ``slower_than``: milliseconds. If it is above 0, only what takes longer has a span, or fails:
    one that is made when it has ended, so that what happened meanwhile is beside it, not below.
    ``tracer_provider``: by default the one that is set globally. Called again, it changes these.
    Raises TypeError for what is no number.
    """
    if isinstance(slower_than, bool) or not isinstance(slower_than, int | float):
        raise TypeError(f"instrument(slower_than={slower_than!r}): it has to be a number.")
    uninstrument()
    tracer = trace.get_tracer("django_signal_kit", tracer_provider=tracer_provider)
    measuring.wrappers.append(Spans(tracer, slower_than / 1000))
    travelling.carriers[KEY] = Carrier()
    _wire()


def uninstrument() -> None:
    """Make no spans any more."""
    others = [wrapper for wrapper in measuring.wrappers if not isinstance(wrapper, Spans)]
    if len(others) < len(measuring.wrappers):
        measuring.wrappers[:] = others
        travelling.carriers.pop(KEY, None)
        _wire()


def _wire() -> None:
    if registry.connections:
        registry.connect(list(registry.receivers))


class Spans:
    """Makes the functions that make spans."""

    def __init__(self, tracer: Tracer, threshold: float) -> None:
        """``threshold``: in seconds."""
        self.tracer = tracer
        self.threshold = threshold

    def __call__(
        self, receiver: Receiver, name: str, method: measuring.Function
    ) -> measuring.Function:
        if name == "collect":
            return method
        make = self._make(receiver, name)
        if iscoroutinefunction(method):

            @wraps(method)
            async def traced(*args: Any, **kwargs: Any) -> Any:
                with make(args, kwargs):
                    return await method(*args, **kwargs)

        else:

            @wraps(method)
            def traced(*args: Any, **kwargs: Any) -> Any:
                with make(args, kwargs):
                    return method(*args, **kwargs)

        return traced

    def _make(
        self, receiver: Receiver, name: str
    ) -> Callable[[tuple[Any, ...], dict[str, Any]], AbstractContextManager[Any]]:
        title = f"{receiver.name} {name}"
        always = {
            "code.function.name": f"{get_path(type(receiver))}.{name}",
            "signal_kit.receiver": receiver.name,
        }
        block = _LateSpan if self.threshold > 0 else _CurrentSpan

        def make(args: tuple[Any, ...], kwargs: dict[str, Any]) -> AbstractContextManager[Any]:
            if name == "flush":
                told: dict[str, Any] = {"signal_kit.items": len(args[0])}
            else:
                sender = get_label(kwargs.get("sender"))
                told = {"signal_kit.signal": name, "signal_kit.sender": sender}
            return block(self, title, {**always, **told})

        return make


class _CurrentSpan:
    """What happens in the block is below its span."""

    def __init__(self, spans: Spans, title: str, attributes: Mapping[str, Any]) -> None:
        self._span = spans.tracer.start_span(title, attributes=attributes, links=_get_links())
        self._block = trace.use_span(
            self._span, record_exception=False, set_status_on_exception=False
        )

    def __enter__(self) -> None:
        self._block.__enter__()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(exc, Exception):
            _note_error(self._span, exc)
        self._block.__exit__(None, None, None)
        self._span.end()


class _LateSpan:
    """The span is made when the block has ended, if that took long or failed."""

    def __init__(self, spans: Spans, title: str, attributes: Mapping[str, Any]) -> None:
        self._spans = spans
        self._title = title
        self._attributes = attributes

    def __enter__(self) -> None:
        self._began = time.time_ns()
        self._clock = time.perf_counter()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        seconds = time.perf_counter() - self._clock
        if seconds < self._spans.threshold and not isinstance(exc, Exception):
            return
        span = self._spans.tracer.start_span(
            self._title,
            attributes=self._attributes,
            links=_get_links(),
            start_time=self._began,
        )
        if isinstance(exc, Exception):
            _note_error(span, exc)
        span.end(self._began + int(seconds * 1e9))


def _get_links() -> list[Link]:
    sender = _sender.get()
    return [] if sender is None else [Link(sender)]


def _note_error(span: Span, error: Exception) -> None:
    """Without secrets: what ``record_exception()`` says is the message as it is."""
    if not span.is_recording():
        return
    span.set_attribute("error.type", get_path(type(error)))
    span.set_status(Status(StatusCode.ERROR, get_path(type(error))))
    with suppress(Exception):
        # One that cannot be told is an error all the same.
        told = describe(error)
        span.add_event(
            "exception",
            {
                "exception.type": told["exception"],
                "exception.message": told["message"],
                "exception.stacktrace": told["traceback"],
            },
        )


class Carrier:
    """The span that sends a task travels with it."""

    def pack(self) -> dict[str, str]:
        packed: dict[str, str] = {}
        _propagator.inject(packed)
        return packed

    @contextmanager
    def unpack(self, packed: Any) -> Any:
        given = packed if isinstance(packed, dict) else {}
        found = trace.get_current_span(_propagator.extract(given)).get_span_context()
        token = _sender.set(found if found.is_valid else None)
        try:
            yield
        finally:
            _sender.reset(token)
