"""The entries of all rows of a bulk write, made at once.

As ``post_save()`` makes them row by row, with what is the same for all rows worked out once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from django.db.models import Model

from django_signal_kit.audit.entries import Entry
from django_signal_kit.audit.lines import write, write_created
from django_signal_kit.audit.recording import CERTAIN, UNCERTAIN, Recorder
from django_signal_kit.rows.snapshots import get_new_rows, get_old_row
from django_signal_kit.rows.values import UNKNOWN, is_known
from django_signal_kit.rows.written import as_written


def make_created(
    recorder: Recorder, model: type[Model], rows: Iterable[Model], using: str, *, certain: bool
) -> Iterator[Entry]:
    """Entries about ``rows`` of ``model`` that have been made."""
    plan, more = recorder.get_plan(model), CERTAIN if certain else UNCERTAIN
    make = recorder.make_entries(model, "create", using)
    for row, new in get_new_rows(rows, plan.columns, using):
        yield make(as_written(row), write_created(plan.lines, new), more)


def make_updated(
    recorder: Recorder,
    model: type[Model],
    rows: Iterable[Model],
    names: frozenset[str],
    using: str,
    *,
    stamps: bool,
) -> Iterator[Entry]:
    """Entries about those of ``rows`` that have changed, and of which the fields ``names`` have
    been written; with ``stamps``, in nothing but these, too."""
    plan = recorder.get_plan(model)
    columns = [
        column for column in plan.columns if column.field.name in names or column.attname in names
    ]
    attnames = {column.attname for column in columns}
    lines = [line for line in plan.lines if line.attname in attnames]
    unknown = dict.fromkeys((column.attname for column in plan.columns), UNKNOWN)
    untold = frozenset() if stamps else plan.stamps
    make = recorder.make_entries(model, "update", using)
    for row, new in get_new_rows(rows, columns, using):
        old = get_old_row(row, using)
        if old is None:
            # Somebody else has made the row between our SELECT and our UPDATE.
            old = unknown
        changes = write(lines, old, new, untold)
        if changes:
            more = CERTAIN if is_known(old) else UNCERTAIN
            yield make(as_written(row), changes, more)
