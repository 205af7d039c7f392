"""The audit log as CSV, for people, and as JSON Lines, which loses nothing."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import Field, JSONField, QuerySet

from django_signal_kit.audit.entries import get_entry_model
from django_signal_kit.audit.upkeep.patterns import Kinds
from django_signal_kit.audit.upkeep.walking import walk
from django_signal_kit.rows.values import to_json

_CHUNK = 1000
# What makes a spreadsheet take a cell for a formula: = + - @ and their full-width forms, whatever
# blanks, tabs and line breaks stand before them; a tab or a line break alone, too.
_FORMULA = re.compile(r"[\t\r\n]|\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)


def filter_entries(
    using: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    models: list[str],
    object_pk: str | None = None,
    actor: str | None = None,
) -> QuerySet[Any, Any]:
    """The entries of a database from ``since`` on and before ``until``, about these models (all if
    there are none), about one object, by one user. Raises LookupError for an unknown model."""
    rows: QuerySet[Any, Any] = QuerySet(get_entry_model(), using=using)
    if since is not None:
        rows = rows.filter(at__gte=since)
    if until is not None:
        rows = rows.filter(at__lt=until)
    if models:
        rows = rows.filter(content_type__in=Kinds(using).find(models))
    if object_pk is not None:
        rows = rows.filter(object_pk=object_pk)
    if actor is not None:
        rows = rows.filter(**_find_actor(actor))
    return rows


def get_lines(entries: QuerySet[Any, Any], format: str) -> Iterator[str]:
    """``entries``, oldest first, as the lines of a file in ``"csv"`` or ``"jsonl"``. They are read
    page by page, so that memory does not grow with the log."""
    fields = list(entries.model._meta.concrete_fields)
    kinds = Kinds(entries.db)
    if format == "csv":
        yield _to_csv([*(field.name for field in fields), "model"])
    for page in walk(entries, _CHUNK):
        for entry in page:
            row = {field.name: _get_value(entry, field) for field in fields}
            row["model"] = kinds.get_label(entry.content_type_id)
            if format == "csv":
                yield _to_csv([make_safe(_to_cell(value)) for value in row.values()])
            else:
                yield json.dumps(row, ensure_ascii=False) + "\n"


def make_safe(cell: str) -> str:
    """``cell``, with an apostrophe before it if a spreadsheet would take it for a formula. A plain
    number stays what it is."""
    is_formula = _FORMULA.match(cell) and not _NUMBER.fullmatch(cell)
    return f"'{cell}" if is_formula else cell


def _find_actor(actor: str) -> dict[str, Any]:
    """By the name that users log in with, by the key, or by the name that the log knows."""
    model = get_user_model()
    user = QuerySet(model).filter(**{model.USERNAME_FIELD: actor}).first()
    if user is not None:
        return {"actor": user.pk}
    try:
        key = model._meta.pk.to_python(actor)
        # A number that no column holds would be an error of the database.
        model._meta.pk.run_validators(key)
        return {"actor": key}
    except ValidationError:
        return {"actor_text": actor}


def _get_value(entry: Any, field: Field[Any, Any]) -> Any:
    value = getattr(entry, field.attname)
    if isinstance(field, JSONField):
        # As it is: to_json() would hide again what looks like the name of a secret.
        return json.loads(json.dumps(value, cls=field.encoder))
    return to_json(value)


def _to_cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _to_csv(cells: list[str]) -> str:
    line = io.StringIO()
    # All in quotation marks: a spreadsheet may separate cells by something else than a comma.
    csv.writer(line, quoting=csv.QUOTE_ALL).writerow(cells)
    return line.getvalue()
