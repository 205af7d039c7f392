"""``trace()``: what ran in a block, in which order, from which line, and what it cost."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self, TypeVar

from django_signal_kit.sight import observing, running
from django_signal_kit.sight.decorating import run_in
from django_signal_kit.sight.flame import draw
from django_signal_kit.sight.spans import Key, Span
from django_signal_kit.sight.text import render
from django_signal_kit.units.loggers import get_logger

F = TypeVar("F", bound=Callable[..., Any])

logger = get_logger("django_signal_kit.trace")


class trace:  # noqa: N801
    """Note which signals are sent in a block, which receivers hear them, what they collect and
    when that is flushed, with the line that caused each, the time and the queries::

        with trace() as found:
            product.save()
        print(found)

    Receivers of the kit and all others are noted, and so is what they set off in turn. A trace
    holds in this thread, in the async tasks that the block starts and in what ``sync_to_async``
    runs for it; threads that it starts otherwise are not seen. Traces nest: the inner one has what
    runs in it, and the outer one has it, too.

    It decorates functions and ``async def`` ones; each call is a trace of its own then, which is
    logged at INFO by the logger ``django_signal_kit.trace`` unless ``report`` says otherwise.

    While any trace is open, signals cost some microseconds more in all threads; when none is,
    nothing: Django's own functions are in place.

    ``report``: called with the trace when the block has ended, by an exception too.
    ``slower_than``: milliseconds; what took less is not reported. ``sample``: from 0.0 to 1.0,
    which share of the blocks is traced at all; the others have an empty tree, and are not
    reported. Raises ValueError for a share out of bounds, and TypeError for what is no number;
    so does decorating what is no function.
    """

    def __init__(
        self,
        *,
        report: Callable[[trace], Any] | None = None,
        slower_than: float = 0,
        sample: float = 1.0,
    ) -> None:
        for name, value in (("slower_than", slower_than), ("sample", sample)):
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise TypeError(f"trace({name}={value!r}): it has to be a number.")
        if not 0 <= sample <= 1:
            raise ValueError(f"trace(sample={sample!r}): it has to be from 0.0 to 1.0.")
        self.report = report
        self.slower_than = slower_than
        self.sample = sample
        #: What ran: the span of the block, with what it set off as its children.
        self.root = Span(Key("trace", "trace"))
        self._stack: ExitStack | None = None

    def __enter__(self) -> Self:
        if self._stack is not None:
            raise RuntimeError("This trace() is open already. Make one for each block.")
        self._stack = ExitStack()
        if self.sample == 1 or random.random() < self.sample:
            observing.start()
            self._stack.callback(observing.stop)
            if (outer := running.get_current()) is not None:
                self._stack.callback(self._add_to, outer)
            self._stack.enter_context(running.running(self.root))
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        stack, self._stack = self._stack, None
        assert stack is not None
        stack.__exit__(exc_type, exc, traceback)
        if self.report is not None and self.root.count and self.ms >= self.slower_than:
            self.report(self)

    def _add_to(self, outer: Span) -> None:
        # That of a generator may have ended, and been reported.
        if running.is_running(outer):
            outer.get_child(self.root.key).add(self.root)

    @property
    def ms(self) -> float:
        """How long the block took, in milliseconds."""
        return self.root.seconds * 1000

    def find(self, name: str) -> Iterator[Span]:
        """The spans of a receiver, by its name or dotted path, or of a signal, in order."""
        return (span for span in self.root.walk() if name in (span.key.name, span.path))

    def as_json(self, indent: int | None = 2) -> str:
        """The tree as JSON: see :meth:`~django_signal_kit.sight.spans.Span.as_dict`."""
        return json.dumps(self.root.as_dict(), indent=indent)

    def as_svg(self) -> str:
        """A flame graph that needs nothing else: wider took longer."""
        return draw(self.root)

    def as_text(self, width: int = 100) -> str:
        """A tree for a terminal of that many columns."""
        return render(self.root, width)

    def __str__(self) -> str:
        return self.as_text()

    def __call__(self, function: F) -> F:
        return run_in(self._again, function, "trace", "Use it as a block: with trace() as found:")

    def _again(self) -> trace:
        report = _log if self.report is None else self.report
        return trace(report=report, slower_than=self.slower_than, sample=self.sample)


def _log(found: trace) -> None:
    logger.info("%s", found, extra={"trace": found.root.as_dict()})
