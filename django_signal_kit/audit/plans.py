"""What of a row goes into a log, and in which form."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

from django.db.models import DateField, Field, Model, TimeField

from django_signal_kit.rows.canonical import Column, get_columns
from django_signal_kit.rows.values import is_secret, redact, to_json
from django_signal_kit.wiring.registry import registry

#: Of each field: its name, attname, what makes JSON of a value that is not None, and whether two
#: of its values are the same.
Stored: TypeAlias = tuple[tuple[str, str, Callable[[Any], Any], Callable[[Any, Any], bool]], ...]


class Plan(NamedTuple):
    """Of one model, made once."""

    columns: tuple[Column, ...]
    stored: Stored
    #: Attnames whose values never go into a text.
    secrets: tuple[str, ...]
    #: Names of fields that are written at each change, and are no change by themselves.
    stamps: frozenset[str]


def make_plan(
    model: type[Model],
    fields: Iterable[Field[Any, Any]],
    extra_secrets: tuple[str, ...],
    replace: Callable[[Any], str],
) -> Plan:
    """``extra_secrets``: parts of names, beside those that the kit knows. ``replace``: what is
    stored in the place of a secret."""
    fields = list(fields)
    columns = get_columns(model)
    concrete = model._meta.concrete_fields
    return Plan(
        tuple(columns[field.attname] for field in fields),
        tuple(
            (
                field.name,
                field.attname,
                _get_store(columns[field.attname], extra_secrets, replace),
                columns[field.attname].is_same,
            )
            for field in fields
        ),
        tuple(field.attname for field in concrete if is_secret(field.name, extra_secrets)),
        get_stamps(model),
    )


def get_stamps(model: type[Model]) -> frozenset[str]:
    """The names of the fields that are written at each change, and are no change by themselves."""
    return registry.get_stamp_fields(model) | {
        field.name for field in model._meta.concrete_fields if _is_auto_now(field)
    }


def _get_store(
    column: Column, extra_secrets: tuple[str, ...], replace: Callable[[Any], str]
) -> Callable[[Any], Any]:
    if is_secret(column.field.name, extra_secrets):
        return replace
    if column.plain is str:
        return _store_text
    store: Callable[[Any], Any] = to_json
    if extra_secrets or replace is not redact:
        store = partial(to_json, extra_secrets=extra_secrets, replace=replace)
    if column.is_odd or column.has_encoder:
        return lambda value: store(column.tell(value))
    return store


def _store_text(value: Any) -> Any:
    if value.__class__ is str and value.isprintable():
        return value
    return to_json(value)


def _is_auto_now(field: Field[Any, Any]) -> bool:
    return isinstance(field, DateField | TimeField) and field.auto_now
