"""The deletion of orphans: so many at the most, and each told to the log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Model, ProtectedError, QuerySet, RestrictedError

from django_signal_kit.relations.pointers import in_parts
from django_signal_kit.units.loggers import get_logger
from django_signal_kit.units.unit import get_unit

logger = get_logger("django_signal_kit.relations")

#: The most keys in a line of the log.
_SHOWN = 20


@dataclass(frozen=True)
class Removal:
    """Deletes for the receiver ``name``, at most ``limit`` rows in a unit of work, and logs it."""

    name: str
    limit: int
    dry_run: bool

    def delete(self, model: type[Model], rows: list[Any], using: str) -> None:
        label = model._meta.label
        unit = get_unit()
        notes = {} if unit is None else unit.root.notes
        left = self.limit - notes.get(self, 0)
        rows, beyond = rows[:left], rows[left:]
        notes[self] = notes.get(self, 0) + len(rows)
        if beyond:
            logger.error(
                "%s %s %d orphans of %s, for its limit is %d in a unit of work: %s",
                self.name,
                "would leave" if self.dry_run else "leaves",
                len(beyond),
                label,
                self.limit,
                _show(beyond),
                extra={
                    "receiver": self.name,
                    "model": label,
                    "using": using,
                    "count": len(beyond),
                },
            )
        if not rows:
            return
        count, keys = len(rows), _show(rows)
        told = {"receiver": self.name, "model": label, "using": using, "count": count}
        if self.dry_run:
            logger.info("%s would delete %d of %s: %s", self.name, count, label, keys, extra=told)
            return
        try:
            for some in in_parts([row.pk for row in rows]):
                QuerySet(model, using=using).filter(pk__in=some).delete()
        except (ProtectedError, RestrictedError) as error:
            # Its first argument names models and fields; the others are the rows.
            logger.error(
                "%s cannot delete from %s: %s",
                self.name,
                label,
                error.args[0],
                extra={**told, "error": type(error).__name__},
            )
        else:
            logger.info("%s deleted %d of %s: %s", self.name, count, label, keys, extra=told)


def _show(rows: list[Any]) -> str:
    keys = ", ".join(str(row.pk) for row in rows[:_SHOWN])
    return f"{keys}, ..." if len(rows) > _SHOWN else keys
