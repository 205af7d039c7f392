"""Rows that are stamped because another row, which belongs to them, was changed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import reduce
from operator import or_
from typing import Any, NamedTuple

from django.db.models import Model, Q, QuerySet

from django_signal_kit.current import Scope
from django_signal_kit.stamps.paths import Path

_is_off: ContextVar[bool] = ContextVar("signal_kit_no_touching", default=False)
# Is the UPDATE of a touch going on? It is a write like any other, but touches nobody itself.
_is_touching: ContextVar[bool] = ContextVar("signal_kit_touching", default=False)


class touching(Scope):  # noqa: N801
    """``with touching(False):`` no row is stamped because another one was changed.

    In this thread and this async task only; nests, decorates. Rows that are written themselves are
    stamped as ever. ``touching(True)`` inside turns it on again.
    """

    variable = _is_off

    def __init__(self, is_on: bool) -> None:
        self.is_on = is_on

    def get_change(self) -> bool:
        return not self.is_on

    @staticmethod
    def merge(outer: bool, change: bool) -> bool:
        return change

    def copy(self) -> touching:
        return touching(self.is_on)


def no_touching() -> touching:
    """``touching(False)``, by the name that reads best: ``with no_touching():``."""
    return touching(False)


def is_off() -> bool:
    """May nobody be touched here?"""
    return _is_off.get() or _is_touching.get()


class Touch(NamedTuple):
    """Rows of one model to be stamped at the end of the unit of work."""

    using: str
    #: Their model.
    target: type[Model]
    #: How they are found; None by ``keys`` of their own.
    path: Path | None
    #: The column by which ``key`` names a row: of ``target``, or of the model at which ``path``
    #: begins. Empty: ``key`` is what the first foreign key of the path holds.
    attname: str
    key: Any
    #: The row was stamped by its own write in this unit, and has no need of it.
    is_done: bool = False


def update_all(
    touches: Iterable[Touch], make_values: Callable[[type[Model], str], dict[str, Any]]
) -> None:
    """One UPDATE for each model. ``make_values(model, using)``: what is written."""
    groups: dict[tuple[str, type[Model]], list[Touch]] = {}
    for touch in touches:
        groups.setdefault((touch.using, touch.target), []).append(touch)
    for (using, target), some in groups.items():
        conditions = list(_make_conditions([touch for touch in some if not touch.is_done]))
        if not conditions:
            continue
        rows: QuerySet[Any] = QuerySet(target, using=using)
        rows = rows.filter(reduce(or_, conditions))
        if done := [touch.key for touch in some if touch.is_done]:
            rows = rows.exclude(pk__in=done)
        with _touching():
            rows.update(**make_values(target, using))


def _make_conditions(touches: Collection[Touch]) -> Iterator[Q]:
    groups: dict[tuple[str, Path | None, str], list[Any]] = {}
    for touch in touches:
        groups.setdefault((touch.using, touch.path, touch.attname), []).append(touch.key)
    for (using, path, attname), keys in groups.items():
        if path is None:
            yield Q(**{f"{attname}__in": keys})
        elif attname:
            yield path.select_from(attname, keys, using)
        else:
            yield path.select(keys, using)


@contextmanager
def _touching() -> Iterator[None]:
    token = _is_touching.set(True)
    try:
        yield
    finally:
        _is_touching.reset(token)
