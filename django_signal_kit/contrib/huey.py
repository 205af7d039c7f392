"""Huey: each task takes the context of its sender along."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from huey.signals import SIGNAL_ENQUEUED

from django_signal_kit.tasks.context import pack, unpack

#: The argument in which it travels. The function of the task does not see it.
ARGUMENT = "signal_kit_context"


def carry_context(huey: Any) -> None:
    """Call it once with the huey instance, where the tasks are: from then on ``get_context()``
    says in each task, and in those of its pipeline, who has sent it, in which request, and why.
    """
    huey.signal(SIGNAL_ENQUEUED)(_send)
    huey.pre_execute("signal_kit_context")(_begin)


def _send(signal: str, task: Any, *args: Any) -> None:
    """Called just before the task is written to the queue."""
    packed = pack()
    if packed is None:
        return
    for one in _list_all(task):
        # One that is tried again has its own.
        one.kwargs = {ARGUMENT: packed, **one.kwargs}


def _list_all(task: Any) -> Iterator[Any]:
    """The task, and those that are sent when it has ended, from a worker."""
    if task is not None:
        yield task
        yield from _list_all(task.on_complete)
        yield from _list_all(task.on_error)
        chord = getattr(task, "chord_config", None)
        yield from _list_all(chord and chord.callback)


def _begin(task: Any) -> None:
    if ARGUMENT in task.kwargs:
        task.execute = partial(_execute, task, task.execute)


def _execute(task: Any, execute: Callable[[], Any]) -> Any:
    del task.execute
    kwargs = task.kwargs
    task.kwargs = {name: value for name, value in kwargs.items() if name != ARGUMENT}
    try:
        with unpack(kwargs[ARGUMENT]):
            return execute()
    finally:
        # If it is tried again, it is sent as it is.
        task.kwargs = kwargs
