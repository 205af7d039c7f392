"""The rows of parents that are there before a multi-table child is made of them.

Saving such a child is an INSERT into its own table, and an UPDATE of each row that is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from django.db.models import Model

from django_signal_kit.rows.columns import canonical_key
from django_signal_kit.rows.database import Row, read_row
from django_signal_kit.rows.snapshots import has_no_row, old_columns
from django_signal_kit.units.unit import UnitOfWork, get_unit

OldParents: TypeAlias = Sequence[tuple[type[Model], Row]]

_ASKED = "parents asked"
_OLD = "old parents"


def ask_old_parents(instance: Model, *, at_once: bool = False) -> None:
    """What the rows of its parents are before the write in progress will be asked for after it.

    They are read right before the statement, or ``at_once``; if the child has no row and has been
    given the key of a parent, in one query for each parent of which receivers ask for old rows.
    """
    unit = get_unit()
    if unit is None or unit.instance is not instance:
        return
    unit.notes[_ASKED] = True
    if at_once or not unit.reads_late:
        read_old_parents(unit, instance)


def read_old_parents(unit: UnitOfWork, instance: Model) -> None:
    """The statement comes that writes the row of ``instance``."""
    if _ASKED in unit.notes and has_no_row(instance):
        model = instance._meta.concrete_model or type(instance)
        unit.notes[_OLD, id(instance)] = list(_find(model, instance, None, unit.using))


def get_old_parents(instance: Model) -> OldParents:
    """The nearest parents whose rows were there before ``instance`` was made of them, each with
    its old values by attname. Empty if nobody has asked."""
    unit = get_unit()
    return () if unit is None else unit.notes.get((_OLD, id(instance)), ())


def cast_up(instance: Model, parent: type[Model], using: str) -> Model:
    """The row of ``parent`` that is in that of its child ``instance``; no query."""
    values = instance.__dict__
    fields = parent._meta.concrete_fields
    names = [field.attname for field in fields if field.attname in values]
    return parent.from_db(using, names, [values[name] for name in names])


def _find(
    model: type[Model], instance: Model, key: Any, using: str
) -> Iterator[tuple[type[Model], Row]]:
    """``key``: that of its row in the table of ``model``, if it is not in its own attribute."""
    values = instance.__dict__
    for parent, link in model._meta.parents.items():
        if link is None:
            continue
        # As Model._save_parents() has it: the link counts if the parent's own key is not set.
        found = values.get(parent._meta.pk.attname)
        if found is None:
            found = values.get(link.attname)
        if found is None and link.primary_key:
            found = key
        columns = old_columns.get(parent)
        row = None
        if found is not None and columns:
            row = read_row(parent, canonical_key(parent, found), columns, using)
        if row is not None:
            yield parent, row
        else:
            yield from _find(parent, instance, found, using)
