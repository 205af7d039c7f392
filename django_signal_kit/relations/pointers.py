"""Foreign keys, seen from the rows that they point to: which of them a write may have left.

The links of a many-to-many relation are such foreign keys, too. Django sends no signal of the rows
of a through model that it makes itself: what becomes of them is heard through ``links_changed()``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from django.apps import apps
from django.db import connections
from django.db.models import ForeignKey, Model, QuerySet

from django_signal_kit.rows.database import CHUNK, lock_rows
from django_signal_kit.rows.fields import is_named
from django_signal_kit.rows.snapshots import get_new_row, get_old_row
from django_signal_kit.units.locking import lock_before_reading

_WRITES = frozenset(
    f"{phase}_{write}"
    for phase in ("pre", "post")
    for write in ("save", "bulk_create", "bulk_update", "queryset_update")
)


class Pointer:
    """A foreign key by which rows of ``holder`` point to rows of another model."""

    def __init__(self, field: ForeignKey[Any, Any]) -> None:
        self.field = field
        self.attname: str = field.attname
        self.holder: type[Model] = field.model
        #: The field of the row that is pointed to: its key, but for a ``to_field``.
        self.target: str = field.target_field.attname
        #: Are the rows of ``holder`` links that Django writes silently?
        self.is_link = bool(self.holder._meta.auto_created)

    def get_senders(self, signal_name: str) -> Iterable[type[Model]]:
        """The models by whose signal one hears that a row may point elsewhere."""
        if self.is_link:
            return ()
        if signal_name == "pre_delete":
            return [model for model in apps.get_models() if self.is_deleted_with(model)]
        if signal_name in _WRITES:
            return [model for model in apps.get_models() if issubclass(model, self.holder)]
        return ()

    def is_deleted_with(self, model: type[Model]) -> bool:
        """Does a deletion in ``model`` delete rows of ``holder``? A multi-table child need not be
        looked at: its deletion is told of its parents, too."""
        return model._meta.concrete_model is self.holder._meta.concrete_model

    def is_written(self, names: Collection[str] | None) -> bool:
        """Is the foreign key among the fields that a write names? None is all of them."""
        return names is None or is_named(self.field, names)

    def read(self, using: str, **conditions: Any) -> set[Any]:
        """The keys to which those rows of ``holder`` point that match. One query."""
        lock_before_reading(connections[using], self.holder)
        rows: QuerySet[Any] = QuerySet(self.holder, using=using)
        keys = rows.filter(**conditions).order_by().values_list(self.attname, flat=True)
        return set(keys.distinct()) - {None}

    def read_deleted(self, instance: Model, using: str) -> set[Any]:
        """The key to which ``instance`` points before it is deleted."""
        old = get_old_row(instance, using)
        return set() if old is None else {old[self.attname]} - {None}

    def read_saved(self, instance: Model, created: bool | None, using: str) -> tuple[Any, Any]:
        """The keys to which a row pointed before a save that has been done, and points now."""
        old = None if created else get_old_row(instance, using)
        new = get_new_row(instance, [self.field], using)
        return (None if old is None else old[self.attname]), new[self.attname]

    def read_rows(self, queryset: QuerySet[Any], using: str) -> dict[Any, Any]:
        """Key of a row -> the key that it points to, of the rows that ``queryset`` finds."""
        connection = connections[using]
        lock_before_reading(connection, self.holder)
        rows: QuerySet[Any] = QuerySet(queryset.model, using=using)
        rows = rows.filter(pk__in=queryset.order_by().values("pk"))
        return dict(lock_rows(rows, connection).values_list("pk", self.attname))


def in_parts(keys: Iterable[Any]) -> Iterator[Sequence[Any]]:
    """At most 500 keys at a time, in an order that all processes share."""
    found = list(keys)
    try:
        found.sort()
    except TypeError:
        found.sort(key=str)
    return (found[start : start + CHUNK] for start in range(0, len(found), CHUNK))


def lock(
    model: type[Model], conditions: dict[str, Any], using: str, *, fully: bool = False
) -> None:
    """Lock rows in the order of their keys. Others may still point to them, unless ``fully``."""
    connection = connections[using]
    features = connection.features
    if connection.in_atomic_block and features.has_select_for_update:
        rows: QuerySet[Any] = QuerySet(model, using=using).filter(**conditions)
        no_key = features.has_select_for_no_key_update and not fully
        list(rows.order_by("pk").select_for_update(no_key=no_key).values_list("pk"))
