"""What a trace puts in the place of Django's functions, and of the kit's, while one is open.

Without a trace they are the very functions that they are without this module.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeAlias

from django.db.backends.utils import CursorWrapper
from django.dispatch import Signal

from django_signal_kit.sight.captured import Collected, Flushed, captures
from django_signal_kit.sight.running import get_current, running
from django_signal_kit.sight.sending import make_asend, make_live_receivers, make_send
from django_signal_kit.sight.spans import Key
from django_signal_kit.units import journal, unit
from django_signal_kit.wiring.listing import get_path

Function: TypeAlias = Callable[..., Any]

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


def _make_execute(original: Function) -> Function:
    @wraps(original)
    def execute(self: CursorWrapper, *args: Any, **kwargs: Any) -> Any:
        span = get_current()
        if span is not None:
            span.queries += 1
        return original(self, *args, **kwargs)

    return execute


_PATCHES: list[tuple[Any, str, Callable[[Function], Function]]] = [
    (Signal, "_live_receivers", make_live_receivers),
    (Signal, "send", make_send),
    (Signal, "send_robust", make_send),
    (Signal, "asend", make_asend),
    (Signal, "asend_robust", make_asend),
    (CursorWrapper, "execute", _make_execute),
    (CursorWrapper, "executemany", _make_execute),
    (unit, "collect", _make_collect),
    (unit, "collect_all", _make_collect_all),
    (journal, "flush_now", _make_flush),
]
