"""What one task flushes, and how it gets into a queue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import datetime
from importlib import import_module
from typing import Any

from django_signal_kit.tasks.context import pack_context
from django_signal_kit.tasks.framework import make_task
from django_signal_kit.tasks.options import TaskOptions


@dataclass(frozen=True, slots=True)
class Batch:
    """The fields are the arguments of the task, all of them JSON."""

    receiver: str
    using: str
    items: list[Any]
    context: dict[str, Any]
    #: Counted from 1.
    attempt: int = 1

    @classmethod
    def make(cls, receiver: str, using: str, items: list[Any]) -> Batch:
        return cls(receiver, using, items, pack_context())

    def enqueue(self, options: TaskOptions, run_after: datetime | None = None) -> None:
        """Give it to the backend, which may run it at once. Raises what the backend raises."""
        task = make_task(get_function(), options, run_after)
        task.enqueue(**{field.name: getattr(self, field.name) for field in fields(self)})


def get_function() -> Callable[..., Any]:
    """What the task runs. It makes tasks itself when it fails, so it is found as workers find it:
    by its path."""
    function: Callable[..., Any] = import_module(f"{__package__}.running").flush_function
    return function
