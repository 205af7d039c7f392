"""The entries of all rows of a bulk write, made at once.

As ``post_save()`` makes them row by row, with what is the same for all rows worked out once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from django.db.models import Model

from django_signal_kit.audit.entries import Entry
from django_signal_kit.audit.lines import write, write_created
from django_signal_kit.audit.recording import CERTAIN, UNCERTAIN, Recorder
from django_signal_kit.rows.columns import get_unknown
from django_signal_kit.rows.fields import may_change
from django_signal_kit.rows.snapshots import get_new_values, get_old_row
from django_signal_kit.rows.values import is_known
from django_signal_kit.rows.written import as_written


def make_created(
    recorder: Recorder, model: type[Model], rows: Iterable[Model], using: str, *, certain: bool
) -> Iterator[Entry]:
    """Entries about ``rows`` of ``model`` that have been made."""
    plan, more = recorder.get_plan(model), CERTAIN if certain else UNCERTAIN
    make = recorder.make_entries(model, "create", using)
    for row in rows:
        new = get_new_values(row, plan.columns, using)
        yield make(as_written(row), write_created(plan.lines, new), more)


def make_updated(
    recorder: Recorder,
    model: type[Model],
    rows: Iterable[Model],
    names: frozenset[str],
    using: str,
    *,
    untold: frozenset[str],
) -> Iterator[Entry]:
    """Entries about those of ``rows`` of which the fields ``names`` have been written, if they
    have changed in others than those ``untold``."""
    plan = recorder.get_plan(model)
    columns = [column for column in plan.columns if may_change(column.field, names)]
    attnames = {column.attname for column in columns}
    lines = [line for line in plan.lines if line.attname in attnames]
    unknown = get_unknown(plan.columns)
    make = recorder.make_entries(model, "update", using)
    for row in rows:
        old = get_old_row(row, using)
        if old is None:
            # Somebody else has made the row between our SELECT and our UPDATE.
            old = unknown
        changes = write(lines, old, get_new_values(row, columns, using), untold)
        if changes:
            more = CERTAIN if is_known(old) else UNCERTAIN
            yield make(as_written(row), changes, more)
