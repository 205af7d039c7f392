"""A signal that is sent while a trace is open: a span for it, and one for each receiver."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import wraps
from typing import Any, TypeAlias

from django.db.models import Model
from django.dispatch import Signal

from django_signal_kit.current import get_muted
from django_signal_kit.sight.captured import Heard, captures
from django_signal_kit.sight.names import get_label, get_name
from django_signal_kit.sight.places import find_caller
from django_signal_kit.sight.running import get_current, running
from django_signal_kit.sight.spans import Key, Span
from django_signal_kit.wiring.listing import get_path, get_receiver

Function: TypeAlias = Callable[..., Any]

#: The signal whose receivers are asked for.
_sent: ContextVar[Signal | None] = ContextVar("signal_kit_sent", default=None)


def make_send(original: Function) -> Function:
    @wraps(original)
    def send(self: Signal, sender: Any, **named: Any) -> Any:
        span = _get_signal_span(self, sender)
        if span is None:
            return original(self, sender, **named)
        with _sending(span, self, named):
            responses = original(self, sender, **named)
        return [_untrace(*pair) for pair in responses]

    return send


def make_asend(original: Function) -> Function:
    @wraps(original)
    async def asend(self: Signal, sender: Any, **named: Any) -> Any:
        span = _get_signal_span(self, sender)
        if span is None:
            return await original(self, sender, **named)
        with _sending(span, self, named):
            responses = await original(self, sender, **named)
        return [_untrace(*pair) for pair in responses]

    return asend


def _get_signal_span(signal: Signal, sender: Any) -> Span | None:
    """None without a trace, and if nobody listens."""
    parent = get_current()
    if parent is None or not signal.receivers or not signal.has_listeners(sender):
        return None
    return parent.get_child(Key("signal", get_name(signal), get_label(sender), find_caller()))


@contextmanager
def _sending(span: Span, signal: Signal, named: dict[str, Any]) -> Iterator[None]:
    token = _sent.set(signal)
    try:
        with running(span):
            yield
    finally:
        _sent.reset(token)
        _note_object(span, named)


def make_live_receivers(original: Function) -> Function:
    @wraps(original)
    def live_receivers(self: Signal, sender: Any) -> Any:
        synchronous, asynchronous = original(self, sender)
        if _sent.get() is not self:
            return synchronous, asynchronous
        _sent.set(None)
        return [_trace(f) for f in synchronous], [_trace_async(f) for f in asynchronous]

    return live_receivers


def _note_object(span: Span, named: dict[str, Any]) -> None:
    """Which row it was about, if there was but one. Its key may be set by a receiver."""
    instance = named.get("instance")
    pk = instance.pk if isinstance(instance, Model) and span.count == 1 else None
    span.object = ""
    # A value of somebody's own class may have no text; the write is none the worse for it.
    with suppress(Exception):
        span.object = "" if pk is None else str(pk)


def _trace(function: Function) -> Function:
    def traced(**kwargs: Any) -> Any:
        with running(_get_receiver_span(function, kwargs)):
            return function(**kwargs)

    return _imitate(traced, function)


def _trace_async(function: Function) -> Function:
    async def traced(**kwargs: Any) -> Any:
        with running(_get_receiver_span(function, kwargs)):
            return await function(**kwargs)

    return _imitate(traced, function)


def _imitate(traced: Any, function: Function) -> Function:
    """Under the names of the function, which Django logs if it fails. ``wraps()`` would take all
    that an object has, and some have what no function may have."""
    for name in ("__module__", "__name__", "__qualname__"):
        if isinstance(text := getattr(function, name, None), str):
            setattr(traced, name, text)
    traced._signal_kit_traced = function
    return traced  # type: ignore[no-any-return]


def _make_heard(name: str, /, *, signal: Signal, sender: Any, **arguments: Any) -> Heard:
    return Heard(name, get_name(signal), sender, arguments)


def _untrace(function: Function, response: Any) -> tuple[Function, Any]:
    return getattr(function, "_signal_kit_traced", function), response


def _get_receiver_span(function: Function, arguments: dict[str, Any]) -> Span:
    parent = get_current()
    assert parent is not None
    receiver = get_receiver(function)
    if receiver is None:
        path = get_path(function)
        key = Key("receiver", path)
    else:
        path = get_path(type(receiver))
        is_muted = receiver.name in get_muted()
        key = Key("receiver", receiver.name, "muted" if is_muted else "")
        if not is_muted:
            for capture in captures.get():
                capture.heard.append(_make_heard(receiver.name, **arguments))
    span = parent.get_child(key)
    span.path = path
    return span
