"""Foreign keys, seen from the rows that they point to: which of them a write may have left.

The links of a many-to-many relation are such foreign keys, too. Those of a through model that
Django makes itself are written without a signal of their rows: they are heard through
``m2m_changed``, and read before an object with links is deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.apps import apps
from django.db import connections
from django.db.models import ForeignKey, Model, QuerySet

from django_signal_kit.rows.database import CHUNK, lock_rows
from django_signal_kit.rows.snapshots import get_new_row, get_old_row, get_together
from django_signal_kit.units.locking import lock_before_reading
from django_signal_kit.units.unit import get_unit
from django_signal_kit.writes.m2m import get_m2m_field

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
        #: The other end, if the rows of ``holder`` are links that Django writes silently.
        self.far: Any = None
        declaring = self.holder._meta.auto_created
        if declaring:
            self.m2m_field = get_m2m_field(self.holder, declaring)  # type: ignore[arg-type]
            names = (self.m2m_field.m2m_field_name(), self.m2m_field.m2m_reverse_field_name())
            (far,) = (name for name in names if name != field.name)
            self.far = self.holder._meta.get_field(far)

    def get_senders(self, signal_name: str) -> Iterable[type[Model]]:
        """The models by whose signal one hears that a row may point elsewhere."""
        if signal_name == "pre_delete":
            return [model for model in apps.get_models() if self.is_deleted_with(model)]
        if self.far is not None:
            return ()
        if signal_name in _WRITES:
            return [model for model in apps.get_models() if issubclass(model, self.holder)]
        return ()

    def is_deleted_with(self, model: type[Model]) -> bool:
        """Does a deletion in ``model`` delete rows of ``holder``? A multi-table child need not be
        looked at: its deletion is told of its parents, too."""
        held = self.holder if self.far is None else self.far.remote_field.model
        return model._meta.concrete_model is held._meta.concrete_model

    def is_written(self, names: Iterable[str] | None) -> bool:
        """Is the foreign key among the fields that a write names? None is all of them."""
        return names is None or self.field.name in names or self.attname in names

    def read(self, using: str, **conditions: Any) -> set[Any]:
        """The keys to which those rows of ``holder`` point that match. One query."""
        lock_before_reading(connections[using], self.holder)
        rows: QuerySet[Any] = QuerySet(self.holder, using=using)
        keys = rows.filter(**conditions).order_by().values_list(self.attname, flat=True)
        return set(keys.distinct()) - {None}

    def read_links(
        self, instance: Model, reverse: bool, pk_set: set[Any] | None, using: str
    ) -> set[Any]:
        """The keys whose links a call of ``remove()`` or ``clear()`` is about to delete."""
        source, target = self.m2m_field.m2m_field_name(), self.m2m_field.m2m_reverse_field_name()
        if reverse:
            source, target = target, source
        found: set[Any] = set()
        # A symmetrical relation is a link in each direction.
        is_symmetrical = self.m2m_field.remote_field.symmetrical
        for one, other in ((source, target), (target, source))[: 2 if is_symmetrical else 1]:
            conditions = {one: self._get_value(one, instance)}
            if pk_set is not None:
                conditions[f"{other}__in"] = pk_set
            found |= self.read(using, **conditions)
        return found

    def get_linked(self, instance: Model, reverse: bool, pk_set: set[Any]) -> set[Any]:
        """The keys to which a call of ``add()`` is about to make links."""
        is_own = (self.field.name == self.m2m_field.m2m_reverse_field_name()) is reverse
        own = {self._get_value(self.field.name, instance)}
        if self.m2m_field.remote_field.symmetrical:
            return pk_set | own
        return own if is_own else pk_set

    def _get_value(self, name: str, instance: Model) -> Any:
        field: Any = self.holder._meta.get_field(name)
        return field.get_foreign_related_value(instance)[0]

    def read_deleted(self, instance: Model, using: str) -> set[Any]:
        """The keys to which ``instance`` points, or is linked, before it is deleted.

        Those of all that are deleted together come with the first of them, in one query each 500.
        """
        if self.far is None:
            old = get_old_row(instance, using)
            return set() if old is None else {old[self.attname]} - {None}
        unit = get_unit()
        # By this pointer, not by its field: each receiver has its own, and is told by itself.
        noted = ("links", self, type(instance))
        if unit is not None and noted in unit.notes:
            return set()
        if unit is not None:
            unit.notes[noted] = True
        field = self.far.target_field
        values = [getattr(other, field.attname) for other in get_together(instance)]
        found: set[Any] = set()
        for some in in_parts(values):
            # Nobody may link one of them between the reading and the deletion.
            lock(field.model, {f"{field.attname}__in": some}, using, fully=True)
            found |= self.read(using, **{f"{self.far.name}__in": some})
        return found

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
