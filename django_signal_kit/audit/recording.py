"""What of a row goes into a log, and in which form."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from operator import eq
from typing import Any, NamedTuple, Protocol

from django.db.models import DateField, Field, Model, TimeField

from django_signal_kit.audit.entries import (
    Circumstances,
    Entry,
    Log,
    encode,
    get_circumstances,
    to_key,
)
from django_signal_kit.conf import conf
from django_signal_kit.current import get_scope
from django_signal_kit.rows.canonical import Column, get_columns
from django_signal_kit.rows.values import (
    REDACTED,
    UNKNOWN,
    encode_sorted,
    is_secret,
    redact,
    redact_with_hash,
    to_json,
    to_text,
)
from django_signal_kit.units.unit import get_unit
from django_signal_kit.wiring.registry import registry


class Plan(NamedTuple):
    """Of one model, made once."""

    columns: tuple[Column, ...]
    #: Name of the field, attname, what makes JSON of a value that is not None, and whether two of
    #: its values are the same.
    stored: tuple[tuple[str, str, Callable[[Any], Any], Callable[[Any, Any], bool]], ...]
    #: Attnames whose values never go into a text.
    secrets: tuple[str, ...]
    #: Names of fields that are written at each change, and are no change by themselves.
    stamps: frozenset[str]


class Recording(Protocol):
    """What a recorder asks its receiver."""

    redact: Sequence[str]

    def get_actor(self) -> Any: ...

    def get_context(self) -> Mapping[str, Any]: ...

    def get_object_text(self, instance: Model) -> str: ...


class Recorder:
    """Makes the entries of one receiver."""

    def __init__(
        self,
        receiver: Recording,
        get_fields: Callable[[type[Model]], Iterable[Field[Any, Any]]],
        *,
        is_plain: bool,
        hash_secrets: bool = False,
    ) -> None:
        """``is_plain``: actor and context are the same for each row of a write."""
        self.receiver = receiver
        self.get_fields = get_fields
        self.is_plain = is_plain
        self.replace: Callable[[Any], str] = redact_with_hash if hash_secrets else redact
        self._plans: dict[type[Model], Plan] = {}

    @cached_property
    def log(self) -> Log:
        return Log()

    @cached_property
    def secrets(self) -> tuple[str, ...]:
        """Parts of names, beside those that the kit knows."""
        return (*conf.REDACT, *self.receiver.redact)

    def get_plan(self, model: type[Model]) -> Plan:
        plan = self._plans.get(model)
        if plan is None:
            fields = self.get_fields(model)
            plan = self._plans[model] = _make_plan(model, fields, self.secrets, self.replace)
        return plan

    def make_entry(
        self, instance: Model, action: str, changes: Any, using: str, more: Mapping[str, Any]
    ) -> Entry:
        """An entry about a row; ``more`` goes into its context."""
        key = "" if instance.pk is None else to_key(type(instance), instance.pk)
        text = self.describe(instance)
        return self._make(type(instance), action, key, text, changes, using, more)

    def make_rowless_entry(
        self, model: type[Model], action: str, text: str, using: str, more: Mapping[str, Any]
    ) -> Entry:
        """An entry about a row of ``model`` that nobody can name."""
        return self._make(model, action, "", text, {}, using, more)

    def make_statement_entry(
        self,
        model: type[Model],
        action: str,
        values: Mapping[str, Any],
        using: str,
        more: Mapping[str, Any],
    ) -> Entry | None:
        """An entry about all rows of a bulk write, or None. What they were nobody has read."""
        changes: dict[str, Any] = {}
        for name, _, store, _ in self.get_plan(model).stored:
            if name in values:
                value = values[name]
                is_known = value is not UNKNOWN and not hasattr(value, "resolve_expression")
                changes[name] = [str(UNKNOWN), store(value) if is_known else str(UNKNOWN)]
        if not more["rows"] or not (changes or action == "create"):
            return None
        text = f"{more['rows']} {model._meta.verbose_name_plural}"
        return self._make(model, action, "", text, changes, using, more)

    def _make(
        self,
        model: type[Model],
        action: str,
        key: str,
        text: str,
        changes: Any,
        using: str,
        more: Mapping[str, Any],
    ) -> Entry:
        told, content_type_id = self._get_circumstances(model, using, more)
        return Entry(
            told.at,
            action,
            content_type_id,
            key,
            text,
            encode(changes),
            told.actor_id,
            told.actor_text,
            told.context,
            told.unit,
            told.using,
        )

    def _get_circumstances(
        self, model: type[Model], using: str, more: Mapping[str, Any]
    ) -> tuple[Circumstances, Any]:
        """What the entries of a write have in common, and the key of the model's content type."""
        unit, scope = get_unit(), get_scope()
        key = (self, model, *more.items())
        if unit is not None and self.is_plain:
            noted = unit.notes.get(key)
            if noted is not None and noted[0] is scope:
                return noted[1]  # type: ignore[no-any-return]
        is_told = scope is not None or not self.is_plain
        told = {**(self.receiver.get_context() if is_told else {}), **more}
        circumstances = get_circumstances(
            self.receiver.get_actor() if is_told else None,
            encode(to_json(told, self.secrets)) if told else "{}",
            None if unit is None else unit.id,
            using,
        )
        found = circumstances, self.log.get_content_type_id(model)
        if unit is not None:
            unit.notes[key] = scope, found
        return found

    def describe(self, instance: Model) -> str:
        """What its receiver calls the row, without secrets."""
        try:
            text = to_text(str(self.receiver.get_object_text(instance)))
        except Exception:
            # A row that cannot say its name is recorded all the same.
            text = f"{instance._meta.object_name} {instance.pk}"
        for attname in self.get_plan(type(instance)).secrets:
            secret = instance.__dict__.get(attname)
            if isinstance(secret, str) and secret:
                text = text.replace(secret, REDACTED)
        return text


def _make_plan(
    model: type[Model],
    fields: Iterable[Field[Any, Any]],
    extra_secrets: tuple[str, ...],
    replace: Callable[[Any], str],
) -> Plan:
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
                _is_same if columns[field.attname].is_mutable else eq,
            )
            for field in fields
        ),
        tuple(field.attname for field in concrete if is_secret(field.name, extra_secrets)),
        get_stamps(model),
    )


def is_told_by_child(teller: object, instance: Model) -> bool:
    """Has this deletion been told of a multi-table child? It sends the signal for each of its
    parents, too. ``teller``: who tells."""
    unit = get_unit()
    if unit is None:
        return False
    told = unit.notes.setdefault((teller, "deleted"), set())
    for parent, link in instance._meta.parents.items():
        if link is not None:
            told.add((parent._meta.concrete_model, getattr(instance, link.attname)))
    return (instance._meta.concrete_model, instance.pk) in told


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
    if not extra_secrets and replace is redact:
        return to_json
    return partial(to_json, extra_secrets=extra_secrets, replace=replace)


def _store_text(value: Any) -> Any:
    if value.__class__ is str and value.isprintable():
        return value
    return to_json(value)


def _is_auto_now(field: Field[Any, Any]) -> bool:
    return isinstance(field, DateField | TimeField) and field.auto_now


def _is_same(before: Any, after: Any) -> bool:
    if before.__class__ is dict or before.__class__ is list:
        # 1 equals True, and is another JSON.
        return bool(before == after) and encode_sorted(before) == encode_sorted(after)
    return bool(before == after) or bool(before != before and after != after)
