"""What a covered write needs of an instance: its fields to write, its state, and a way back."""

from __future__ import annotations

from collections.abc import Callable

from django.db.models import Model

from django_signal_kit.rows.snapshots import is_written_together
from django_signal_kit.units.unit import get_unit

_MISSING = object()


class UpdateFields(set[str]):
    """The ``update_fields`` of a covered save: a receiver of ``pre_save`` may add to it.

    Equal to, and hashed like, the frozenset that others expect.
    """

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self))


#: Equal to False and not the same: the ``_state.adding`` of a stored instance until Django sets it
#: to False, right after its SQL. What fails before that has written nothing that stays.
NOT_ADDING_YET = 0


def remember(instance: Model) -> Callable[[], None]:
    """What makes an instance again what it was, should the transaction be rolled back."""
    state = instance._state
    db, adding, values = state.db, state.adding, instance.__dict__.copy()

    def restore() -> None:
        state.db, state.adding = db, adding
        for field in instance._meta.concrete_fields:
            value = values.get(field.attname, _MISSING)
            if value is not _MISSING:
                instance.__dict__[field.attname] = value
            else:
                instance.__dict__.pop(field.attname, None)

    return restore


def note_created(instance: Model) -> None:
    """A bulk write has made the row of ``instance``, and receivers are told of it."""
    instance._state.signal_kit_created = True  # type: ignore[attr-defined]


def is_sent_by_hand(instance: Model) -> bool:
    """Is the post_save that is heard of ``instance`` none of the write that is in progress?

    Projects send one for each row after a bulk write, for receivers of their own.
    """
    unit = get_unit()
    return unit is None or unit.instance is not instance


def is_told_again(teller: object, instance: Model) -> bool:
    """Has ``teller`` told of this save? A receiver may have sent ``post_save`` by hand in it."""
    unit = get_unit()
    if unit is None or is_written_together(unit, type(instance)):
        return False
    key = (teller, "saved", id(instance))
    is_told = key in unit.notes
    unit.notes[key] = True
    return is_told


def was_created_in_bulk(instance: Model) -> bool:
    return "signal_kit_created" in instance._state.__dict__
