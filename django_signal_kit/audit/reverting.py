"""Takes back what an entry tells."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.auth import get_permission_codename
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import FieldDoesNotExist, PermissionDenied
from django.db import connections
from django.db.models import Field, Model, ProtectedError, QuerySet, RestrictedError
from django.db.models.deletion import Collector

from django_signal_kit.audit.decoding import NotDecodable, decode
from django_signal_kit.audit.plans import get_stamps
from django_signal_kit.current import context
from django_signal_kit.rows.database import lock_rows
from django_signal_kit.rows.values import UNKNOWN, to_json
from django_signal_kit.units.locking import lock_before_reading
from django_signal_kit.units.unit import batch

#: Who may revert, beside the permission for the row: a codename in the app of the log's model.
PERMISSION = "revert_auditentry"


class RevertError(ValueError):
    """What an entry tells cannot be taken back: ``reason`` is a sentence that says why."""

    def __init__(self, reason: str, by_force: str = "") -> None:
        """``by_force``: what ``force=True`` would do all the same, if anything."""
        super().__init__(f"{reason} force=True {by_force}." if by_force else reason)
        self.reason = reason
        self.by_force = by_force


def revert(entry: Any, user: Any, force: bool) -> None:
    """See ``AbstractAuditEntry.revert``."""
    model = _get_model(entry)
    needs, act = _ACTIONS[entry.action]
    if user is not None:
        _check_permission(entry, model, user, needs)
    told = {} if user is None else {"actor": user}
    with (
        batch(entry.using),
        context(reason=f"revert of entry {entry.pk}", reverts=entry.pk, **told),
    ):
        act(entry, model, force)


def may_revert(entry: Any, user: Any) -> bool:
    """Is there something to take back, and may ``user`` do so? Says nothing of what the row is
    now. Asks for permissions, and reads no row."""
    try:
        _check_permission(entry, _get_model(entry), user, _ACTIONS[entry.action][0])
    except (RevertError, PermissionDenied):
        return False
    return True


def _get_model(entry: Any) -> type[Model]:
    if entry.action not in _ACTIONS:
        raise RevertError(f"Entry {entry.pk} tells of no change of a row ({entry.action}).")
    if not entry.object_pk:
        raise RevertError(f"Entry {entry.pk} is about a whole statement, and names no row.")
    if entry.using not in connections:
        raise RevertError(
            f"Entry {entry.pk} is about the database {entry.using!r}, which is gone."
        )
    try:
        kind = entry.content_type
    except ContentType.DoesNotExist:
        kind = None
    model: type[Model] | None = None if kind is None else kind.model_class()
    if model is None:
        raise RevertError(f"Entry {entry.pk} is about a model that is gone.")
    return model


def _check_permission(entry: Any, model: type[Model], user: Any, needs: str) -> None:
    codename = get_permission_codename(needs, model._meta)
    for name in (
        f"{entry._meta.app_label}.{PERMISSION}",
        f"{model._meta.app_label}.{codename}",
    ):
        if not user.has_perm(name):
            raise PermissionDenied(f"{user} needs the permission {name} to revert the entry.")


def _revert_update(entry: Any, model: type[Model], force: bool) -> None:
    row = _lock(entry, model)
    stamps = get_stamps(model)
    names = []
    with _telling(entry):
        for name, (old, new) in entry.changes.items():
            field = _get_field(model, name)
            if name in stamps or field.generated:
                continue
            value = decode(field, old)
            if not force:
                _check_is_still(entry, row, field, new)
            setattr(row, field.attname, value)
            names.append(name)
    _check_targets(entry, row, names)
    stamped = [name for name in stamps if getattr(_get_field(model, name), "auto_now", False)]
    if names:
        row.save(using=entry.using, update_fields=[*names, *stamped])


def _revert_create(entry: Any, model: type[Model], force: bool) -> None:
    told = entry.context if isinstance(entry.context, dict) else {}
    if told.get("reason") == "backfill":
        raise RevertError(f"Entry {entry.pk} was written for a row that was there before the log.")
    if told.get("certain") is False and not force:
        raise RevertError(
            f"Entry {entry.pk} does not tell for certain that it created the row.",
            by_force="deletes it all the same",
        )
    row = _lock(entry, model)
    _check_takes_along(entry, row, force)
    row.delete(using=entry.using)


def _revert_delete(entry: Any, model: type[Model], force: bool) -> None:
    with _telling(entry):
        row = model(**_get_deleted(entry, model))
    if _get_rows(entry, model).filter(pk=row.pk).exists():
        raise RevertError(
            f"There is a row of {model._meta.label} with the key {row.pk!r}: entry {entry.pk} "
            f"cannot bring back another."
        )
    _check_targets(entry, row, [field.name for field in model._meta.concrete_fields])
    added = {
        field.attname: getattr(row, field.attname)
        for field in model._meta.concrete_fields
        if getattr(field, "auto_now_add", False)
    }
    row.save(using=entry.using, force_insert=True)
    if added:
        # Saving has stamped them with the present.
        _get_rows(entry, model).filter(pk=row.pk).update(**added)


def _get_deleted(entry: Any, model: type[Model]) -> dict[str, Any]:
    """The values of a row that was deleted, by attname."""
    for name in entry.changes:
        _get_field(model, name)
    values = {}
    for field in model._meta.concrete_fields:
        if field.generated:
            continue
        # What was NULL is not in the entry.
        stored = None if field.null else str(UNKNOWN)
        if field.name in entry.changes:
            stored = entry.changes[field.name][0]
        values[field.attname] = decode(field, stored)
    return values


def _revert_links(entry: Any, model: type[Model], force: bool) -> None:
    row = _lock(entry, model)
    for name, change in entry.changes.items():
        field: Any = _get_field(model, name)
        for verb, stored in change.items():
            with _telling(entry):
                keys = [decode(field.related_model._meta.pk, key) for key in stored]
            # A link may name them by another field than the key.
            others: QuerySet[Any] = QuerySet(field.related_model, using=entry.using)
            others = others.filter(pk__in=keys)
            if verb == "added":
                getattr(row, name).remove(*others)
            else:
                _check_are_there(entry, field, keys)
                getattr(row, name).add(*others)


def _check_is_still(entry: Any, row: Model, field: Field[Any, Any], new: Any) -> None:
    present = to_json(getattr(row, field.attname))
    if present != new:
        raise RevertError(
            f"{field} has changed since entry {entry.pk}: it is {present!r} now, and not {new!r}.",
            by_force="sets it back all the same",
        )


def _check_are_there(entry: Any, field: Any, keys: list[Any]) -> None:
    rows: QuerySet[Any] = QuerySet(field.related_model, using=entry.using)
    missing = set(keys) - set(rows.filter(pk__in=keys).values_list("pk", flat=True))
    if missing:
        raise RevertError(
            f"{field} of entry {entry.pk} was linked to rows that are gone: "
            f"{', '.join(sorted(map(str, missing)))}."
        )


def _check_targets(entry: Any, row: Model, names: Iterable[str]) -> None:
    """Refuse a foreign key to a row that is gone: the database may do so at the commit only."""
    for name in names:
        field: Any = _get_field(type(row), name)
        if not field.is_relation or not field.db_constraint:
            continue
        # The row of a multi-table parent is made along with the child's.
        if field.remote_field.parent_link:
            continue
        value = getattr(row, field.attname)
        if value is None:
            continue
        target = field.remote_field.model
        rows: QuerySet[Any] = QuerySet(target, using=entry.using)
        if not rows.filter(**{field.target_field.attname: value}).exists():
            raise RevertError(
                f"{field} of entry {entry.pk} pointed to the row of {target._meta.label} with "
                f"{field.target_field.name} {value!r}, which is gone. Bring that back first."
            )


def _check_takes_along(entry: Any, row: Model, force: bool) -> None:
    """Refuse to delete what other rows need, and, unless forced, what takes them along."""
    collector = Collector(using=entry.using, origin=row)
    try:
        collector.collect([row])
    except (ProtectedError, RestrictedError) as error:
        raise RevertError(
            f"Entry {entry.pk} created a row that others need by now: {error.args[0]}"
        ) from error
    others: Counter[type[Model]] = Counter()
    for model, found in collector.data.items():
        others[model] += len(found)
    for rows in collector.fast_deletes:
        others[rows.model] += rows.count()
    others.subtract([type(row), *type(row)._meta.get_parent_list()])
    taken = [
        f"{count} of {model._meta.label}"
        for model, count in others.items()
        if count > 0 and not model._meta.auto_created
    ]
    if taken and not force:
        raise RevertError(
            f"To delete the row that entry {entry.pk} created would delete {', '.join(taken)} "
            f"along with it.",
            by_force="deletes all of them",
        )


def _lock(entry: Any, model: type[Model]) -> Any:
    connection = connections[entry.using]
    lock_before_reading(connection, model)
    key = _get_key(entry, model)
    row = lock_rows(_get_rows(entry, model), connection).filter(pk=key).first()
    if row is None:
        raise RevertError(
            f"The row of {model._meta.label} with the key {entry.object_pk} that entry {entry.pk} "
            f"is about is gone."
        )
    return row


def _get_key(entry: Any, model: type[Model]) -> Any:
    fields = model._meta.pk_fields
    if len(fields) == 1:
        return fields[0].to_python(entry.object_pk)
    values = json.loads(entry.object_pk)
    return tuple(decode(field, value) for field, value in zip(fields, values, strict=True))


def _get_rows(entry: Any, model: type[Model]) -> QuerySet[Any]:
    return QuerySet(model, using=entry.using)


def _get_field(model: type[Model], name: str) -> Any:
    try:
        return model._meta.get_field(name)
    except FieldDoesNotExist as error:
        raise RevertError(f"{model._meta.label} has no field {name!r} any more.") from error


@contextmanager
def _telling(entry: Any) -> Iterator[None]:
    try:
        yield
    except NotDecodable as error:
        raise RevertError(f"Entry {entry.pk} cannot be reverted: {error}") from error


#: Action -> the permission that taking it back needs, and what does so.
_ACTIONS: dict[str, tuple[str, Callable[[Any, type[Model], bool], None]]] = {
    "create": ("delete", _revert_create),
    "update": ("change", _revert_update),
    "delete": ("add", _revert_delete),
    "m2m_add": ("change", _revert_links),
    "m2m_remove": ("change", _revert_links),
    "m2m_clear": ("change", _revert_links),
}
