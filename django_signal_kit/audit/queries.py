"""What to ask the log from code. Each question is answered by an index of its table."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Any, Self
from uuid import UUID

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import models, router
from django.utils import timezone

from django_signal_kit.audit.entries import get_kind
from django_signal_kit.audit.keys import to_key
from django_signal_kit.audit.kin import Target
from django_signal_kit.audit.past import get_past

Moment = datetime.datetime | datetime.date
AnyRow = models.Model | tuple[type[models.Model], Any]


class AuditEntryQuerySet(models.QuerySet[Any]):
    """Entries of the audit log, newest first. The methods can be chained with each other and with
    those of every queryset."""

    def for_object(self, obj: AnyRow) -> Self:
        """Those about a row, which is an instance or, if it is gone, ``(Model, pk)``. Raises
        ValueError for an instance that was never saved."""
        target = _get_target(obj)
        key = to_key(target.model, target.pk)
        return self.filter(content_type=get_kind(target.model, self.db), object_pk=key)

    def by(self, user: Any) -> Self:
        """Those of what ``user`` did: an instance, a key, or None for what nobody is named for.
        Raises ValueError for a user without a key."""
        key = getattr(user, "pk", user)
        if key is None and user is not None:
            raise ValueError(f"{user!r} has no key. by(None) finds what nobody is named for.")
        if isinstance(key, int):
            try:
                get_user_model()._meta.pk.run_validators(key)
            except ValidationError:
                # No column holds such a number.
                return self.none()
        return self.filter(actor_id__isnull=True) if key is None else self.filter(actor_id=key)

    def between(self, start: Moment, end: Moment) -> Self:
        """Those from ``start`` to before ``end``, aware datetimes or dates. A date is its midnight
        in the current time zone. Raises ValueError for naive datetimes under USE_TZ, and if
        ``start`` is after ``end``."""
        first, last = _to_datetime("start", start), _to_datetime("end", end)
        if first > last:
            raise ValueError(f"start, {start}, is after end, {end}. Swap them.")
        return self.filter(at__gte=first, at__lt=last)

    def of_unit(self, unit: UUID | str | models.Model) -> Self:
        """Those of what was written together: a unit of work, or that of an entry. An entry
        without a unit stands alone."""
        if not isinstance(unit, models.Model):
            return self.filter(unit=unit)
        found = unit.unit  # type: ignore[attr-defined]
        return self.filter(pk=unit.pk) if found is None else self.filter(unit=found)

    def as_of(self, obj: AnyRow, moment: Moment, fields: Iterable[str] | None = None) -> Any:
        """The row as it was at ``moment``, or None if there was none then.

        An instance that cannot be saved or deleted. Computed from the row as it is now, if there
        is one, and from the entries about it, whatever this queryset is filtered by: two or three
        queries. ``fields`` names those that have to be known; without it all but stamps that the
        log leaves out. The others raise HistoryIncomplete when they are read. What it is related
        to is as it is now.

        Raises HistoryIncomplete, which names the field, if the log cannot tell: nobody has kept
        the value, the field was renamed, added or given another type since, or what the row is
        does not follow from its entries.
        """
        target = _get_target(obj)
        log = self.model._base_manager.using(self.db)
        return get_past(log, target, _to_datetime("moment", moment), fields)


def _get_target(obj: AnyRow) -> Target:
    if isinstance(obj, tuple):
        model, pk = obj
        if pk is None:
            raise ValueError(f"No row of {model._meta.label} has the key None.")
        if not isinstance(pk, tuple):
            pk = model._meta.pk.to_python(pk)
        return Target(model, pk, router.db_for_read(model))
    if obj.pk is None or (obj._state.adding and obj._state.db is None):
        raise ValueError(
            f"{obj!r} was never saved, so no entry is about it. Name a row that is gone as "
            f"({type(obj).__name__}, key)."
        )
    return Target(type(obj), obj.pk, obj._state.db or router.db_for_read(type(obj)))


def _to_datetime(name: str, value: Moment) -> datetime.datetime:
    if not isinstance(value, datetime.datetime):
        value = datetime.datetime.combine(value, datetime.time())
        return timezone.make_aware(value) if settings.USE_TZ else value
    if settings.USE_TZ and timezone.is_naive(value):
        raise ValueError(
            f"{name} is {value!r}, without a time zone. Pass it through "
            f"django.utils.timezone.make_aware()."
        )
    if not settings.USE_TZ and timezone.is_aware(value):
        raise ValueError(
            f"{name} is {value!r}, but USE_TZ is off. Pass it through "
            f"django.utils.timezone.make_naive()."
        )
    return value
