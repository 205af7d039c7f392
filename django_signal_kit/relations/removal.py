"""The deletion of orphans: so many at the most, and each told to the log."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from django.db.models import Model, ProtectedError, QuerySet, RestrictedError

from django_signal_kit.relations.pointers import in_parts
from django_signal_kit.units.unit import get_unit

logger = logging.getLogger("django_signal_kit")

#: The most keys in a line of the log.
_SHOWN = 20


@dataclass(frozen=True)
class Removal:
    """Deletes for the receiver ``name``, at most ``limit`` rows in a unit of work, and logs it."""

    name: str
    limit: int
    dry_run: bool

    def delete(self, model: type[Model], rows: list[Any], using: str) -> None:
        label, count = model._meta.label, len(rows)
        keys = ", ".join(str(row.pk) for row in rows[:_SHOWN])
        keys += ", ..." if count > _SHOWN else ""
        if not rows:
            return
        if self.dry_run:
            logger.info("%s would delete %d of %s: %s", self.name, count, label, keys)
            return
        unit = get_unit()
        notes = {} if unit is None else unit.root.notes
        deleted = notes.get(self, 0)
        if deleted + count > self.limit:
            logger.error(
                "%s deletes none of %d orphans of %s, for its limit is %d in a unit of work: %s",
                self.name,
                count,
                label,
                self.limit,
                keys,
            )
            return
        notes[self] = deleted + count
        try:
            for some in in_parts([row.pk for row in rows]):
                QuerySet(model, using=using).filter(pk__in=some).delete()
        except (ProtectedError, RestrictedError) as error:
            logger.error("%s cannot delete from %s: %s", self.name, label, error)
        else:
            logger.info("%s deleted %d of %s: %s", self.name, count, label, keys)
