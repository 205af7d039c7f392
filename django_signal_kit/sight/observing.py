"""What a trace puts in the place of Django's functions, and of the kit's, while one is open.

Without a trace they are the very functions that they are without this module.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import wraps
from time import perf_counter
from typing import Any, TypeAlias

from django.db.backends.utils import CursorWrapper
from django.db.models import Model
from django.dispatch import Signal

from django_signal_kit.current import get_muted
from django_signal_kit.sight.captured import Collected, Flushed, Heard, captures
from django_signal_kit.sight.names import get_label, get_name
from django_signal_kit.sight.places import find_caller
from django_signal_kit.sight.spans import Key, Span
from django_signal_kit.units import journal, unit
from django_signal_kit.wiring.listing import get_path, get_receiver

Function: TypeAlias = Callable[..., Any]

#: The spans that are open here, the outermost first.
_spans: ContextVar[tuple[Span, ...]] = ContextVar("signal_kit_spans", default=())
#: The signal whose receivers are asked for.
_sent: ContextVar[Signal | None] = ContextVar("signal_kit_sent", default=None)

_lock = threading.Lock()
_open = 0
#: (Owner, name) -> what was there, and what stands in its place.
_placed: dict[tuple[Any, str], tuple[Any, Any]] = {}


def start() -> None:
    """A trace is opened. The first one, in whichever thread, puts the functions in place."""
    global _open
    with _lock:
        _open += 1
        if _open == 1:
            for owner, name, make in _PATCHES:
                if (owner, name) in _placed:
                    # Somebody has wrapped it since: it is in his hands.
                    continue
                original = vars(owner)[name]
                ours = make(original)
                _placed[owner, name] = original, ours
                setattr(owner, name, ours)


def stop() -> None:
    """A trace is closed. The last one puts back what was there, unless somebody has put something
    else in its place meanwhile: what he has wrapped does nothing without a trace."""
    global _open
    with _lock:
        _open -= 1
        if _open == 0:
            for (owner, name), (original, ours) in list(_placed.items()):
                present = vars(owner)[name]
                if present is ours:
                    setattr(owner, name, original)
                if present in (ours, original):
                    del _placed[owner, name]


def get_current() -> Span | None:
    """The innermost span that is open here."""
    spans = _spans.get()
    return spans[-1] if spans else None


def is_running(span: Span) -> bool:
    return any(other is span for other in _spans.get())


@contextmanager
def running(span: Span) -> Iterator[Span]:
    """``span`` runs once more: what is sent and collected meanwhile is its own. Those of two
    generators may end in the order in which they began."""
    _spans.set((*_spans.get(), span))
    started = perf_counter()
    span.count += 1
    try:
        yield span
    except BaseException as error:
        span.note_error(error)
        raise
    finally:
        span.seconds += perf_counter() - started
        _close(span)


def _close(span: Span) -> None:
    spans = _spans.get()
    # An async generator may be closed in another context, where it was never open.
    for number in range(len(spans) - 1, -1, -1):
        if spans[number] is span:
            _spans.set(spans[:number] + spans[number + 1 :])
            return


# Signals


def _make_send(original: Function) -> Function:
    @wraps(original)
    def send(self: Signal, sender: Any, **named: Any) -> Any:
        span = _get_signal_span(self, sender)
        if span is None:
            return original(self, sender, **named)
        with _sending(span, self, named):
            responses = original(self, sender, **named)
        return [_untrace(*pair) for pair in responses]

    return send


def _make_asend(original: Function) -> Function:
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


def _make_live_receivers(original: Function) -> Function:
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


# Flushes


def _make_collect(original: Function) -> Function:
    @wraps(original)
    def collect(receiver: Any, item: Any, *args: Any, **kwargs: Any) -> Any:
        span = get_current()
        if span is not None:
            # That of a flush is what it flushes.
            span.collected += span.key.kind != "flush"
            for capture in captures.get():
                # For a task an item waits with its context.
                told = getattr(item, "stands_for", item)
                capture.collected.append(Collected(receiver.name, told))
        return original(receiver, item, *args, **kwargs)

    return collect


def _make_collect_all(original: Function) -> Function:
    @wraps(original)
    def collect_all(receiver: Any, items: Any, flush_on: Any, using: Any) -> None:
        if get_current() is None:
            original(receiver, items, flush_on, using)
            return
        for item in items:
            unit.collect(receiver, item, None, flush_on, using)

    return collect_all


def _make_flush(original: Function) -> Function:
    @wraps(original)
    def flush_now(receiver: Any, items: list[Any]) -> None:
        parent = get_current()
        if parent is None:
            original(receiver, items)
            return
        if hasattr(receiver, "stands_for"):
            # It flushes into a task, in which the receiver is to flush.
            receiver_class, when = type(receiver.stands_for), "to a task"
        else:
            # What sends tasks out of the outbox is no receiver, and does so after the commit.
            flush_on = getattr(receiver, "flush_on", "after_commit")
            receiver_class, when = type(receiver), flush_on.replace("_", " ")
            for capture in captures.get():
                capture.flushed.append(Flushed(receiver.name, list(items)))
        span = parent.get_child(Key("flush", receiver.name, when))
        span.path = get_path(receiver_class)
        span.collected += len(items)
        with running(span):
            original(receiver, items)

    return flush_now


# Queries


def _make_execute(original: Function) -> Function:
    @wraps(original)
    def execute(self: CursorWrapper, *args: Any, **kwargs: Any) -> Any:
        span = get_current()
        if span is not None:
            span.queries += 1
        return original(self, *args, **kwargs)

    return execute


_PATCHES: list[tuple[Any, str, Callable[[Function], Function]]] = [
    (Signal, "_live_receivers", _make_live_receivers),
    (Signal, "send", _make_send),
    (Signal, "send_robust", _make_send),
    (Signal, "asend", _make_asend),
    (Signal, "asend_robust", _make_asend),
    (CursorWrapper, "execute", _make_execute),
    (CursorWrapper, "executemany", _make_execute),
    (unit, "collect", _make_collect),
    (unit, "collect_all", _make_collect_all),
    (journal, "flush_now", _make_flush),
]
