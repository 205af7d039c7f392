"""What a bulk write has written, and when, noted before receivers of others are told of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import Model
from django.dispatch import Signal

from django_signal_kit.rows.written import note_written
from django_signal_kit.units.statements import get_tables
from django_signal_kit.units.unit import UnitOfWork

_LINKS = "links"
_OURS = f"{__name__.partition('.')[0]}."


def note_all(
    unit: UnitOfWork,
    signal: Signal,
    model: type[Model],
    instances: Iterable[Model],
    names: Iterable[str] | None = None,
) -> None:
    """A bulk write has written the fields ``names`` of ``instances``, or all; ``signal`` tells it.

    The receivers of the kit leave the instances as they are. Where no others hear the signal,
    nothing is noted: it would cost memory for each row.
    """
    if any(map(_is_of_others, _list_receivers(signal, model))):
        names = None if names is None else [*names]
        for instance in instances:
            note_written(unit, instance, names, is_asked=True)


def note_links(unit: UnitOfWork) -> None:
    """``unit`` is a call of a many-to-many manager, which makes links by a bulk write."""
    unit.notes[_LINKS] = True


def note_made(unit: UnitOfWork, model: type[Model]) -> None:
    """A bulk write has made rows of ``model``; a manager that called it tells of them next."""
    unit.note_statement(get_tables(model))
    outer = unit.parent
    if outer is not None and _LINKS in outer.notes:
        outer.order, outer.at = unit.order, unit.at


def _list_receivers(signal: Any, model: type[Model]) -> Iterable[Any]:
    found, asynchronous = signal._live_receivers(model)
    return (*found, *asynchronous)


def _is_of_others(function: Any) -> bool:
    receiver = getattr(function, "signal_kit_receiver", None)
    return receiver is None or not type(receiver).__module__.startswith(_OURS)
