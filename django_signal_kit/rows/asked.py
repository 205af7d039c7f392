"""Old rows that are read when the statement comes that writes them.

Between a signal and the statement other receivers may write the row. Who asks ahead has it read
after them; what was read before them is read again, if a covered write has been there since.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Model

from django_signal_kit.rows.snapshots import (
    forget_old,
    get_models_together,
    get_old_row,
    get_reading,
    is_written_together,
)
from django_signal_kit.units.unit import UnitOfWork, get_unit

_ASKED = "asked"
_NEW_ASKED = "new asked"


def ask_old_row(instance: Model, using: str) -> None:
    """What the row is before the write in progress will be asked for after it.

    It is read right before the statement; where nobody hears that, at once. An error in reading
    it is then one of the write: who wants to survive it asks
    :func:`~django_signal_kit.rows.snapshots.get_old_row` himself.
    """
    unit, model = get_unit(), type(instance)
    if (
        unit is not None
        and unit.reads_late
        and (unit.instance is instance or is_written_together(unit, model))
    ):
        # One of several may be a proxy of the model that they are written as.
        unit.notes.setdefault(_ASKED, set()).update({model, *get_models_together(unit)})
    else:
        get_old_row(instance, using)


def ask_old_rows(model: type[Model]) -> None:
    """:func:`ask_old_row` for all rows of a bulk write, which are of ``model``. Rows that are made
    have none, and those of an ``update()`` have been read."""
    unit = get_unit()
    if unit is not None and unit.reads_late:
        unit.notes.setdefault(_ASKED, set()).add(model)


def ask_new_row(instance: Model) -> None:
    """What the row is after the write in progress will be asked for, and not what it was."""
    unit = get_unit()
    if unit is not None:
        unit.notes.setdefault(_NEW_ASKED, set()).add(type(instance))


def has_asked(unit: UnitOfWork, model: type[Model]) -> bool:
    """Has anybody asked ahead for rows of ``model``, as they were or as they are after it?"""
    return model in unit.notes.get(_ASKED, ()) or model in unit.notes.get(_NEW_ASKED, ())


def read_asked(unit: UnitOfWork, model: type[Model], instances: Iterable[Model]) -> None:
    """The statement comes that writes the rows of ``instances``, which are of ``model``."""
    since = get_reading(unit, model)
    if since is None:
        if model not in unit.notes.get(_ASKED, ()):
            return
    elif unit.journal.statements.have_written(model, since):
        forget_old(unit, instances)
    else:
        return
    for instance in instances:
        get_old_row(instance, unit.using)


def read_remaining(unit: UnitOfWork, model: type[Model], instances: Iterable[Model]) -> None:
    """The same for a deletion, of which it has to be known which rows are there still: they are
    looked for, too, if nobody has asked and they may have been deleted since it began."""
    if unit.journal.statements.have_written(model, unit.began):
        unit.notes.setdefault(_ASKED, set()).add(model)
    read_asked(unit, model, instances)
