"""Rows that were made for a parent, and give way to one that its creator makes himself.

Whoever saves a user and then the profile that came with the same form, or with the same request,
finds one there already. As long as nobody has touched it, and nothing hangs on it, his own takes
its place. Kept as long as the very instance of the parent that was saved is in memory.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any
from weakref import WeakValueDictionary

from django.core.exceptions import ValidationError
from django.db import connections
from django.db.models import Model, ProtectedError, QuerySet, RestrictedError
from django.db.models.deletion import Collector

from django_signal_kit.relations.pointers import in_parts
from django_signal_kit.relations.related import Link
from django_signal_kit.rows.columns import get_columns
from django_signal_kit.rows.database import lock_rows
from django_signal_kit.units.journal import get_journal
from django_signal_kit.units.locking import lock_before_reading
from django_signal_kit.units.unit import UnitOfWork


class Provisional:
    """A row as it was made. What its columns hold by the database's word alone is unknown."""

    def __init__(self, link: Link, row: Model, follows: Iterable[str]) -> None:
        self.link = link
        # Kept: what was made for the row itself is held by it.
        self.row = row
        self.pk = row.pk
        self.values: dict[str, Any] = {}
        for name, column in get_columns(link.model).items():
            if name not in follows:
                try:
                    self.values[name] = column.canonical(row.__dict__[name])
                except (KeyError, ValueError):
                    continue

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        # A parent that is pickled or copied in depth leaves it behind.
        return type(None), ()

    def is_untouched(self, row: Model) -> bool:
        """Does ``row``, as the database holds it now, have these values still?"""
        columns = get_columns(self.link.model)
        try:
            return all(
                columns[name].canonical(row.__dict__[name]) == value
                for name, value in self.values.items()
            )
        except (KeyError, ValueError):
            return False

    def forget(self) -> None:
        """Its parent is not to find it any more."""
        parent: Any = self.link.field.get_cached_value(self.row, default=None)
        relation = self.link.field.remote_field
        if parent is not None and relation.get_cached_value(parent, default=None) is self.row:
            relation.delete_cached_value(parent)


# Where the instance of the parent holds them.
_HELD = "signal_kit_provisional"
# By the key of its parent, and by its own. Each connection, and so each thread, has its own.
_rows: WeakValueDictionary[tuple[Any, Any, Hashable], Provisional] = WeakValueDictionary()


def note(link: Link, parent: Model, row: Model, follows: Iterable[str], using: str) -> None:
    """``row`` was just made for ``parent``; the fields ``follows`` may be changed later."""
    found = Provisional(link, row, follows)
    state: Any = parent._state
    held: dict[Any, Provisional] | None = getattr(state, _HELD, None)
    connection = connections[using]
    # Another row may get the key of one that is rolled back.
    get_journal(connection).remember_instance(parent, _HELD, held)
    setattr(state, _HELD, {**(held or {}), link.field: found})
    _rows[connection, link.field, link.get_key(parent)] = found
    _rows[connection, link.model, row.pk] = found


def give_way(link: Link, rows: Iterable[Model], using: str) -> None:
    """Delete what was made for the parents of new ``rows``, where it is still as it was made."""
    found = find_yielding(link, rows, using)
    for pks in in_parts(found):
        # A unit of its own: a caller who swallows what fails later may not lose the rows.
        with UnitOfWork(using, atomic=False) as unit:
            link.get_all_rows(using).filter(pk__in=pks).delete()
            unit.note_write()
    for made in found.values():
        made.forget()


def find_yielding(link: Link, rows: Iterable[Model], using: str) -> dict[Any, Provisional]:
    """What was made for the parents of new ``rows`` and would give way to them, by its keys."""
    if not _rows:
        return {}
    connection = connections[using]
    made = {}
    for row in rows:
        found = _find(link, row, connection) if row._state.adding else None
        if found is not None and found.row is not row:
            made[found.pk] = found
    if made:
        lock_before_reading(connection, link.model)
    yielding: dict[Any, Provisional] = {}
    for pks in in_parts(made):
        there = lock_rows(link.get_all_rows(using).filter(pk__in=pks).order_by("pk"), connection)
        some = [row for row in there if made[row.pk].is_untouched(row)]
        if not _take_nothing_along(some, using):
            some = [row for row in some if _take_nothing_along([row], using)]
        yielding |= {row.pk: made[row.pk] for row in some}
    return yielding


def _find(link: Link, row: Model, connection: Any) -> Provisional | None:
    try:
        key = link.field.target_field.to_python(link.get_owner(row))
    except ValidationError:
        # The database will tell.
        return None
    return _rows.get((connection, link.field, key))


def _take_nothing_along(rows: Sequence[Model], using: str) -> bool:
    """Does the deletion of ``rows`` concern no others, but those that were made for them?"""
    collector = Collector(using=using, origin=rows[0] if rows else None)
    try:
        collector.collect(rows)
    except (ProtectedError, RestrictedError):
        return False
    own = {(model, row.pk) for row in rows for model in (type(row), *row._meta.all_parents)}
    others: list[Model] = [
        row
        for model, instances in collector.data.items()
        for row in instances
        if (model, row.pk) not in own
    ]
    for queryset in collector.fast_deletes:
        others += queryset
    changed = [some for groups in collector.field_updates.values() for some in groups]
    if any(some.exists() if isinstance(some, QuerySet) else some for some in changed):
        return False
    return all(_is_provisional(row, using) for row in others)


def _is_provisional(row: Model, using: str) -> bool:
    made = _rows.get((connections[using], row._meta.concrete_model, row.pk))
    return made is not None and made.is_untouched(row)
