"""Whether rows are valid, as ``full_clean()`` has it; the database is asked of many at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import CheckConstraint, Field, Model, UniqueConstraint

from django_signal_kit.cleaning.constraints import Check, Constraint
from django_signal_kit.cleaning.foreign_keys import Reference, is_asked_at_once
from django_signal_kit.cleaning.rules import Row, Rule
from django_signal_kit.cleaning.uniqueness import Unique, UniqueByConstraint, UniqueForDate
from django_signal_kit.writes.ahead import get_freed_fields

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
    for row in rows:
        row.freed = get_freed_fields(row.instance, using)
    for rule in get_rules(model, using, rows, is_new, is_upsert):
        rule.apply(rows)


def get_rules(
    model: type[Model], using: str, rows: Sequence[Row], is_new: bool, is_upsert: bool
) -> Iterator[Rule]:
    """All the rules of ``model``, for ``rows`` that are inserted (``is_new``) or saved."""
    for field in model._meta.fields:
        if is_asked_at_once(field):
            yield Reference(using, field)
    if is_upsert:
        # To clash is what it is for.
        return
    instance = rows[0].instance
    written: dict[type[Model], Set[Any]] = {}

    def get_written(of: type[Model]) -> Set[Any]:
        if of not in written:
            written[of] = set() if is_new else set(get_keys(of, rows))
        return written[of]

    unique_checks, date_checks = instance._get_unique_checks()
    for owner, names in unique_checks:
        is_key = {owner._meta.get_field(name) for name in names} <= set(owner._meta.pk_fields)
        if is_new or not is_key:
            yield Unique(using, owner, names, get_written(owner))
    for check in date_checks:
        yield UniqueForDate(using, check)
    for owner, constraints in instance.get_constraints():
        for constraint in constraints:
            if isinstance(constraint, UniqueConstraint):
                yield UniqueByConstraint(using, owner, constraint, get_written(owner))
            elif isinstance(constraint, CheckConstraint):
                yield Check(using, owner, constraint)
            else:
                yield Constraint(using, owner, constraint)


def get_keys(model: type[Model], rows: Sequence[Row]) -> Iterator[Any]:
    """The primary keys that ``rows`` have in the table of ``model``, those that are known."""
    fields: Any = model._meta.pk_fields
    for row in rows:
        values = tuple(field.to_python(getattr(row.instance, field.attname)) for field in fields)
        if None not in values:
            yield values if len(fields) > 1 else values[0]


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
