"""Bulk writes, told row by row to receivers that know only ``pre_save`` and ``post_save``.

``created`` and ``update_fields`` are as true as the database lets them be: after
``ignore_conflicts`` and after an upsert nobody can say which rows are new: ``created`` is None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, TypeAlias

from django.db.models import Model

from django_signal_kit.receiver import ModelReceiver
from django_signal_kit.units.unit import get_unit
from django_signal_kit.writes.instances import note_created

Function: TypeAlias = Callable[..., Any]
#: An instance, and the arguments of its pre_save or post_save.
Call: TypeAlias = tuple[Model, dict[str, Any]]

_OPERATIONS = ("bulk_create", "bulk_update", "queryset_update")


def make_functions(
    receiver: ModelReceiver, functions: Mapping[str, Function]
) -> dict[str, Function]:
    """Name of a bulk signal -> what to connect to it so that the row methods hear its rows.

    For a receiver that hears bulk writes at all.
    """
    made: dict[str, Function] = {}
    for operation in _OPERATIONS:
        is_own = f"pre_{operation}" in functions or f"post_{operation}" in functions
        if is_own or (operation == "queryset_update" and receiver.bulk != "all"):
            continue
        for phase in ("pre", "post"):
            if f"{phase}_save" in functions:
                split = _SPLITTERS[operation, phase]
                made[f"{phase}_{operation}"] = _spread(functions[f"{phase}_save"], split)
    return made


def _spread(function: Function, split: Callable[..., Iterable[Call]]) -> Function:
    if iscoroutinefunction(function):

        @wraps(function)
        async def receive(signal: Any, sender: Any, using: str, **arguments: Any) -> None:
            for instance, more in _in_progress(split(**arguments)):
                await function(
                    signal=signal, sender=sender, instance=instance, using=using, **more
                )

    else:

        @wraps(function)
        def receive(signal: Any, sender: Any, using: str, **arguments: Any) -> None:
            for instance, more in _in_progress(split(**arguments)):
                function(signal=signal, sender=sender, instance=instance, using=using, **more)

    return receive


def _in_progress(calls: Iterable[Call]) -> Iterator[Call]:
    """``calls``; while one is made, its instance is what the unit of work writes."""
    unit = get_unit()
    for instance, more in calls:
        if unit is not None:
            unit.instance = instance
        if more.get("created"):
            note_created(instance)
        yield instance, more
    if unit is not None:
        unit.instance = None


def _split_pre_create(objs: Iterable[Model], **arguments: Any) -> Iterable[Call]:
    return ((obj, {"raw": False, "update_fields": None}) for obj in objs)


def _split_post_create(
    objs: Iterable[Model], ignore_conflicts: bool, update_conflicts: bool, **arguments: Any
) -> Iterable[Call]:
    created = None if ignore_conflicts or update_conflicts else True
    more = {"raw": False, "update_fields": None, "created": created}
    return ((obj, more) for obj in objs)


def _split_pre_update(objs: Iterable[Model], fields: Any, **arguments: Any) -> Iterable[Call]:
    return ((obj, {"raw": False, "update_fields": fields}) for obj in objs)


def _split_post_update(objs: Iterable[Model], fields: Any, **arguments: Any) -> Iterable[Call]:
    return ((obj, {"raw": False, "update_fields": fields, "created": False}) for obj in objs)


def _split_pre_queryset(rows: Any, values: Any, **arguments: Any) -> Iterable[Call]:
    return ((row, {"raw": False, "update_fields": frozenset(values)}) for row in rows or ())


def _split_post_queryset(rows: Any, values: Any, **arguments: Any) -> Iterable[Call]:
    more = {"raw": False, "update_fields": frozenset(values), "created": False}
    return ((row, more) for row in rows or ())


_SPLITTERS: dict[tuple[str, str], Callable[..., Iterable[Call]]] = {
    ("bulk_create", "pre"): _split_pre_create,
    ("bulk_create", "post"): _split_post_create,
    ("bulk_update", "pre"): _split_pre_update,
    ("bulk_update", "post"): _split_post_update,
    ("queryset_update", "pre"): _split_pre_queryset,
    ("queryset_update", "post"): _split_post_queryset,
}
