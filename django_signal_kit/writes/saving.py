"""The statements of a save, heard where they are run.

``Model._save_table()`` is called for each table of a row, the parents' first. What is put in its
place is put into covered classes alone, and acts for instances of that very class: others, of
subclasses too, pay one comparison.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.db.models import Model

from django_signal_kit.rows.asked import read_asked
from django_signal_kit.rows.parents import read_old_parents
from django_signal_kit.rows.written import note_written
from django_signal_kit.units.statements import get_tables
from django_signal_kit.units.unit import UnitOfWork, get_unit
from django_signal_kit.writes.captured import leads_to, mark

_NAME = "_save_table"
_MISSING: Any = object()

# Model -> what it had itself in the place of ours, and ours.
_wrapped: dict[type[Model], tuple[Any, Any]] = {}
_unwanted: set[type[Model]] = set()


def cover(model: type[Model]) -> None:
    """Hear the saves of ``model``. ``settle()`` has to follow."""
    _unwanted.discard(model)
    own = vars(model).get(_NAME, _MISSING)
    if model in _wrapped:
        ours = _wrapped[model][1]
        # Somebody else may have wrapped it since.
        if own is ours or leads_to(own, ours):
            return
    ours = mark(_wrap(model, own))
    _wrapped[model] = own, ours
    setattr(model, _NAME, ours)


def uncover() -> None:
    """Hear no saves. ``settle()`` has to follow."""
    _unwanted.update(_wrapped)


def settle() -> None:
    """Give back to classes that are covered no more what they had."""
    while _unwanted:
        _unwrap(_unwanted.pop())


def _unwrap(model: type[Model]) -> None:
    own, ours = _wrapped[model]
    if vars(model).get(_NAME) is not ours:
        # Somebody else's is in front of it. There will be no unit of work for it to tell.
        return
    del _wrapped[model]
    if own is _MISSING:
        delattr(model, _NAME)
    else:
        setattr(model, _NAME, own)


def _wrap(model: type[Model], own: Any) -> Callable[..., Any]:
    concrete = model._meta.concrete_model
    tables = get_tables(model)
    is_child = len(tables) > 1
    inherited: Any = Model._save_table  # type: ignore[attr-defined]

    @wraps(inherited if own is _MISSING else own)
    def _save_table(
        self: Model,
        raw: bool = False,
        cls: Any = None,
        force_insert: Any = False,
        force_update: bool = False,
        using: Any = None,
        update_fields: Any = None,
    ) -> Any:
        # Not what the class has inherited when it was wrapped: others may wrap its parents.
        call = super(model, self)._save_table if own is _MISSING else own.__get__(self)  # type: ignore[misc]
        unit = get_unit() if type(self) is model else None
        if unit is None or unit.instance is not self or unit.using != using:
            return call(raw, cls, force_insert, force_update, using, update_fields)
        if unit.reads_late:
            unit.reads_late = False
            read_asked(unit, model, (self,))
            if is_child and not raw:
                read_old_parents(unit, self)
        updated = call(raw, cls, force_insert, force_update, using, update_fields)
        if cls is concrete:
            unit.note_statement(tables[:1] if raw else tables)
            note_written(unit, self, update_fields, raw=raw)
        return updated

    return _save_table


def start(unit: UnitOfWork, instance: Model) -> None:
    """``unit`` is the save of ``instance``, which is covered."""
    unit.instance = instance
    unit.reads_late = type(instance) in _wrapped
