"""The rows to which a changed row belongs, before the change and after it."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from django.db.models import Model, QuerySet

from django_signal_kit.cache.related import Path
from django_signal_kit.cache.stale import Start
from django_signal_kit.rows.columns import canonical_key
from django_signal_kit.rows.database import CHUNK, Row
from django_signal_kit.rows.snapshots import get_together
from django_signal_kit.units.unit import UnitOfWork

#: A model, and the key of a row of it.
End: TypeAlias = tuple[type[Model], Any]


def list_ends(paths: Iterable[Path], rows: Collection[Row]) -> Iterator[End]:
    """Where the row itself says that it leads, as it was and as it is in ``rows``."""
    for path in paths:
        if path.is_plain:
            yield from ((path.end, key) for key in _list_keys(path, rows))


def list_starts(
    instance: Model, paths: Iterable[Path], rows: Collection[Row], using: str
) -> Iterator[Start]:
    """From where the other paths are to be followed: from where the row itself leads, as it was
    and as it is in ``rows``, or from itself."""
    for path in paths:
        if path.key is None:
            if instance.pk is not None:
                yield Start(type(instance), instance.pk, path.name, path.end, using)
        elif path.rest:
            there = path.key.related_model
            for key in _list_keys(path, rows):
                yield Start(there, key, path.rest, path.end, using)


def _list_keys(path: Path, rows: Collection[Row]) -> set[Any]:
    name = path.key.attname
    return {row[name] for row in rows if name in row} - {None}


def follow(starts: Iterable[Start]) -> list[End]:
    """Where they lead now, by one query for each path and 500 rows."""
    grouped: dict[tuple[Any, ...], dict[Any, None]] = {}
    for model, key, path, end, using in starts:
        grouped.setdefault((model, path, end, using), {})[key] = None
    found: dict[End, None] = {}
    for (model, path, end, using), keys in grouped.items():
        if not path:
            found |= {(end, key): None for key in keys}
            continue
        for rows in find(model, [*keys], using):
            ends = rows.values_list(f"{path}__pk", flat=True).distinct()
            found |= {(end, key): None for key in ends if key is not None}
    return list(found)


def list_ends_before(
    unit: UnitOfWork, owner: Hashable, instance: Model, paths: Sequence[Path], using: str
) -> list[End]:
    """Where ``paths`` lead before the change, from all rows that are written together with that
    of ``instance``; nothing if another of these has been asked about."""
    model = type(instance)
    asked = unit.notes.setdefault((owner, "asked", model), set())
    if not paths or instance.pk is None or canonical_key(model, instance.pk) in asked:
        return []
    together = [other.pk for other in get_together(instance) if other.pk is not None]
    keys = [canonical_key(model, pk) for pk in together]
    asked.update(keys)
    return follow(Start(model, key, path.name, path.end, using) for path in paths for key in keys)


def find(model: type[Model], keys: list[Any], using: str) -> Iterator[QuerySet[Any]]:
    """The rows of ``keys``, 500 at a time."""
    rows: QuerySet[Any] = QuerySet(model, using=using).order_by()
    for start in range(0, len(keys), CHUNK):
        yield rows.filter(pk__in=keys[start : start + CHUNK])
