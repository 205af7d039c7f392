"""What a row is called, as a template that a trigger can fill: "{name} ({code})"."""

from __future__ import annotations

import string
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from django.db.models import CharField, IntegerField, Model, TextField, UUIDField

from django_signal_kit.audit.capture.specification import Cell, Kind
from django_signal_kit.rows.fields import get_target
from django_signal_kit.rows.secrets import is_secret_field
from django_signal_kit.rows.values import REDACTED
from django_signal_kit.units.sparing import without_database

#: Of the values whose ``str()`` a database can write, too.
_KINDS = frozenset((Kind.INTEGER, Kind.TEXT, Kind.UUID, Kind.DATE, Kind.DECIMAL))


class TemplateError(ValueError):
    """A template of ``object_text`` that cannot be filled; ``str()`` says why."""


Text = tuple[str | Cell, ...]


def derive_text(
    model: type[Model],
    template: str | None,
    secrets: tuple[str, ...],
    make_cell: Callable[[Any], Cell],
) -> Text:
    """The parts of ``template``; without one what ``__str__`` makes of a row, where that can be
    told; else the model's name and the key. Raises TemplateError."""
    if template is None:
        template = find_template(model, secrets) or get_fallback(model)
    return tuple(_parse(model, template, make_cell))


def get_fallback(model: type[Model]) -> str:
    """What a row is called if nobody can tell: "Product 5"."""
    return f"{model._meta.object_name} {{pk}}"


def suggest(model: type[Model], secrets: tuple[str, ...]) -> str:
    """A template that a trigger can fill, for a hint."""
    names = [
        field.name
        for field in model._meta.concrete_fields
        if isinstance(field, CharField) and not is_secret_field(field, secrets)
    ]
    return f"{{{names[0]}}} ({{pk}})" if names else get_fallback(model)


def fill(model: type[Model], template: str, row: Model) -> str:
    """What a trigger makes of ``template`` for ``row``."""
    fields = _get_fields(model)
    return "".join(
        f"{literal}{'' if name is None else getattr(row, fields[name].attname)}"
        for literal, name, _, _ in string.Formatter().parse(template)
    )


def find_template(model: type[Model], secrets: tuple[str, ...] = ()) -> str | None:
    """What the model's ``__str__`` writes, found by what it makes of two rows that nobody has;
    None if that is not the text of fields between texts that stay. In the place of a secret it
    has "[redacted]". ``secrets``: parts of names, beside those that the kit knows."""
    templates = {_try(model, secrets, number) for number in (1, 2)}
    return templates.pop() if len(templates) == 1 else None


def _try(model: type[Model], secrets: tuple[str, ...], number: int) -> str | None:
    # No part of a value is the same in both rows.
    marks: list[tuple[str, str]] = []
    values: dict[str, Any] = {}
    for place, field in enumerate(model._meta.concrete_fields):
        target = get_target(field)
        if getattr(field, "choices", None):
            continue
        if isinstance(target, IntegerField):
            values[field.attname] = number * 11_111_117 + place * 101
        elif isinstance(target, UUIDField):
            values[field.attname] = uuid.UUID(int=number * int("1" * 32, 16) + place)
        elif isinstance(target, CharField | TextField):
            letters = ((place * 7 + offset * 5 + number * 11) % 24 for offset in range(12))
            values[field.attname] = "".join(chr(0x3B1 + letter) for letter in letters)
        else:
            continue
        is_secret = is_secret_field(field, secrets)
        told = REDACTED if is_secret else f"{{{field.name}}}"
        marks.append((str(values[field.attname]), told))
    try:
        row = model.from_db(None, list(values), list(values.values()))
        with without_database():
            text = str(row)
    except Exception:
        return None
    text = text.replace("{", "{{").replace("}", "}}")
    # The longest first: one may be a part of another.
    for mark, told in sorted(marks, key=lambda item: -len(item[0])):
        text = text.replace(mark, told)
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
        if spec or conversion:
            raise TemplateError(
                f"{template!r} says how {{{name}}} is to be written, and a trigger writes as "
                f"str() does"
            )
        if name not in fields:
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
