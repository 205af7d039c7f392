"""``django.tasks``, and the package ``django-tasks`` that it grew from: a task that takes the
context of its sender along."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from functools import cache, wraps
from typing import Any, TypeVar

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.utils.module_loading import import_string

from django_signal_kit.tasks.context import pack, unpack

#: The argument that a task of this kind has beside its own.
ARGUMENT = "signal_kit_context"

T = TypeVar("T")


def carry_context(task: T) -> T:
    """Decorates a task, above ``@task``: in the worker ``get_context()`` says who has sent it, in
    which request, and why. ``enqueue()`` adds an argument ``signal_kit_context`` for that.

    Raises TypeError for what is no task.
    """
    if not hasattr(task, "enqueue") or not hasattr(task, "func"):
        raise TypeError(
            f"carry_context() decorates tasks, and {task!r} is none. Write it above @task."
        )
    given: Any = task
    carrying = _make_class(type(given))  # type: ignore[arg-type]
    values = {field.name: getattr(given, field.name) for field in fields(given)}
    return carrying(**{**values, "func": _wrap(given.func)})  # type: ignore[no-any-return]


@cache
def _make_class(base: Any) -> Any:
    class ContextTask(base):
        __slots__ = ()

        def enqueue(self, *args: Any, **kwargs: Any) -> Any:
            return super().enqueue(*args, **_add(kwargs, pack()))

        async def aenqueue(self, *args: Any, **kwargs: Any) -> Any:
            # Whoever acts may have to be looked up.
            packed = await sync_to_async(pack)()
            return await super().aenqueue(*args, **_add(kwargs, packed))

        def __reduce__(self) -> Any:
            # By where it is, as Django's own: this class has no place of its own.
            values = {field.name: getattr(self, field.name) for field in fields(self)}
            del values["func"]
            return _find, (self.module_path, values)

    return ContextTask


def _find(path: str, values: dict[str, Any]) -> Any:
    return replace(import_string(path), **values)


def _add(kwargs: dict[str, Any], packed: dict[str, Any] | None) -> dict[str, Any]:
    return kwargs if packed is None else {ARGUMENT: packed, **kwargs}


def _wrap(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def carried(*args: Any, **kwargs: Any) -> Any:
        packed = kwargs.pop(ARGUMENT, None)
        with unpack(packed):
            return function(*args, **kwargs)

    @wraps(function)
    async def carried_async(*args: Any, **kwargs: Any) -> Any:
        packed = kwargs.pop(ARGUMENT, None)
        with unpack(packed):
            return await function(*args, **kwargs)

    return carried_async if iscoroutinefunction(function) else carried
