"""What receivers heard, collected and flushed in a block, for the assertions of tests."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from django.db.models import Model

from django_signal_kit.receiver import Receiver
from django_signal_kit.sight.captured import Captured, Heard, captures
from django_signal_kit.sight.tracing import trace
from django_signal_kit.wiring.muting import get_names


class Capture(Captured):
    """``with Capture() as captured:``; sees what a :class:`~.tracing.trace` sees.

    ``heard``, ``collected`` and ``flushed`` are lists, in order. A receiver that is muted hears
    nothing. The assertions name the kit's receivers by name or class, which means its subclasses
    too, and say what did run when they fail.
    """

    def __init__(self) -> None:
        super().__init__()
        #: What ran, as a tree.
        self.trace = trace()
        self._token: Any = None

    def __enter__(self) -> Self:
        self.trace.__enter__()
        self._token = captures.set((*captures.get(), self))
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        captures.reset(self._token)
        self.trace.__exit__(exc_type, exc, traceback)

    def get_heard(
        self, receiver: str | type[Receiver], instance: Model | None = None, signal: str = ""
    ) -> list[Heard]:
        """The calls of a receiver; of those only those about ``instance``, and of ``signal``. Of a
        bulk write there is one for all rows. Raises LookupError for what is not wired."""
        names = get_names([receiver])
        return [
            heard
            for heard in self.heard
            if heard.receiver in names
            and (instance is None or heard.is_about(instance))
            and signal in ("", heard.signal)
        ]

    def get_items(self, receiver: str | type[Receiver]) -> list[Any]:
        """What a receiver has collected, in order."""
        names = get_names([receiver])
        return [collected.item for collected in self.collected if collected.receiver in names]

    def get_flushes(self, receiver: str | type[Receiver]) -> list[list[Any]]:
        """The items of each flush of a receiver."""
        names = get_names([receiver])
        return [flushed.items for flushed in self.flushed if flushed.receiver in names]

    def assert_received(
        self,
        receiver: str | type[Receiver],
        instance: Model | None = None,
        signal: str = "",
        times: int | None = None,
    ) -> None:
        """Raises AssertionError unless ``receiver`` was called, about ``instance`` and by
        ``signal`` if they are given: once at least, or just so many ``times``."""
        found = self.get_heard(receiver, instance, signal)
        if len(found) != times if times is not None else not found:
            wanted = "at least once" if times is None else _tell_times(times)
            self._fail(f"{_tell(receiver)} was called {_tell_times(len(found))}, not {wanted}")

    def assert_not_received(
        self, receiver: str | type[Receiver], instance: Model | None = None, signal: str = ""
    ) -> None:
        """Raises AssertionError if ``receiver`` was called."""
        self.assert_received(receiver, instance, signal, times=0)

    def assert_num_flushes(self, receiver: str | type[Receiver], times: int) -> None:
        """Raises AssertionError unless ``receiver`` has flushed just so many times."""
        found = len(self.get_flushes(receiver))
        if found != times:
            self._fail(
                f"{_tell(receiver)} has flushed {_tell_times(found)}, not {_tell_times(times)}"
            )

    def _fail(self, sentence: str) -> None:
        raise AssertionError(f"{sentence}. This ran:\n{self.trace}")


def _tell(receiver: str | type[Receiver]) -> str:
    return receiver if isinstance(receiver, str) else receiver.__name__


def _tell_times(times: int) -> str:
    return "never" if times == 0 else "once" if times == 1 else f"{times} times"
