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

from django_signal_kit.current import get_muted
from django_signal_kit.receiver import ModelReceiver
from django_signal_kit.rows.snapshots import is_written_together
from django_signal_kit.units.unit import get_unit
from django_signal_kit.writes.instances import note_created

Function: TypeAlias = Callable[..., Any]
#: Rows, and the other arguments of the pre_save or post_save of each.
Calls: TypeAlias = tuple[Iterable[Model], dict[str, Any]]

_OPERATIONS = ("bulk_create", "bulk_update", "queryset_update")


def make_functions(
    receiver: ModelReceiver, functions: Mapping[str, Function], *, is_watched: bool = False
) -> dict[str, Function]:
    """Name of a bulk signal -> what to connect to it so that the row methods hear its rows.

    For a receiver that hears bulk writes at all. If it ``is_watched``, each row is a call.
    """
    made: dict[str, Function] = {}
    together = {} if is_watched else receiver._get_methods_for_all()
    for operation in _OPERATIONS:
        is_own = f"pre_{operation}" in functions or f"post_{operation}" in functions
        if is_own or (operation == "queryset_update" and receiver.bulk != "all"):
            continue
        for phase in ("pre", "post"):
            if f"{phase}_save" in functions:
                split = _SPLITTERS[operation, phase]
                function = _spread(functions[f"{phase}_save"], split)
                if f"{phase}_save" in together:
                    hear_all = together[f"{phase}_save"]
                    function = _hear_together(receiver.name, function, split, hear_all)
                made[f"{phase}_{operation}"] = function
    return made


def _hear_together(
    name: str, function: Function, split: Callable[..., Calls], hear_all: Function
) -> Function:
    """``hear_all`` in the place of ``function``, wherever the rows are those of the write in
    progress, and of the model itself."""

    @wraps(function)
    def receive(sender: Any, using: str, **arguments: Any) -> None:
        unit = get_unit()
        if unit is None or not is_written_together(unit, sender):
            function(sender=sender, using=using, **arguments)
            return
        if name not in get_muted():
            rows, more = split(**arguments)
            hear_all(sender, rows, using, **more)

    return receive


def _spread(function: Function, split: Callable[..., Calls]) -> Function:
    if iscoroutinefunction(function):

        @wraps(function)
        async def receive(signal: Any, sender: Any, using: str, **arguments: Any) -> None:
            rows, more = split(**arguments)
            for row in in_progress(rows, more.get("created")):
                await function(signal=signal, sender=sender, instance=row, using=using, **more)

    else:

        @wraps(function)
        def receive(signal: Any, sender: Any, using: str, **arguments: Any) -> None:
            rows, more = split(**arguments)
            for row in in_progress(rows, more.get("created")):
                function(signal=signal, sender=sender, instance=row, using=using, **more)

    return receive


def in_progress(rows: Iterable[Model], created: bool | None = None) -> Iterator[Model]:
    """``rows``; while a receiver is told of one, it is what the unit of work writes."""
    unit = get_unit()
    for row in rows:
        if unit is not None:
            unit.instance = row
        if created:
            note_created(row)
        yield row
    if unit is not None:
        unit.instance = None


def _split_pre_create(objs: Iterable[Model], **arguments: Any) -> Calls:
    return objs, {"raw": False, "update_fields": None}


def _split_post_create(
    objs: Iterable[Model], ignore_conflicts: bool, update_conflicts: bool, **arguments: Any
) -> Calls:
    created = None if ignore_conflicts or update_conflicts else True
    return objs, {"raw": False, "update_fields": None, "created": created}


def _split_pre_update(objs: Iterable[Model], fields: Any, **arguments: Any) -> Calls:
    return objs, {"raw": False, "update_fields": fields}


def _split_post_update(objs: Iterable[Model], fields: Any, **arguments: Any) -> Calls:
    return objs, {"raw": False, "update_fields": fields, "created": False}


def _split_pre_queryset(rows: Any, values: Any, **arguments: Any) -> Calls:
    return rows or (), {"raw": False, "update_fields": frozenset(values)}


def _split_post_queryset(rows: Any, values: Any, **arguments: Any) -> Calls:
    return rows or (), {"raw": False, "update_fields": frozenset(values), "created": False}


_SPLITTERS: dict[tuple[str, str], Callable[..., Calls]] = {
    ("bulk_create", "pre"): _split_pre_create,
    ("bulk_create", "post"): _split_post_create,
    ("bulk_update", "pre"): _split_pre_update,
    ("bulk_update", "post"): _split_post_update,
    ("queryset_update", "pre"): _split_pre_queryset,
    ("queryset_update", "post"): _split_post_queryset,
}
