"""Calls of a many-to-many relation's manager, as the changes of links that they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.db import connections
from django.db.models import Model, Q, QuerySet

from django_signal_kit.rows.database import lock_rows
from django_signal_kit.units.locking import lock_before_reading
from django_signal_kit.writes.links import (
    SOURCE,
    TARGET,
    Link,
    LinkChange,
    Relation,
    get_relation,
    list_fields,
)

_call: ContextVar[Call | None] = ContextVar("signal_kit_call", default=None)


class Call:
    """``add()``, ``remove()`` or ``clear()`` of the relation of one row, in progress."""

    def __init__(
        self, relation: Relation, instance: Model, reverse: bool, *, raw: bool = False
    ) -> None:
        self.relation = relation
        self.instance = instance
        self.raw = raw
        #: The end at which the row is.
        self.end = TARGET if reverse else SOURCE
        self.key: Any = relation.ends[self.end].get_foreign_related_value(instance)[0]
        #: The links that are announced by ``pre_add``.
        self.announced: set[Link] = set()
        #: The links that have really been made; None if that is not known.
        self.made: set[Link] | None = None
        self.has_deleted = False
        #: Of a manager that is not wrapped: as long as this is the list of hooks that wait for
        #: the commit, the call has not been rolled back.
        self.hooks: Any = None
        self.outer: Call | None = None
        self.is_over = False
        self._changes: dict[str, LinkChange] = {}

    def makes(self, objs: Iterable[Any]) -> bool:
        """Are these the rows that ``m2m_changed`` tells of? Those of the other direction of a
        symmetrical relation are not."""
        attname = self.relation.attnames[self.end]
        return all(getattr(obj, attname) == self.key for obj in objs)

    def get_change(self, action: str, pk_set: set[Any] | None, using: str) -> LinkChange | None:
        """The change of which an ``m2m_changed`` tells, the same for all receivers."""
        if pk_set is not None and not pk_set:
            return None
        if action not in self._changes:
            change = self._make_change(action, pk_set, using)
            if change is None:
                return None
            self._changes[action] = change
        return self._changes[action]

    def _make_change(self, action: str, pk_set: set[Any] | None, using: str) -> LinkChange | None:
        named = None if pk_set is None else {self._make_link(key) for key in pk_set}
        of: dict[str, Any] = {"instance": self.instance, "end": self.end}
        if action == "post_add":
            made = named if self.made is None else self.made
            return LinkChange(self.relation, "add", using, made or (), **of)
        if named is not None and self._is_symmetrical:
            named |= {(target, source) for source, target in named}
        if action == "pre_add":
            self.announced = named or set()
            return LinkChange(self.relation, "pre_add", using, self.announced, **of)
        if action in ("pre_remove", "pre_clear"):
            return LinkChange(
                self.relation,
                "remove",
                using,
                lambda: self._read(pk_set, using),
                named=named,
                is_clear=action == "pre_clear",
                **of,
            )
        return None

    @property
    def _is_symmetrical(self) -> bool:
        return bool(self.relation.field.remote_field.symmetrical)

    def _make_link(self, key: Any) -> Link:
        return (self.key, key) if self.end == SOURCE else (key, self.key)

    def _read(self, pk_set: set[Any] | None, using: str) -> set[Link]:
        """The links that are about to end, locked: who ends the same ones at once waits, and
        finds them gone."""
        through, condition = self.relation.through, Q()
        for end in (SOURCE, TARGET) if self._is_symmetrical else (self.end,):
            near, far = self.relation.attnames[end], self.relation.attnames[1 - end]
            links = Q(**{near: self.key})
            condition |= links if pk_set is None else links & Q(**{f"{far}__in": pk_set})
        lock_before_reading(connections[using], through)
        rows: QuerySet[Any] = QuerySet(through, using=using).filter(condition)
        found = lock_rows(rows, connections[using], no_key=False)
        return {
            (source, target)
            for source, target in found.values_list(*self.relation.attnames)
            if source is not None and target is not None
        }


def get_call(through: type[Model], using: str) -> Call | None:
    """The call in progress that writes rows of ``through``."""
    call = _find(through, using)
    return None if call is None or call.is_over else call


def _find(through: type[Model], using: str) -> Call | None:
    call, hooks = _call.get(), connections[using].run_on_commit
    while call is not None and call.hooks is not None and call.hooks is not hooks:
        call = call.outer
    return None if call is None or call.relation.through is not through else call


@contextmanager
def calling(
    relation: Relation, instance: Model, reverse: bool, *, raw: bool = False
) -> Iterator[None]:
    """A manager's method is running."""
    token = _call.set(Call(relation, instance, reverse, raw=raw))
    try:
        yield
    finally:
        _call.reset(token)


def read_call(
    through: type[Model],
    instance: Model,
    action: str,
    reverse: bool,
    model: type[Model],
    pk_set: set[Any] | None,
    using: str,
) -> LinkChange | None:
    """What an ``m2m_changed`` tells of links; None if nothing, or nothing new."""
    call, is_ahead = _find(through, using), action.startswith("pre_")
    if call is None or call.instance is not instance or (call.is_over and is_ahead):
        call = _guess(through, instance, reverse, model)
        if call is None:
            return None
        if is_ahead and connections[using].in_atomic_block:
            call.hooks, call.outer = connections[using].run_on_commit, _call.get()
            _call.set(call)
    call.is_over = call.hooks is not None and not is_ahead
    return call.get_change(action, pk_set, using)


def tell_links_changed(
    self: Any,
    sender: type[Model],
    instance: Model,
    action: str,
    reverse: bool,
    model: type[Model],
    pk_set: set[Any] | None,
    using: str,
    **kwargs: Any,
) -> None:
    """The ``m2m_changed()`` of a receiver to which a link is the same however it is written: its
    ``links_changed()`` is told."""
    change = read_call(sender, instance, action, reverse, model, pk_set, using)
    if change is not None:
        self.links_changed(change=change, using=using)


def _guess(
    through: type[Model], instance: Model, reverse: bool, model: type[Model]
) -> Call | None:
    """Of a manager that is not wrapped, or a signal that is sent by hand, nobody knows the
    field."""
    declaring = model if reverse else type(instance)
    for field in list_fields(through):
        if issubclass(declaring, field.model):
            return Call(get_relation(field), instance, reverse)
    return None
