"""Takes back what an entry tells."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from django.contrib.auth import get_permission_codename
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.db import connections, router
from django.db.models import (
    CharField,
    DecimalField,
    Field,
    FileField,
    Model,
    QuerySet,
)

from django_signal_kit.audit.decoding import decode
from django_signal_kit.audit.filing import bring_back_files
from django_signal_kit.audit.keys import read_key
from django_signal_kit.audit.objections import (
    check_are_there,
    check_is_still,
    check_takes_along,
    check_targets,
    get_column,
    get_field,
    list_untended,
)
from django_signal_kit.audit.past import get_recorded
from django_signal_kit.audit.plans import get_stamps
from django_signal_kit.audit.promoted import find_older_parent
from django_signal_kit.audit.refusals import RevertError as RevertError
from django_signal_kit.audit.refusals import as_a_whole, refusing
from django_signal_kit.current import context
from django_signal_kit.rows.database import lock_rows
from django_signal_kit.rows.fields import assign
from django_signal_kit.units.locking import lock_before_reading

#: Who may revert, beside the permission for the row: a codename in the app of the log's model.
PERMISSION = "revert_auditentry"


def revert(entry: Any, user: Any, force: bool) -> None:
    """See ``AbstractAuditEntry.revert``."""
    with refusing(entry):
        model = _get_model(entry)
    needs, act = _ACTIONS[entry.action]
    if user is not None:
        _check_permission(entry, model, user, needs)
    told = {} if user is None else {"actor": user}
    tables = [relation.related_model._meta.db_table for relation in list_untended(model)]
    with (
        as_a_whole(entry, tables),
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
    if "[redacted " in entry.object_pk:
        raise RevertError(
            f"Entry {entry.pk} is about a row whose key is a secret, which the log does not have."
        )
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
    for name, (old, new) in entry.changes.items():
        field = get_column(model, name)
        if name in stamps or field.generated:
            continue
        value = _decode(field, old)
        if not force:
            check_is_still(entry, row, field, new)
        assign(row, field.attname, value)
        names.append(name)
    check_targets(entry, row, names)
    bring_back_files(entry, row, {*names}, force=force)
    stamped = [name for name in stamps if getattr(get_column(model, name), "auto_now", False)]
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
    parent = None if force else find_older_parent(entry, row)
    if parent is not None:
        raise RevertError(
            f"Entry {entry.pk} made a {model._meta.label} of a row of {parent._meta.label} that "
            f"was there before it.",
            by_force="deletes that too",
        )
    check_takes_along(entry, row, force)
    row.delete(using=entry.using)


def _revert_delete(entry: Any, model: type[Model], force: bool) -> None:
    values = _get_deleted(entry, model)
    row = model(**values)
    if _get_rows(entry, model).filter(pk=row.pk).exists():
        raise RevertError(
            f"There is a row of {model._meta.label} with the key {row.pk!r}: entry {entry.pk} "
            f"cannot bring back another."
        )
    names = {field.name for field in model._meta.concrete_fields}
    check_targets(entry, row, names)
    bring_back_files(entry, row, names, force=force)
    added = {
        field.attname: values[field.attname]
        for field in model._meta.concrete_fields
        if getattr(field, "auto_now_add", False) and field.attname in values
    }
    row.save(using=entry.using, force_insert=True)
    if added:
        # Saving has stamped them with the present.
        _get_rows(entry, model).filter(pk=row.pk).update(**added)


def _get_deleted(entry: Any, model: type[Model]) -> dict[str, Any]:
    """The values of a row that was deleted, by attname; the rest is left to defaults."""
    for name in entry.changes:
        get_column(model, name)
    recorded = get_recorded(model)
    keys = dict(zip(model._meta.pk_fields, read_key(model, entry.object_pk), strict=True))
    known = {*entry.changes, *(field.name for field in keys)}
    pairs = [
        {link.name, parent._meta.pk.name}
        for parent, link in model._meta.parents.items()
        if link is not None
    ]
    # Of a parent's key and the link to it Django makes one from the other.
    linked = {name for pair in pairs if pair & known for name in pair}
    values = {}
    for field in model._meta.concrete_fields:
        if field.generated:
            continue
        if field.name in entry.changes:
            old, _ = entry.changes[field.name]
            values[field.attname] = _decode(field, old)
        elif field in keys:
            values[field.attname] = keys[field]
        elif field.null and field.name in recorded:
            # What was NULL is not in the entry.
            values[field.attname] = None
        elif field.name not in linked and not _has_default(field):
            raise RevertError(
                f"{field} is not known: entry {entry.pk} does not have it, and it has no default."
            )
    return values


def _has_default(field: Field[Any, Any]) -> bool:
    """Can a row be made without a value for it?"""
    return (
        field.has_default()
        or field.has_db_default()
        or field.null
        or (field.blank and field.empty_strings_allowed)
        or getattr(field, "auto_now", False)
        or getattr(field, "auto_now_add", False)
    )


def _revert_links(entry: Any, model: type[Model], force: bool) -> None:
    row = _lock(entry, model)
    for name, change in entry.changes.items():
        field = get_field(model, name)
        if not field.many_to_many or field.auto_created:
            raise RevertError(f"{model._meta.label}.{name} is no many-to-many field any more.")
        through = field.remote_field.through
        if router.db_for_write(through, instance=row) != entry.using:
            raise RevertError(
                f"{field} of entry {entry.pk} is about the database {entry.using!r}, and a router "
                f"writes {through._meta.label} elsewhere."
            )
        for verb, stored in change.items():
            keys = [decode(field.remote_field.model._meta.pk, key) for key in stored]
            # A link may name them by another field than the key.
            others: QuerySet[Any] = QuerySet(field.remote_field.model, using=entry.using)
            others = others.filter(pk__in=keys)
            if verb == "added":
                getattr(row, name).remove(*others)
            else:
                check_are_there(entry, field, keys)
                getattr(row, name).add(*others)


def _decode(field: Field[Any, Any], stored: Any) -> Any:
    """A value of an entry, if it fits into the column as that is today: not every database says
    so, or rounds as we would."""
    value = decode(field, stored)
    if isinstance(field, CharField | FileField) and isinstance(value, str):
        limit = field.max_length
        if limit is not None and len(value) > limit:
            raise RevertError(f"{field} has room for {limit} characters, and not for {value!r}.")
    if isinstance(field, DecimalField) and isinstance(value, Decimal) and value.is_finite():
        places = field.decimal_places
        if places is not None and round(value, places) != value:
            raise RevertError(f"{field} has {places} decimal places, and not those of {value}.")
    return value


def _lock(entry: Any, model: type[Model]) -> Any:
    connection = connections[entry.using]
    lock_before_reading(connection, model)
    keys = read_key(model, entry.object_pk)
    key = keys[0] if len(keys) == 1 else tuple(keys)
    row = lock_rows(_get_rows(entry, model), connection).filter(pk=key).first()
    if row is None:
        raise RevertError(
            f"The row of {model._meta.label} with the key {entry.object_pk} that entry {entry.pk} "
            f"is about is gone."
        )
    return row


def _get_rows(entry: Any, model: type[Model]) -> QuerySet[Any]:
    return QuerySet(model, using=entry.using)


#: Action -> the permission that taking it back needs, and what does so.
_ACTIONS: dict[str, tuple[str, Callable[[Any, type[Model], bool], None]]] = {
    "create": ("delete", _revert_create),
    "update": ("change", _revert_update),
    "delete": ("add", _revert_delete),
    "m2m_add": ("change", _revert_links),
    "m2m_remove": ("change", _revert_links),
    "m2m_clear": ("change", _revert_links),
}
