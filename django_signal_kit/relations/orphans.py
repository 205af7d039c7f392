"""Rows that nothing points to any more."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from django.db import connections, transaction
from django.db.models import (
    DO_NOTHING,
    PROTECT,
    RESTRICT,
    Exists,
    ForeignKey,
    Model,
    OuterRef,
    Q,
    QuerySet,
)

from django_signal_kit.relations.generic import get_content_type, get_values, leave_out_generic
from django_signal_kit.relations.pointers import Pointer, in_parts, lock
from django_signal_kit.rows.database import lock_rows

_PROTECTING = (PROTECT, RESTRICT, DO_NOTHING)


def list_pointers(model: type[Model]) -> Iterator[tuple[str, str, Pointer]]:
    """The name on the side of ``model``, ``"app.Model.field"``, and the foreign key, of all by
    which rows of ``model`` are pointed to.

    Not the links of its own many-to-many fields: by those it points to others.
    """
    for rel in model._meta.get_fields(include_hidden=True):
        field: Any = getattr(rel, "field", None)
        if rel.concrete or not isinstance(field, ForeignKey) or rel.many_to_many:
            continue
        if field.remote_field.parent_link and issubclass(model, field.model):
            continue
        pointer = Pointer(field)
        if not pointer.is_link:
            name = rel.get_accessor_name() or ""  # type: ignore[union-attr]
            yield name, f"{field.model._meta.label}.{field.name}", pointer
            continue
        declaring: Any = field.model._meta.auto_created
        for m2m in declaring._meta.many_to_many:
            if m2m.remote_field.through is field.model and field.name != m2m.m2m_field_name():
                rel = m2m.remote_field
                name = m2m.name if rel.symmetrical else rel.get_accessor_name() or ""
                yield name, f"{m2m.model._meta.label}.{m2m.name}", pointer


def is_protecting(pointer: Pointer) -> bool:
    """Would the database or Django refuse to delete a row to which it points?"""
    return pointer.field.remote_field.on_delete in _PROTECTING


def find_orphans(
    model: type[Model],
    conditions: dict[str, Collection[Any]],
    pointers: Collection[Pointer],
    using: str,
    **more: Any,
) -> list[Any]:
    """Those of the rows that match to which none of ``pointers`` points, nor a generic foreign
    key, each locked so that nobody can point to it anew. In a transaction.

    ``conditions`` is the name of a column and values of it; ``more`` are for ``filter()``.
    """
    connection = connections[using]
    ((name, values),) = conditions.items()
    orphans: QuerySet[Any] = QuerySet(model, using=using).filter(_is_orphan(model, pointers))
    found: list[Any] = []
    for some in in_parts(values):
        if connection.features.has_select_for_no_key_update:
            # Of two that take away the last two pointers at once the second sees what is left.
            lock(model, {f"{name}__in": some, **more}, using)
        pks = list(orphans.filter(**{f"{name}__in": some}, **more).values_list("pk", flat=True))
        if pks and connection.features.has_select_for_update:
            # Whoever holds one is about to point to it: it stays. And who did so until now is
            # seen only by a statement that starts after the lock.
            rows: QuerySet[Any] = QuerySet(model, using=using).filter(pk__in=pks).order_by("pk")
            pks = [row.pk for row in lock_rows(rows, connection, no_key=False, skip_locked=True)]
        if pks:
            rows = orphans.filter(pk__in=pks).order_by("pk")
            found += leave_out_generic(model, list(rows), using)
    return found


def find_left(
    model: type[Model],
    generic: Any,
    owner: type[Model],
    pks: Collection[Any],
    pointers: Collection[Pointer],
    using: str,
) -> list[Any]:
    """The orphans among the rows whose generic foreign key names one of these objects that are
    gone."""
    gone = set(pks)
    for some in in_parts(pks):
        there: QuerySet[Any] = QuerySet(owner, using=using).filter(pk__in=some)
        gone -= set(there.values_list("pk", flat=True))
    kind = get_content_type(owner, using, concrete=generic.for_concrete_model)
    with transaction.atomic(using, savepoint=False):
        return find_orphans(
            model,
            {generic.fk_field: get_values(model, generic, gone)},
            pointers,
            using,
            **{generic.ct_field: kind},
        )


def hold(pointer: Pointer, keys: Iterable[Any], using: str) -> None:
    """Keep the rows to which a new pointer leads from being deleted by others meanwhile.

    PostgreSQL alone needs it: it looks at Django's foreign keys only when the transaction is
    committed, so that a row may be gone by then.
    """
    connection = connections[using]
    if connection.vendor != "postgresql" or not connection.in_atomic_block:
        return
    target = pointer.field.target_field
    for some in in_parts(key for key in keys if key is not None):
        rows: QuerySet[Any] = QuerySet(target.model, using=using)
        rows = rows.filter(**{f"{target.attname}__in": some}).order_by("pk").values_list("pk")
        sql, parameters = rows.query.get_compiler(using).as_sql()
        with connection.cursor() as cursor:
            cursor.execute(f"{sql} FOR KEY SHARE", parameters)


def _is_orphan(model: type[Model], pointers: Collection[Pointer]) -> Q:
    condition = Q()
    for pointer in pointers:
        target = "pk" if pointer.field.target_field.primary_key else pointer.target
        holders: QuerySet[Any] = QuerySet(pointer.holder)
        holders = holders.filter(**{pointer.attname: OuterRef(target)})
        if issubclass(pointer.holder, model):
            # A row that points to itself is pointed to by nobody else.
            holders = holders.exclude(pk=OuterRef("pk"))
        condition &= ~Q(Exists(holders))
    return condition
