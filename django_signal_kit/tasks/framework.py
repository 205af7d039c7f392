"""Django's tasks, of Django itself or of the package they grew from, and what they run on."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import datetime
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from django_signal_kit.tasks.options import TaskOptions

_NAMES = ("django.tasks", "django_tasks")


@cache
def find_framework() -> Any:
    """The package ``django.tasks``, or ``django_tasks`` where Django has none; else None."""
    for name in _NAMES:
        if find_spec(name) is not None:
            return import_module(name)
    return None


def get_backend(alias: str) -> Any:
    """The backend of this alias of the setting TASKS. Raises what Django raises if it cannot be
    made, and LookupError if there is no framework."""
    framework = find_framework()
    if framework is None:
        raise LookupError("There is no django.tasks.")
    return framework.task_backends[alias]


def make_task(
    functions: tuple[Callable[..., Any], Callable[..., Any]],
    options: TaskOptions,
    *,
    attempts: int,
    run_after: datetime | None = None,
) -> Any:
    """A task of the class that its backend asks for, of what it runs and what says how long it
    waits when it has failed. Raises what Django raises if the backend takes no such task."""
    function, back_off = functions
    backend = get_backend(options.backend)
    policy = {"max_attempts": attempts, "backoff": back_off} if retries(backend) else {}
    return backend.task_class(
        func=function,
        priority=options.priority,
        backend=options.backend,
        queue_name=options.queue,
        run_after=run_after,
        takes_context=True,
        **policy,
    )


def make_any_task(
    functions: tuple[Callable[..., Any], Callable[..., Any]], options: TaskOptions
) -> Any:
    """A task to be found by its path, of which each message says in which queue it is."""
    backend = get_backend(options.backend)
    queue = options.queue
    if backend.queues and queue not in backend.queues:
        queue = min(backend.queues)
    options = replace(options, queue=queue, priority=0)
    return make_task(functions, options, attempts=options.attempts)


def retries(backend: Any) -> bool:
    """Does it run a task again by itself, as often and as late as the task says?"""
    return {"max_attempts", "backoff"} <= {field.name for field in fields(backend.task_class)}


def is_immediate(backend: Any) -> bool:
    """Does it run a task at once, in the process that enqueues it?"""
    return _is_one_of(backend, "immediate.ImmediateBackend")


def is_inline(backend: Any) -> bool:
    """Does it run a task at once, or never: is it one for development and tests?"""
    return _is_one_of(backend, "immediate.ImmediateBackend", "dummy.DummyBackend")


def _is_one_of(backend: Any, *paths: str) -> bool:
    known = {f"{name}.backends.{path}" for name in _NAMES for path in paths}
    return any(get_path(cls) in known for cls in type(backend).__mro__)


def get_path(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def forget_backends() -> None:
    """The setting TASKS has changed. Django hears of it too, but perhaps after us."""
    for name in _NAMES:
        signals = sys.modules.get(f"{name}.signals")
        clear = getattr(signals, "clear_tasks_handlers", None)
        if clear is not None:
            clear(setting="TASKS")
