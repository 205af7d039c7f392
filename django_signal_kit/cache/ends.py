"""The rows to which a changed row belongs, before the change and after it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.db.models import Model

from django_signal_kit.cache.related import get_own_key, list_ends
from django_signal_kit.rows.database import Row
from django_signal_kit.units.unit import get_unit

if TYPE_CHECKING:
    from django_signal_kit.cache.cache_invalidation import CacheInvalidation


def note_ends(receiver: CacheInvalidation, instance: Model, using: str) -> None:
    """What relations lead to before the change, where the row itself does not say."""
    unit = get_unit()
    paths = [path for path in receiver.related if get_own_key(type(instance), path) is None]
    if paths and unit is not None and instance.pk is not None:
        ends = list_ends(type(instance), paths, (), instance.pk, using)
        unit.notes[receiver, "ends", id(instance)] = list(ends)


def list_stale_ends(
    receiver: CacheInvalidation, instance: Model, rows: Iterable[Row | None], using: str
) -> list[tuple[type[Model], Any]]:
    """The models and keys of what relations led to before the change and lead to now. ``rows``:
    the row as it was and is."""
    if not receiver.related:
        return []
    unit = get_unit()
    noted = [] if unit is None else unit.notes.pop((receiver, "ends", id(instance)), [])
    known = [row for row in rows if row is not None]
    ends = [*noted, *list_ends(type(instance), receiver.related, known, instance.pk, using)]
    return list(dict.fromkeys(ends))
