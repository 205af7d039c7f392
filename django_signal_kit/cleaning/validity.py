"""Whether rows are valid, as ``full_clean()`` has it; the database is asked of many at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Field, Model

from django_signal_kit.cleaning.rules import Reference, Row, get_rules, is_asked_at_once

_OVERRIDABLE = ("full_clean", "validate_unique", "validate_constraints")


def get_row(position: int, instance: Model, written: Set[str] | None, excluded: Set[str]) -> Row:
    """The row, with what is left out of its validation: what is not written, what was not loaded,
    and expressions, which the database computes."""
    values = instance.__dict__
    exclude = set(excluded)
    for field in instance._meta.concrete_fields:
        if (
            (written is not None and written.isdisjoint((field.name, field.attname)))
            or field.attname not in values
            or hasattr(values[field.attname], "resolve_expression")
        ) and not field.generated:
            exclude.add(field.name)
    return Row(position, instance, exclude)


def clean(
    model: type[Model],
    rows: Sequence[Row],
    using: str,
    is_new: bool = False,
    is_upsert: bool = False,
) -> None:
    """Give each of ``rows`` its errors: those of the fields, of ``Model.clean()``, of foreign
    keys, uniqueness and constraints. Values are converted in the instance, as Django does.

    A model that has a ``full_clean()``, ``validate_unique()`` or ``validate_constraints()`` of
    its own is asked for each row by itself.
    """
    if any(getattr(model, name) is not getattr(Model, name) for name in _OVERRIDABLE):
        for row in rows:
            collect(row, lambda row=row: row.instance.full_clean(exclude=row.exclude))  # type: ignore[misc]
        return
    at_once: list[Any] = [field for field in model._meta.fields if is_asked_at_once(field)]
    names = {field.name for field in at_once}
    for row in rows:
        instance = row.instance
        collect(row, lambda: instance.clean_fields(exclude=row.exclude | names))  # noqa: B023
        for field in at_once:
            if field.name not in row.exclude:
                collect(row, lambda: clean_key(field, instance), field.name)  # noqa: B023
        collect(row, instance.clean)
    for rule in get_rules(model, using, rows, is_new, is_upsert):
        rule.apply(rows)


def collect(row: Row, check: Callable[[], object], *field: str) -> None:
    """Call ``check`` and keep the ValidationError that it raises."""
    try:
        check()
    except ValidationError as error:
        row.add(error, *field)


def clean_key(field: Any, instance: Model) -> None:
    """Clean a foreign key as far as the database is not needed for it."""
    value = getattr(instance, field.attname)
    if not (field.blank and value in field.empty_values):
        cleaned = field.to_python(value)
        Field.validate(field, cleaned, instance)
        field.run_validators(cleaned)
        setattr(instance, field.attname, cleaned)


def clean_values(model: type[Model], values: Mapping[str, Any], using: str) -> dict[str, Any]:
    """Field -> its errors, of literal ``values`` that ``QuerySet.update()`` writes into each of
    its rows. None is valid wherever the column takes it: a deletion may have to write it."""
    errors: dict[str, Any] = {}
    for name, value in values.items():
        field: Any = model._meta.get_field(name)
        if hasattr(value, "resolve_expression") or (value is None and field.null):
            continue
        if field.blank and value in field.empty_values:
            continue
        if isinstance(value, Model):
            value = getattr(value, field.target_field.attname)
        try:
            if is_asked_at_once(field):
                value = field.to_python(value)
                Field.validate(field, value, None)
                field.run_validators(value)
                reference = Reference(using, field)
                if reference.lacks({value}):
                    raise reference.refuse(value)
            else:
                field.clean(value, None)
        except ValidationError as error:
            errors[name] = error.error_list
    return errors
