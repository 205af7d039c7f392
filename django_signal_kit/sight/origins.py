"""What runs a statement, as the frames of the stack tell: a write that is heard, or none."""

from __future__ import annotations

import sys
from types import FrameType

from django.db.backends.utils import CursorWrapper
from django.db.models import Model, QuerySet

from django_signal_kit.units.unit import get_unit
from django_signal_kit.writes.bulk import covered as covered_in_bulk
from django_signal_kit.writes.covered import saved

_KIT = "django_signal_kit."
#: What runs a statement: Django, and what a trace has put in its place.
_RUNNING = ("django.", "django_signal_kit.sight.observing")
_EXECUTION = CursorWrapper._execute_with_wrappers.__code__  # type: ignore[attr-defined]
#: Where a write is heard: the modules whose functions Django's own are wrapped in.
_HEARING = "django_signal_kit.writes."
#: Where receivers are called: what is written there is written by them, not by what they hear.
_CALLING = ("django.dispatch.dispatcher", "django_signal_kit.units.journal")
#: Where nobody is told, as the documentation says: migrations, and the emptying of tables.
_SILENT = frozenset(
    (
        ("django.db.migrations.executor", "migrate"),
        ("django.core.management.sql", "emit_pre_migrate_signal"),
        ("django.core.management.sql", "emit_post_migrate_signal"),
        ("django.db.backends.base.operations", "execute_sql_flush"),
    )
)
#: What is heard of a model only if a receiver asks for it.
_SAVE = ("django.db.models.base", "save_base")
_BULK = frozenset((QuerySet.__module__, name) for name in ("bulk_create", "bulk_update", "update"))


def find_execution() -> FrameType | None:
    """Where Django calls the wrappers of the statement: those that were called before ``look``
    are no writers."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code is not _EXECUTION:
        frame = frame.f_back
    return frame or sys._getframe(2)


def is_heard(model: type[Model], frame: FrameType | None) -> bool:
    """Does what runs in ``frame`` come from a write of which receivers are told, or which they
    have chosen not to hear?"""
    unit = get_unit()
    is_write = unit is not None and not unit.is_block
    chosen = _SILENT
    if model not in covered_in_bulk:
        chosen |= _BULK
    if model not in saved:
        chosen |= {_SAVE}
    is_first = True
    while frame is not None:
        module = frame.f_globals.get("__name__") or ""
        if is_write and module.startswith(_HEARING):
            return True
        if is_first and not module.startswith(_RUNNING):
            if module.startswith(_KIT):
                # What the kit itself does, such as to lock.
                return True
            is_first = False
        if (module, frame.f_code.co_name) in chosen:
            return True
        if module in _CALLING:
            is_write, chosen = False, _SILENT
        frame = frame.f_back
    return False
