"""What one task flushes, and how it gets into a queue."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from django_signal_kit.tasks.framework import get_backend, is_immediate, make_task
from django_signal_kit.tasks.options import TaskOptions

_HOME = f"{__package__}.running"

#: By which workers know the task. What waits in a queue names it: it may never move.
TASK_PATH = f"{_HOME}.flush_collected"


@dataclass(frozen=True, slots=True)
class Batch:
    """The arguments of the task, all of them JSON."""

    receiver: str
    using: str
    items: list[Any]
    context: dict[str, Any]
    #: Counted from 1; how often a backend that retries by itself has run it comes on top.
    attempt: int = 1
    #: The key of its row in the outbox, if that keeps it until it is flushed.
    row: str | None = None

    @classmethod
    def from_arguments(
        cls,
        receiver: str,
        items: list[Any],
        using: str,
        carried: dict[str, Any],
        attempt: int = 1,
        row: str | None = None,
        **kwargs: Any,
    ) -> Batch:
        """From what :meth:`get_arguments` gave, of this version of the kit or a later one."""
        return cls(receiver, using, items, carried, attempt, row)

    def get_arguments(self) -> dict[str, Any]:
        # Not "context": that is what Django gives to a task.
        arguments = {
            "receiver": self.receiver,
            "items": self.items,
            "using": self.using,
            "carried": self.context,
            "attempt": self.attempt,
        }
        return arguments if self.row is None else {**arguments, "row": self.row}

    def enqueue(self, options: TaskOptions, run_after: datetime | None = None) -> None:
        """Give it to the backend, or run it where the backend would do so at once. Raises what the
        backend raises."""
        if run_after is None and is_immediate(get_backend(options.backend)):
            self._run_here()
            return
        attempts = max(options.attempts - self.attempt + 1, 1)
        task = make_task(get_functions(), options, run_after=run_after, attempts=attempts)
        task.enqueue(**self.get_arguments())

    def _run_here(self) -> None:
        """As an ImmediateBackend does, which would keep to itself whatever is raised: SystemExit,
        too, and log what the caller is just handling."""
        flush_function, _ = get_functions()
        arguments = json.loads(json.dumps(self.get_arguments()))
        # What fails has been told.
        with suppress(Exception):
            flush_function(SimpleNamespace(attempt=1), **arguments)


def get_functions() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """What the task runs, and what says how long a failed one waits. It makes tasks itself when it
    fails, so it is found as workers find it: by its path."""
    home: Any = import_module(_HOME)
    return home.flush_function, home.back_off
