"""The tags of the rows to which a changed row belongs: what shows it is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from django.db.models import Model

from django_signal_kit.cache import waiting
from django_signal_kit.cache.columns import names_key
from django_signal_kit.cache.ends import (
    End,
    find,
    follow,
    list_ends,
    list_ends_before,
    list_starts,
)
from django_signal_kit.cache.instances import make_instance
from django_signal_kit.cache.related import Path, get_path
from django_signal_kit.cache.stale import Stale, Start
from django_signal_kit.rows.database import Row
from django_signal_kit.rows.snapshots import is_written_together
from django_signal_kit.units.unit import UnitOfWork, get_unit
from django_signal_kit.wiring.registry import registry

if TYPE_CHECKING:
    from django_signal_kit.cache.cache_invalidation import CacheInvalidation


class Following:
    """Follows the relations of the option ``related`` of ``receiver``."""

    def __init__(self, receiver: CacheInvalidation, kind: type[CacheInvalidation]) -> None:
        self.receiver = receiver
        self.kind = kind
        self._paths: dict[type[Model], list[Path]] = {}

    def get_paths(self, model: type[Model]) -> list[Path]:
        if model not in self._paths:
            self._paths[model] = [get_path(model, name) for name in self.receiver.related]
        return self._paths[model]

    def note_before_save(self, instance: Model, update_fields: Any, using: str) -> None:
        """Note where those relations lead of which the row itself does not say it afterwards."""
        unit, model = get_unit(), type(instance)
        is_moved = names_key(model, update_fields)
        paths = [p for p in self.get_paths(model) if p.turns or (is_moved and not p.is_plain)]
        if unit is None or not paths:
            return
        ends = list_ends_before(unit, self, instance, paths, using)
        if is_written_together(unit, model):
            # Rows that are too many for the memory are other instances afterwards.
            waiting.collect(self.receiver, self.list_tags(ends, using), using)
        else:
            unit.notes[self, id(instance)] = ends

    def list_before_delete(
        self, unit: UnitOfWork, instance: Model, row: Row, using: str
    ) -> list[Stale]:
        """The tags at their ends. Afterwards nothing that the row pointed to, or was linked to,
        could be asked for. The first row that is deleted speaks for those that go with it."""
        paths = self.get_paths(type(instance))
        others = [path for path in paths if not path.is_plain]
        ends = [*list_ends(paths, (row,))]
        ends += list_ends_before(unit, self, instance, others, using)
        return self.list_tags(ends, using)

    def list_after_save(self, instance: Model, rows: Sequence[Row], using: str) -> list[Start]:
        """From where they are to be followed. ``rows``: the row as it was and is."""
        unit, paths = get_unit(), self.get_paths(type(instance))
        ends = [*list_ends(paths, rows)]
        if unit is not None:
            ends += unit.notes.pop((self, id(instance)), ())
        starts = [Start(end, key, "", end, using) for end, key in ends]
        return [*starts, *list_starts(instance, paths, rows, using)]

    def list_known(self, starts: Iterable[Start]) -> tuple[list[Stale], list[Start]]:
        """The tags of those of ``starts`` that no query needs, and the others."""
        known: list[Start] = []
        unknown: list[Start] = []
        for start in starts:
            is_known = not start.path and not any(
                receiver.get_old_fields(start.end) for receiver in self.list_covering(start.end)
            )
            (known if is_known else unknown).append(start)
        return [tag for tags in self.follow(known).values() for tag in tags], unknown

    def follow(self, starts: Iterable[Start]) -> dict[str, list[Stale]]:
        """The tags of what ``starts`` lead to, by database."""
        grouped: dict[str, list[Start]] = {}
        for start in starts:
            grouped.setdefault(start.using, []).append(start)
        return {using: self.list_tags(follow(some), using) for using, some in grouped.items()}

    def list_tags(self, ends: Iterable[End], using: str) -> list[Stale]:
        grouped: dict[type[Model], list[Any]] = {}
        for model, key in dict.fromkeys(ends):
            grouped.setdefault(model, []).append(key)
        return [
            ("tag", tag)
            for model, keys in grouped.items()
            for receiver in self.list_covering(model)
            for row in _get_rows(receiver, model, keys, using)
            for tag in receiver.get_tags(row)
        ]

    def list_covering(self, model: type[Model]) -> list[CacheInvalidation]:
        """Those that have the tags of ``model``."""
        return [
            receiver
            for receiver in registry.get_covering(model)
            if isinstance(receiver, self.kind)
        ]


def _get_rows(
    receiver: CacheInvalidation, model: type[Model], keys: list[Any], using: str
) -> Iterable[Model]:
    """Instances of which tags can be made; a query if they are made of more than the key."""
    if not receiver.get_old_fields(model):
        return [make_instance(model, key, {}, using) for key in keys]
    return [row for rows in find(model, keys, using) for row in rows]
