"""Many-to-many changes, told from the side that declares the field."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import connections
from django.db.models import Model, QuerySet

from django_signal_kit.rows.many_to_many import get_many_to_many
from django_signal_kit.units.locking import lock_before_reading
from django_signal_kit.units.unit import UnitOfWork, get_unit


def get_m2m_field(through: type[Model], declaring: type[Model]) -> Any:
    """The many-to-many field of ``declaring`` whose links ``through`` holds."""
    return next(
        field for field in get_many_to_many(declaring) if field.remote_field.through is through
    )


class M2MChange:
    """One many-to-many call, told from the side that declares the field."""

    def __init__(
        self,
        through: type[Model],
        instance: Model,
        reverse: bool,
        model: type[Model],
        using: str,
    ) -> None:
        self.through = through
        self.instance = instance
        self.reverse = reverse
        self.model = model
        self.using = using
        self.field = get_m2m_field(through, model if reverse else type(instance))
        source, target = self.field.m2m_field_name(), self.field.m2m_reverse_field_name()
        self.source, self.target = (target, source) if reverse else (source, target)

    def remember(self, pk_set: set[Any] | None) -> None:
        """Read, before they go, which of the targets are linked; all if ``pk_set`` is None."""
        unit = get_unit()
        if unit is not None:
            unit.notes[self._key(unit)] = self._read(pk_set)

    def recall(self, pk_set: set[Any] | None) -> set[Any]:
        unit = get_unit()
        found = None if unit is None else unit.notes.pop(self._key(unit), None)
        return (pk_set or set()) if found is None else found

    def _key(self, unit: UnitOfWork) -> tuple[Any, ...]:
        return ("m2m", self.through, self.reverse, id(self.instance))

    def _read(self, pk_set: set[Any] | None) -> set[Any]:
        connection = connections[self.using]
        lock_before_reading(connection, self.through)
        rows: QuerySet[Any] = QuerySet(self.through, using=self.using)
        if connection.in_atomic_block and connection.features.has_select_for_update:
            # Who removes the same links at once waits, and finds them gone.
            rows = rows.select_for_update()
        owner = self.through._meta.get_field(self.source)
        value = owner.get_foreign_related_value(self.instance)[0]  # type: ignore[union-attr]
        rows = rows.filter(**{self.source: value})
        if pk_set is not None:
            rows = rows.filter(**{f"{self.target}__in": pk_set})
        return set(rows.values_list(self.target, flat=True))

    def by_row(self, targets: set[Any]) -> Iterable[tuple[Model, set[Any]]]:
        """Each row of the declaring side with the keys that it gained or lost."""
        if not self.reverse:
            yield self.instance, targets
            if not self.field.remote_field.symmetrical:
                return
        rows: QuerySet[Any] = QuerySet(self.model, using=self.using)
        for row in rows.filter(pk__in=targets).order_by("pk"):
            if self.reverse or row.pk != self.instance.pk:
                yield row, {self.instance.pk}
