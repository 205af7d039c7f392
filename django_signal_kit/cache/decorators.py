"""Functions whose results are cached until one of their tags is touched."""

from __future__ import annotations

import datetime as dt
import inspect
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.db.models import Model

from django_signal_kit.cache import recalled, steps
from django_signal_kit.cache.entry import Entry, refuse_text
from django_signal_kit.cache.freshness import check_times
from django_signal_kit.cache.steps import Steps
from django_signal_kit.cache.tagged import tagged

F = TypeVar("F", bound=Callable[..., Any])

# What reads the same in every process.
_PLAIN = (type(None), bool, int, float, str, bytes, Decimal, UUID, dt.date, dt.time, dt.timedelta)


def cached(
    *,
    tags: Sequence[str] | Callable[..., Iterable[str]],
    key: str | None = None,
    timeout: float | None = DEFAULT_TIMEOUT,
    alias: str = "default",
    stale: float = 0,
    early: float = 0,
    collect: bool = False,
) -> Callable[[F], F]:
    """Cache what a function returns, for each set of its arguments.

    ``tags`` and ``key`` are templates over the arguments by name, ``"product:{pk}"`` or
    ``"category:{product.category_id}"``; ``tags`` may be a function of the arguments instead.
    Without ``key`` the function's own name and its arguments are the key: then those have to be
    saved rows, numbers, text, dates or the like, or lists of such, else the call raises TypeError.
    ``alias`` as in :func:`~django_signal_kit.cache.tagged`; ``timeout``, ``stale`` and ``early``
    as in its ``get_or_set()``. ``collect``: what the function uses adds its tags, as in
    :func:`~django_signal_kit.cache.collect_tags`; a hit is two calls of the cache then, and the
    first result is not stored. Takes ``async def`` functions too.
    """

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        name = f"{function.__module__}.{function.__qualname__}"

        def prepare(*args: Any, **kwargs: Any) -> tuple[str, list[str]]:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            given = bound.arguments
            if key is None:
                said = ",".join(f"{n}={_say(value, name, n)}" for n, value in given.items())
                own_key = f"{name}({said})"
            else:
                own_key = key.format(**given)
            if callable(tags):
                return own_key, list(tags(*args, **kwargs))
            return own_key, [tag.format(**given) for tag in tags]

        def plan(*args: Any, **kwargs: Any) -> Steps:
            own_key, own_tags = prepare(*args, **kwargs)
            if collect:
                return recalled.look_up(alias, own_key, own_tags, timeout, stale, early)
            return tagged(alias).look_up(Entry(alias, own_key, own_tags, timeout, stale, early))

        return steps.decorate(function, plan)

    refuse_text(tags)
    check_times(stale, early)
    return decorate


def _say(value: Any, function: str, name: str) -> str:
    """``value`` as text that is another for each other value, and the same in each process."""
    if isinstance(value, _PLAIN):
        return repr(value)
    if isinstance(value, Model) and value.pk is not None:
        return f"<{value._meta.label} {value.pk!r}>"
    if isinstance(value, (list, tuple)):
        return f"[{','.join(_say(item, function, name) for item in value)}]"
    if isinstance(value, (set, frozenset)):
        return f"{{{','.join(sorted(_say(item, function, name) for item in value))}}}"
    if isinstance(value, dict):
        items = sorted(
            (_say(k, function, name), _say(v, function, name)) for k, v in value.items()
        )
        return f"{{{','.join(f'{k}:{v}' for k, v in items)}}}"
    raise TypeError(
        f"The argument {name!r} of {function} is a {type(value).__name__}, of which no cache key "
        f"can be made. Give cached() a key, such as key='{name}:{{{name}.id}}'."
    )
