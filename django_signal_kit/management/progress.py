"""How far a long command is, as a line on a terminal. Anywhere else nothing is written."""

from __future__ import annotations

import time
from types import TracebackType

from django.core.management.base import OutputWrapper

_WIDTH = 30
_INTERVAL = 0.1


class Progress:
    """``with Progress(self.stderr) as progress: progress.show(0.5, "500 rows")``."""

    def __init__(self, stream: OutputWrapper, *, quiet: bool = False) -> None:
        self.stream = stream
        self.is_shown = not quiet and stream.isatty()
        self._next = 0.0
        self._length = 0

    def show(self, fraction: float, note: str) -> None:
        """Draw the line anew, but not more often than one can read."""
        now = time.monotonic()
        if not self.is_shown or now < self._next:
            return
        self._next = now + _INTERVAL
        fraction = min(max(fraction, 0.0), 1.0)
        full = round(fraction * _WIDTH)
        self._write(f"[{'#' * full}{'.' * (_WIDTH - full)}] {fraction:4.0%}  {note}")

    def _write(self, line: str) -> None:
        # Not in the red of errors, and without an end.
        self.stream.write(f"\r{line.ljust(self._length)}", str, ending="")
        self.stream.flush()
        self._length = len(line)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._length:
            self._write("")
            self._write("")
