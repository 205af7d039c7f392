"""What stands in the way of taking an entry back: each is a RevertError that says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db.models import DO_NOTHING, Field, Model, ProtectedError, QuerySet, RestrictedError
from django.db.models.deletion import Collector, get_candidate_relations_to_delete

from django_signal_kit.audit.decoding import NotKept, decode, is_same_column
from django_signal_kit.audit.refusals import RevertError
from django_signal_kit.rows.columns import get_columns
from django_signal_kit.rows.values import to_json


def check_is_still(entry: Any, row: Model, field: Field[Any, Any], new: Any) -> None:
    by_force = "sets it back all the same"
    try:
        was = decode(field, new)
    except NotKept as error:
        # What is there now may be said as little.
        raise RevertError(
            f"Nobody can tell whether {field} has changed since entry {entry.pk}: {error}",
            by_force,
        ) from error
    column = get_columns(type(row))[field.attname]
    present = column.get(row)
    if not is_same_column(field, was, present):
        raise RevertError(
            f"{field} has changed since entry {entry.pk}: it is {to_json(column.tell(present))!r} "
            f"now, and not {new!r}.",
            by_force,
        )


def check_are_there(entry: Any, field: Any, keys: list[Any]) -> None:
    rows: QuerySet[Any] = QuerySet(field.remote_field.model, using=entry.using)
    missing = set(keys) - set(rows.filter(pk__in=keys).values_list("pk", flat=True))
    if missing:
        raise RevertError(
            f"{field} of entry {entry.pk} was linked to rows that are gone: "
            f"{', '.join(sorted(map(str, missing)))}."
        )


def check_targets(entry: Any, row: Model, names: Iterable[str]) -> None:
    """Refuse a foreign key to a row that is gone: the database may do so at the commit only."""
    for name in names:
        field: Any = get_field(type(row), name)
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


def check_takes_along(entry: Any, row: Model, force: bool) -> None:
    """Refuse to delete what other rows need, and, unless forced, what takes them along."""
    collector = Collector(using=entry.using, origin=row)
    try:
        collector.collect([row])
    except (ProtectedError, RestrictedError) as error:
        raise RevertError(
            f"Entry {entry.pk} created a row that others need by now: {error.args[0]}"
        ) from error
    if not force:
        _check_leaves_alone(entry, row)
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


def _check_leaves_alone(entry: Any, row: Model) -> None:
    """Refuse to delete what Django would delete under those who point to it."""
    for relation in list_untended(type(row)):
        rows: QuerySet[Any] = QuerySet(relation.related_model, using=entry.using)
        value = getattr(row, relation.field.target_field.attname)
        count = rows.filter(**{relation.field.attname: value}).count()
        if count:
            raise RevertError(
                f"{count} of {relation.related_model._meta.label} point to the row that entry "
                f"{entry.pk} created, and DO_NOTHING would leave them so.",
                by_force="leaves it to the database",
            )


def list_untended(model: type[Model]) -> list[Any]:
    """The relations whose rows Django leaves to the database when a row of ``model`` is deleted,
    which then refuses, maybe at the commit only."""
    relations: Iterable[Any] = get_candidate_relations_to_delete(model._meta)
    return [
        relation
        for relation in relations
        if relation.on_delete is DO_NOTHING and relation.field.db_constraint
    ]


def get_field(model: type[Model], name: str) -> Any:
    try:
        return model._meta.get_field(name)
    except FieldDoesNotExist as error:
        raise RevertError(f"{model._meta.label} has no field {name!r} any more.") from error


def get_column(model: type[Model], name: str) -> Any:
    field = get_field(model, name)
    if not field.concrete or field.many_to_many:
        raise RevertError(f"{model._meta.label}.{name} is no column any more.")
    return field
