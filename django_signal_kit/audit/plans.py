"""What of a row goes into a log, and in which form."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

from django.db.models import DateField, Field, JSONField, Model, TimeField

from django_signal_kit.audit.keys import get_hider, get_key_hider, get_key_writer
from django_signal_kit.audit.lines import Line, make_line
from django_signal_kit.rows.columns import Column, get_columns
from django_signal_kit.rows.secrets import is_secret_field
from django_signal_kit.rows.values import redact, to_json
from django_signal_kit.wiring.registry import registry

#: Of each field: its name, attname, what makes JSON of a value that is not None, and whether two
#: of its values are the same.
Stored: TypeAlias = tuple[tuple[str, str, Callable[[Any], Any], Callable[[Any, Any], bool]], ...]


class Plan(NamedTuple):
    """Of one model, made once."""

    columns: tuple[Column, ...]
    stored: Stored
    #: The same for who wants the text alone.
    lines: tuple[Line, ...]
    #: Attnames whose values never go into a text.
    secrets: tuple[str, ...]
    #: Names of fields that are written at each change, and are no change by themselves.
    stamps: frozenset[str]
    #: Attnames of JSON that may have secrets within.
    documents: tuple[str, ...]
    #: Name of each foreign key -> the secrets of the row that it leads to.
    related: tuple[tuple[str, tuple[str, ...]], ...]
    #: The key of a row as an entry has it.
    to_key: Callable[[Any], str]
    #: What takes the secrets out of a key, or None.
    hide_key: Callable[[Any], Any] | None


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
    stored = tuple(
        (
            field.name,
            field.attname,
            _get_store(columns[field.attname], extra_secrets, replace),
            columns[field.attname].is_same,
        )
        for field in fields
    )
    return Plan(
        tuple(columns[field.attname] for field in fields),
        stored,
        tuple(make_line(*field, is_plain=_is_plain(field[2])) for field in stored),
        _list_secrets(model, extra_secrets),
        get_stamps(model),
        tuple(field.attname for field in concrete if isinstance(field, JSONField)),
        tuple(
            (field.name, secrets)
            for field in concrete
            # Django keeps the name as related_model if it is asked before the model has come.
            if field.remote_field is not None
            and (secrets := _list_secrets(field.remote_field.model, extra_secrets))
        ),
        get_key_writer(model),
        get_key_hider(model),
    )


def _list_secrets(model: Any, extra_secrets: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(
        field.attname
        for field in model._meta.concrete_fields
        if is_secret_field(field, extra_secrets) or get_hider(field) is not None
    )


def get_stamps(model: type[Model]) -> frozenset[str]:
    """The names of the fields that are written at each change, and are no change by themselves."""
    return registry.get_stamp_fields(model) | {
        field.name for field in model._meta.concrete_fields if _is_auto_now(field)
    }


class Stamps(NamedTuple):
    """The stamps of a model, and how much a log tells of them."""

    names: frozenset[str]
    #: Those of which no log tells what they become in an update.
    lost: frozenset[str]
    #: Those that are another moment after each change.
    dated: frozenset[str]

    @classmethod
    def of(cls, model: type[Model], kept: Iterable[str]) -> Stamps:
        """``kept``: the names of the fields that are recorded with ``stamps=True``."""
        names = get_stamps(model)
        fields = (field for field in model._meta.concrete_fields if field.name in names)
        dated = (field.name for field in fields if isinstance(field, DateField | TimeField))
        return cls(names, names.difference(kept), frozenset(dated))

    def get_untold(self, changes: Iterable[str]) -> frozenset[str]:
        """Those that an update with these ``changes`` may have written without saying so. One that
        names no moment was told by a log that left stamps out, whatever its option is today."""
        changes = frozenset(changes)
        if self.dated and self.dated.isdisjoint(changes) and not changes <= self.names:
            return self.names - changes
        return self.lost - changes


def _get_store(
    column: Column, extra_secrets: tuple[str, ...], replace: Callable[[Any], str]
) -> Callable[[Any], Any]:
    hide = get_hider(column.field)
    if hide is not None:
        return hide
    if is_secret_field(column.field, extra_secrets):
        return replace
    if column.plain is str:
        return _store_text
    store: Callable[[Any], Any] = to_json
    if extra_secrets or replace is not redact:
        store = partial(to_json, extra_secrets=extra_secrets, replace=replace)
    if column.is_odd or column.has_encoder:
        return lambda value: store(column.tell(value))
    return store


def _is_plain(store: Any) -> bool:
    """Does it make of a value what ``to_json()`` does?"""
    return store is _store_text or getattr(store, "func", store) is to_json


def _store_text(value: Any) -> Any:
    if value.__class__ is str and value.isprintable():
        return value
    return to_json(value)


def _is_auto_now(field: Field[Any, Any]) -> bool:
    return isinstance(field, DateField | TimeField) and field.auto_now
