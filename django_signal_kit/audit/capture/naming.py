"""What a row is called, as a template that a trigger can fill: "{name} ({code})"."""

from __future__ import annotations

import string
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from django.db.models import CharField, IntegerField, Model, TextField, UUIDField

from django_signal_kit.audit.capture.specification import Cell, Kind

# Rows of nobody are asked what they are called while a process starts, perhaps before it forks,
# and the database may be down. There is none by this name: what __str__ would read, it cannot.
_NOWHERE = "of no database"

#: Of the values whose ``str()`` a database can write, too.
_KINDS = frozenset((Kind.INTEGER, Kind.TEXT, Kind.UUID, Kind.DATE, Kind.DECIMAL))


class TemplateError(ValueError):
    """A template of ``object_text`` that cannot be filled; ``str()`` says why."""


Text = tuple[str | Cell, ...]


def derive_text(
    model: type[Model], template: str | None, make_cell: Callable[[Any], Cell]
) -> Text:
    """The parts of ``template``; without one what ``__str__`` makes of a row, where that can be
    told; else the model's name and the key. Raises TemplateError."""
    if template is None:
        template = find_template(model) or get_fallback(model)
    return tuple(_parse(model, template, make_cell))


def get_fallback(model: type[Model]) -> str:
    """What a row is called if nobody can tell: "Product 5"."""
    return f"{model._meta.object_name} {{pk}}"


def fill(model: type[Model], template: str, row: Model) -> str:
    """What a trigger makes of ``template`` for ``row``."""
    fields = _get_fields(model)
    return "".join(
        f"{literal}{'' if name is None else getattr(row, fields[name].attname)}"
        for literal, name, _, _ in string.Formatter().parse(template)
    )


def find_template(model: type[Model]) -> str | None:
    """What the model's ``__str__`` writes, found by what it makes of two rows that nobody has;
    None if that is not the text of fields between texts that stay."""
    templates = {_try(model, number) for number in (1, 2)}
    return templates.pop() if len(templates) == 1 else None


def _try(model: type[Model], number: int) -> str | None:
    marks: dict[str, str] = {}
    values: dict[str, Any] = {}
    for place, field in enumerate(model._meta.concrete_fields):
        if field.remote_field is not None or getattr(field, "choices", None):
            continue
        if isinstance(field, IntegerField):
            values[field.attname] = number * 10_000_019 + place * 101
        elif isinstance(field, UUIDField):
            values[field.attname] = uuid.UUID(int=number << 100 | place << 64 | 0xABC)
        elif isinstance(field, CharField | TextField):
            # No part of it is the same in both rows.
            letters = ((place * 7 + offset * 5 + number * 11) % 24 for offset in range(12))
            values[field.attname] = "".join(chr(0x3B1 + letter) for letter in letters)
        else:
            continue
        marks[field.name] = str(values[field.attname])
    try:
        row = model.from_db(_NOWHERE, list(values), list(values.values()))
        text = str(row)
    except Exception:
        return None
    text = text.replace("{", "{{").replace("}", "}}")
    # The longest first: one may be a part of another.
    for name, mark in sorted(marks.items(), key=lambda item: -len(item[1])):
        text = text.replace(mark, f"{{{name}}}")
    return text


def _parse(
    model: type[Model], template: str, make_cell: Callable[[Any], Cell]
) -> Iterator[str | Cell]:
    fields = _get_fields(model)
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise TemplateError(f"{template!r} is no template: {error}") from error
    for literal, name, spec, conversion in parts:
        if literal:
            yield literal
        if name is None:
            continue
        if spec or conversion or name not in fields:
            known = ", ".join(field.name for field in model._meta.concrete_fields)
            raise TemplateError(f"{template!r} has {{{name}}}, and the fields are: {known}")
        cell = make_cell(fields[name])
        if cell.is_secret:
            raise TemplateError(f"{template!r} has {{{name}}}, which is a secret")
        if cell.kind not in _KINDS:
            raise TemplateError(
                f"{template!r} has {{{name}}}, whose text only Python knows ({cell.kind})"
            )
        yield cell


def _get_fields(model: type[Model]) -> dict[str, Any]:
    fields: dict[str, Any] = {"pk": model._meta.pk}
    for field in model._meta.concrete_fields:
        fields[field.name] = fields[field.attname] = field
    return fields
