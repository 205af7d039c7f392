"""Where a database is not as ``capture="triggers"`` counts on, as warnings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.core.checks import CheckMessage, Warning
from django.db import DatabaseError, connections
from django.db.models import Model

from django_signal_kit.audit.audit_log import get_recorder
from django_signal_kit.audit.capture.mysql import hindrances as of_mysql
from django_signal_kit.audit.capture.naming import fill, find_template
from django_signal_kit.audit.capture.pieces import UNREADABLE
from django_signal_kit.audit.capture.sqlite import hindrances as of_sqlite
from django_signal_kit.audit.capture.vendors import NAMES
from django_signal_kit.audit.capture.wanted import compare, get_captured, get_capturing
from django_signal_kit.audit.keys import get_secrets
from django_signal_kit.exceptions import join

#: As many rows of a model are looked at, and as many tables are named.
_ROWS, _TABLES = 20, 5


def find_differences(asked: Iterable[str]) -> Iterator[CheckMessage]:
    """One warning for each of the databases ``asked`` whose triggers are not what is wanted, and
    one for each model whose rows they call by another name than Python; and what keeps them from
    their work."""
    for alias in asked:
        if connections[alias].vendor in NAMES:
            try:
                yield from _find_different(alias)
                yield from _find_misnamed(alias)
                yield from _find_hindrances(connections[alias])
            except DatabaseError:
                # What the database lacks others tell of.
                continue


def _find_hindrances(connection: Any) -> Iterable[CheckMessage]:
    found = {"mysql": of_mysql, "sqlite": of_sqlite}.get(connection.vendor)
    return found.find_hindrances(connection) if found and get_capturing() else ()


def _find_different(alias: str) -> Iterator[Warning]:
    found = compare(alias)
    if any(each.checksum == UNREADABLE for each in found.left):
        # This account sees neither the log nor what triggers do: W033 is told instead.
        return
    parts = (
        ("are missing", found.missing),
        ("are others", found.changed),
        ("are not wanted", found.left),
    )
    said = [
        f"{len(pieces)} {verb} (on {join(sorted({each.table for each in pieces}), most=_TABLES)})"
        for verb, pieces in parts
        if pieces
    ]
    if said:
        yield Warning(
            f"The triggers of the audit log in the database {alias!r} are not those that these "
            f"settings want: {join(said)}.",
            hint=f"Run: migrate --database {alias}. If another deployment has other settings, "
            f"whichever migrates last has its way.",
            id="signal_kit.W031",
        )


def _find_misnamed(alias: str) -> Iterator[Warning]:
    for receiver in get_capturing():
        for model in get_captured(receiver):
            template = find_template(model, get_secrets(receiver))
            if model._meta.label in receiver.object_text or not template:
                continue
            for row in _get_rows(model, alias):
                said = get_recorder(receiver).describe(row, alias)
                filled = fill(model, template, row)
                if said != filled:
                    yield Warning(
                        f"Triggers call a row of {model._meta.label} {filled!r}, and __str__ "
                        f"calls it {said!r}.",
                        hint=f"Give {receiver.name} a template: object_text="
                        f"{{{model._meta.label!r}: {template!r}}}, or another one.",
                        id="signal_kit.W030",
                    )
                    break


def _get_rows(model: Any, alias: str) -> Iterable[Model]:
    rows: Iterable[Model] = model._base_manager.using(alias).order_by("-pk")[:_ROWS]
    return rows
