"""The spans that are open: what is sent, collected and queried now is theirs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter

from django_signal_kit.sight.spans import Span

#: The spans that are open here, the outermost first.
_spans: ContextVar[tuple[Span, ...]] = ContextVar("signal_kit_spans", default=())


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
