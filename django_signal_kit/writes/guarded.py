"""The UPDATE of a save, handed to a receiver that lets it find its row on a condition."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any, TypeAlias

from django.db.models import Model

from django_signal_kit.units.unit import UnitOfWork, get_unit

#: Called in the place of ``Model._do_update()``, with that method, bound, in front of its
#: arguments. Returns what that returns.
Guard: TypeAlias = Callable[..., Any]

#: The models of which a receiver guards updates.
guarded: set[type[Model]] = set()

_NOTE = "guard"


def guard(unit: UnitOfWork, found: Guard) -> None:
    """The save in progress updates its row through ``found``."""
    unit.notes[_NOTE] = found


def wrap_do_update(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def _do_update(self: Model, *args: Any, **kwargs: Any) -> Any:
        unit = get_unit()
        if unit is None or _NOTE not in unit.notes or unit.instance is not self:
            return original(self, *args, **kwargs)
        return unit.notes[_NOTE](partial(original, self), *args, **kwargs)

    return _do_update
