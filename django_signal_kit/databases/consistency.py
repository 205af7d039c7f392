"""Asks whether the data are as they have to be, and stops ``migrate`` where they are not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any, TypeAlias

from django.db import connections
from django.db.models import Model, QuerySet
from django.utils.module_loading import import_string

from django_signal_kit.databases.attempts import MigrationActionError, Run
from django_signal_kit.databases.ensured import get_rows

#: A dotted path or a callable ``(using, apps)`` that returns the rows that are wrong; or
#: ``{"name", "sql"}`` or ``{"name", "model", "filter"}`` that find them.
Check: TypeAlias = str | Callable[..., Iterable[Any] | None] | Mapping[str, Any]

SHOWN = 5


def check(run: Run, entry: Check) -> None:
    """Raise MigrationActionError if ``entry`` finds rows that are wrong."""
    name = get_name(entry)
    with run.attempt(f"The data check {name!r}"):
        found = find(run, entry)
        if found:
            shown = ", ".join(map(show, found[:SHOWN])) + (", …" if len(found) > SHOWN else "")
            count = f"more than {SHOWN}" if len(found) > SHOWN else str(len(found))
            rows = "row that is wrong" if len(found) == 1 else "rows that are wrong"
            raise MigrationActionError(
                f"The data check {name!r} found {count} {rows} on the database {run.using!r}: "
                f"{shown}. What comes after it was not done. Put the data right, or the check, "
                f"and migrate again."
            )


def find(run: Run, entry: Check) -> list[Any]:
    """The first rows that are wrong, one more than are shown."""
    if isinstance(entry, Mapping):
        if "sql" in entry:
            with connections[run.using].cursor() as cursor:
                cursor.execute(entry["sql"])
                return list(cursor.fetchmany(SHOWN + 1))
        try:
            model = run.apps.get_model(entry["model"])
        except LookupError:
            # The migration that makes its table is still to come.
            return []
        if not run.admits(model, f"the data check {entry['name']!r}"):
            return []
        return list(get_rows(run, model).filter(**entry["filter"])[: SHOWN + 1])
    function = import_string(entry) if isinstance(entry, str) else entry
    found = function(using=run.using, apps=run.apps)
    if isinstance(found, QuerySet):
        # To iterate over it would load all rows.
        return list(found[: SHOWN + 1])
    return list(islice(found or (), SHOWN + 1))


def get_name(entry: Check) -> str:
    if isinstance(entry, Mapping):
        return str(entry["name"])
    return entry if isinstance(entry, str) else getattr(entry, "__qualname__", repr(entry))


def show(row: Any) -> str:
    # A historical model knows no __str__() of its own.
    return f"{row._meta.label} {row.pk!r}" if isinstance(row, Model) else repr(row)
