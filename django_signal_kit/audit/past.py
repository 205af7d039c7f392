"""A row as it was, computed from the row as it is and the entries since."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Collection, Iterable
from typing import Any, NoReturn

from django.core.exceptions import FieldDoesNotExist
from django.db.models import Model, QuerySet

from django_signal_kit.audit.filing import show_files
from django_signal_kit.audit.kin import KeyLostError, Kin, Target
from django_signal_kit.audit.plans import Stamps
from django_signal_kit.audit.retracing import HistoryIncomplete as HistoryIncomplete
from django_signal_kit.audit.retracing import Past
from django_signal_kit.audit.told import tell
from django_signal_kit.rows.values import is_redacted, to_json
from django_signal_kit.wiring.registry import registry

_COLUMNS = ("pk", "action", "object_pk", "content_type_id", "changes", "context")


def get_past(
    log: QuerySet[Any], target: Target, moment: datetime.datetime, fields: Iterable[str] | None
) -> Model | None:
    """See ``AuditEntryQuerySet.as_of``."""
    model = target.model
    stamps = get_told_stamps(model)
    needed = _get_needed(model, fields, stamps)
    # The row first: what is written in between is undone then, and not told as of the past.
    today = _read_today(target)
    past = Past(model, get_recorded(model), stamps, today)
    try:
        kin = Kin(log, target, today)
    except KeyLostError as error:
        raise HistoryIncomplete(*error.args) from error
    knows = _retrace(log, past, kin, moment)
    if past.doubt is not None:
        raise HistoryIncomplete(
            f"Entry {past.doubt} may have created the row of {past.label} with the key "
            f"{target.pk!r}, or it was there before: the log does not tell."
        )
    past.check_existence()
    if not (past.was_created or knows) and not log.filter(at__lte=moment).exists():
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
    return {field.name for log in get_logs(model) for field in log.list_fields(model)}


def get_told_stamps(model: type[Model]) -> Stamps:
    """The stamps of ``model``. One is told if any AuditLog that records it has ``stamps=True``."""
    logs = [log for log in get_logs(model) if log.stamps]
    return Stamps.of(model, (field.name for log in logs for field in log.list_fields(model)))


def get_logs(model: type[Model]) -> list[Any]:
    """The AuditLogs that cover ``model``."""
    # A circle otherwise: the receiver's module is read before the models are.
    from django_signal_kit.audit.audit_log import AuditLog

    return [log for log in registry.get_covering(model) if isinstance(log, AuditLog)]


def _get_needed(
    model: type[Model], fields: Iterable[str] | None, stamps: Stamps
) -> Collection[str]:
    concrete = {field.name: field for field in model._meta.concrete_fields}
    if fields is None:
        return concrete.keys() - stamps.lost
    needed = set(fields)
    for name in needed - concrete.keys():
        raise FieldDoesNotExist(
            f"fields names {name!r}, which is no column of {model._meta.label}. It has "
            f"{', '.join(concrete)}."
        )
    # A model cannot do without its key.
    return needed | {name for name, field in concrete.items() if field.primary_key}


def _read_today(target: Target) -> dict[str, Any] | None:
    rows: QuerySet[Any, Any] = QuerySet(target.model, using=target.using)
    names = [field.attname for field in target.model._meta.concrete_fields]
    found = list(rows.filter(pk=target.pk).values(*names))
    return found[0] if found else None


def _retrace(log: QuerySet[Any], past: Past, kin: Kin, moment: datetime.datetime) -> bool:
    """Whether there is an entry from ``moment`` or before."""
    entries = log.filter(
        kin.get_filter(), using=kin.target.using, action__in=("create", "update", "delete")
    ).order_by("-at", "-pk")
    knows = False
    for at, *row in entries.values_list("at", *_COLUMNS).iterator(chunk_size=500):
        entry = tell(kin, *row)
        if at > moment:
            past.undo(entry)
            continue
        knows = True
        if past.compare(entry):
            break
    return knows


def _make(target: Target, moment: datetime.datetime, values: dict[str, Any]) -> Model:
    names = [
        field.attname for field in target.model._meta.concrete_fields if field.attname in values
    ]
    row = target.model.from_db(target.using, names, [values[name] for name in names])
    show_files(row, moment)
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
