"""A row as it was, computed from the row as it is and the entries since."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Collection, Iterable
from typing import Any, NamedTuple, NoReturn

from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import FieldDoesNotExist
from django.db.models import Field, Model, QuerySet

from django_signal_kit.audit.decoding import NotDecodable, decode
from django_signal_kit.audit.keys import to_key
from django_signal_kit.audit.plans import get_stamps
from django_signal_kit.rows.values import UNKNOWN, is_redacted, to_json
from django_signal_kit.wiring.registry import registry


class HistoryIncomplete(ValueError):  # noqa: N818
    """The log cannot tell what a row was."""


class Target(NamedTuple):
    """A row, and the alias of its database."""

    model: type[Model]
    pk: Any
    using: str


class Told(NamedTuple):
    """What one entry tells."""

    pk: Any
    action: str
    object_pk: str
    content_type_id: Any
    changes: Any
    context: Any


class Past:
    """A row on its way back: each ``undo`` takes back what one entry tells, the newest first.

    What entries tell is decoded at the end: a value that nobody can know does no harm if an older
    entry says what it was before.
    """

    def __init__(self, model: type[Model], today: dict[str, Any] | None) -> None:
        self.label = model._meta.label
        self.fields: dict[str, Field[Any, Any]] = {
            field.name: field for field in model._meta.concrete_fields
        }
        self.recorded = get_recorded(model)
        self.today = today or {}
        self.exists = today is not None
        #: Values as entries have them, by name.
        self.stored: dict[str, Any] = {
            name: str(UNKNOWN) for name in self.fields if name not in self.recorded
        }
        #: The entry that may have made the row, or may not.
        self.doubt: Any = None
        self.was_created = False

    def undo(self, entry: Told, *, is_own: bool) -> None:
        """``is_own``: the entry is about the row, and not about its part in another table, nor
        about all rows of a statement."""
        is_certain = _get(entry.context, "certain") is not False
        if entry.action == "update":
            self._undo_update(entry, is_statement=not entry.object_pk)
        elif entry.action == "delete" and (is_own or not self.exists):
            self._undo_delete(entry)
        elif entry.action == "create" and _get(entry.context, "reason") != "backfill":
            self._undo_create(entry, is_certain=is_own and is_certain)
            if not is_certain:
                self.stored = dict.fromkeys(self.fields, str(UNKNOWN))

    def get(self, name: str) -> Any:
        """What a field held. Raises HistoryIncomplete."""
        field = self.fields[name]
        if name not in self.stored:
            return self.today[field.attname]
        try:
            return decode(field, self.stored[name])
        except NotDecodable as error:
            why = "" if name in self.recorded else " No AuditLog that is wired records it."
            raise HistoryIncomplete(f"{error}{why}") from error

    def _undo_update(self, entry: Told, *, is_statement: bool) -> None:
        if not is_statement and not self.exists:
            raise HistoryIncomplete(
                f"Entry {entry.pk} changed a row of {self.label} that is gone since, and no entry "
                f"tells how it went."
            )
        if not is_statement:
            self.doubt = None
        for name, change in entry.changes.items():
            if name in self.fields:
                self.stored[name] = change[0]

    def _undo_delete(self, entry: Told) -> None:
        self.exists, self.doubt, self.was_created = True, None, False
        for name, field in self.fields.items():
            if name in entry.changes:
                self.stored[name] = entry.changes[name][0]
            else:
                # What was NULL is not in the entry of a deletion.
                is_null = field.null and name in self.recorded
                self.stored[name] = None if is_null else str(UNKNOWN)

    def _undo_create(self, entry: Told, *, is_certain: bool) -> None:
        if is_certain:
            self.exists, self.doubt, self.was_created = False, None, True
        elif self.exists:
            self.doubt = entry.pk


def get_past(
    log: QuerySet[Any], target: Target, moment: datetime.datetime, fields: Iterable[str] | None
) -> Model | None:
    """See ``AuditEntryQuerySet.as_of``."""
    model = target.model
    needed = _get_needed(model, fields)
    # The row first: what is written in between is undone then, and not told as of the past.
    past = Past(model, _read_today(target))
    _undo_since(log, past, target, moment)
    if past.doubt is not None:
        raise HistoryIncomplete(
            f"Entry {past.doubt} may have created the row of {past.label} with the key "
            f"{target.pk!r}, or it was there before: the log does not tell."
        )
    if not past.was_created and not log.filter(at__lte=moment).exists():
        raise HistoryIncomplete(
            f"The log has no entry from {moment} or before, and does not tell when the row of "
            f"{past.label} with the key {target.pk!r} was created."
        )
    if not past.exists:
        return None
    for field, value in zip(model._meta.pk_fields, _as_tuple(target.pk), strict=True):
        if is_redacted(past.stored.get(field.name)):
            # By this very key its entries were found.
            past.stored[field.name] = to_json(value)
    values = {past.fields[name].attname: past.get(name) for name in needed}
    return _make(target, moment, values)


def _as_tuple(pk: Any) -> tuple[Any, ...]:
    return pk if isinstance(pk, tuple) else (pk,)


def get_recorded(model: type[Model]) -> set[str]:
    """The names of the fields of ``model`` that an AuditLog that is wired records."""
    # A circle otherwise: the receiver's module is read before the models are.
    from django_signal_kit.audit.audit_log import AuditLog

    return {
        field.name
        for receiver in registry.receivers
        if isinstance(receiver, AuditLog) and registry.covers(receiver, model)
        for field in receiver.list_fields(model)
    }


def _get_needed(model: type[Model], fields: Iterable[str] | None) -> Collection[str]:
    concrete = {field.name: field for field in model._meta.concrete_fields}
    if fields is None:
        return concrete.keys() - _get_lost_stamps(model)
    needed = set(fields)
    for name in needed - concrete.keys():
        raise FieldDoesNotExist(
            f"fields names {name!r}, which is no column of {model._meta.label}. It has "
            f"{', '.join(concrete)}."
        )
    # A model cannot do without its key.
    return needed | {name for name, field in concrete.items() if field.primary_key}


def _get_lost_stamps(model: type[Model]) -> Collection[str]:
    """Stamps of which the log leaves out those that are alone in a save."""
    from django_signal_kit.audit.audit_log import AuditLog

    keeps = any(
        isinstance(receiver, AuditLog) and receiver.stamps and registry.covers(receiver, model)
        for receiver in registry.receivers
    )
    return () if keeps else get_stamps(model)


def _read_today(target: Target) -> dict[str, Any] | None:
    rows: QuerySet[Any, Any] = QuerySet(target.model, using=target.using)
    names = [field.attname for field in target.model._meta.concrete_fields]
    found = list(rows.filter(pk=target.pk).values(*names))
    return found[0] if found else None


def _undo_since(log: QuerySet[Any], past: Past, target: Target, moment: datetime.datetime) -> None:
    concrete = target.model._meta.concrete_model or target.model
    family = _get_family(concrete)
    kinds = ContentType.objects.db_manager(log.db).get_for_models(concrete, *family)
    parents = {kinds[model].pk for model in family if issubclass(concrete, model)}
    entries = log.filter(
        content_type__in=list(kinds.values()),
        # Bulk writes that were recorded as statements name no row.
        object_pk__in=[to_key(target.model, target.pk), ""],
        using=target.using,
        at__gt=moment,
        action__in=("create", "update", "delete"),
    ).order_by("-at", "-pk")
    for row in entries.values_list(*Told._fields):
        told = Told(*row)
        if told.content_type_id not in parents or told.action == "update":
            is_own = told.content_type_id == kinds[concrete].pk and told.object_pk != ""
            past.undo(told, is_own=is_own)


def _get_family(concrete: type[Model]) -> list[type[Model]]:
    """The models that share a row with ``concrete``: its multi-table parents and children."""
    return [
        model
        for model in apps.get_models()
        if not model._meta.proxy
        and model is not concrete
        and (issubclass(model, concrete) or issubclass(concrete, model))
    ]


def _make(target: Target, moment: datetime.datetime, values: dict[str, Any]) -> Model:
    names = [
        field.attname for field in target.model._meta.concrete_fields if field.attname in values
    ]
    row = target.model.from_db(target.using, names, [values[name] for name in names])
    refuse = _make_refusal(moment)
    # Of this instance alone: another class would be another model.
    row.__dict__.update(save=refuse, delete=refuse, refresh_from_db=_refuse_to_read(moment))
    return row


def _make_refusal(moment: datetime.datetime) -> Callable[..., NoReturn]:
    def refuse(*args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(f"This is the row as it was at {moment}; it is not saved.")

    # Templates do not call it.
    refuse.alters_data = True  # type: ignore[attr-defined]
    return refuse


def _refuse_to_read(moment: datetime.datetime) -> Callable[..., NoReturn]:
    def refuse(using: str | None = None, fields: Any = None, **kwargs: Any) -> NoReturn:
        names = ", ".join(fields or ()) or "all fields"
        raise HistoryIncomplete(f"What {names} held at {moment} was not asked for, or not kept.")

    return refuse


def _get(context: Any, key: str) -> Any:
    return context.get(key) if isinstance(context, dict) else None
