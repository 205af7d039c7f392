"""Names the writes of covered tables that no receiver hears.

Raw SQL, ``_raw_delete()`` and overrides without ``super()`` change rows behind the back of every
receiver. Each connection looks at its statements by a wrapper of Django's own kind
(``connection.execute_wrappers``); one that writes a table whose model is covered has to come from
a write that is heard.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import chain
from typing import Any, NamedTuple

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.models import Model

from django_signal_kit.exceptions import join
from django_signal_kit.sight.origins import find_execution, is_heard
from django_signal_kit.sight.places import find_caller
from django_signal_kit.sight.targets import find_model, find_target, fold
from django_signal_kit.units.loggers import get_logger
from django_signal_kit.units.wrapping import Staying
from django_signal_kit.wiring.registry import registry
from django_signal_kit.writes.bulk import covered as covered_in_bulk
from django_signal_kit.writes.covered import deleted, linked, saved

logger = get_logger("django_signal_kit.unheard")


class Unheard(NamedTuple):
    """A statement that wrote a covered table, and no receiver was told."""

    #: ``"shop/importer.py:42"``.
    place: str
    #: ``"INSERT"``, ``"UPDATE"``, ``"DELETE"`` or ``"REPLACE"``.
    verb: str
    model: type[Model]
    using: str

    def __str__(self) -> str:
        names = {c.receiver.name for c in registry.connections if c.sender is self.model}
        return (
            f"{self.place or 'Django itself'} writes {self.model._meta.label} on {self.using!r} "
            f"by {self.verb}, and no receiver hears it ({join(sorted(names), most=3)} would). Raw "
            f"SQL, _raw_delete() and overrides without super() send no signals: use save(), "
            f"delete() or the methods of a QuerySet, or do by hand what the receivers do."
        )


#: What is told instead of logged, inside of ``assert_all_writes_heard()``.
_found: ContextVar[list[Unheard] | None] = ContextVar("signal_kit_unheard", default=None)
_told: set[tuple[str, str, str]] = set()
# The connections of the registry for which _tables was made, and how many they were.
_made_for: tuple[Any, int] = (None, 0)
# Table -> its model, for what is inserted or updated, and for what is deleted.
_written: dict[str, type[Model]] = {}
_deleted: dict[str, type[Model]] = {}


@contextmanager
def gathering() -> Iterator[list[Unheard]]:
    """Gather, instead of logging it, what is unheard in this block: in this thread, in the async
    tasks that it starts, and in what ``sync_to_async`` runs for them."""
    found: list[Unheard] = []
    new = [c for c in _list_connections() if look not in c.execute_wrappers]
    for connection in new:
        wrapping.put_on(connection)
    # Blocks nest: each has one of its own.
    uid = f"signal_kit:gathering:{id(found)}"
    connection_created.connect(wrapping.put_on, dispatch_uid=uid)
    token = _found.set(found)
    try:
        yield found
    finally:
        _found.reset(token)
        connection_created.disconnect(dispatch_uid=uid)
        for connection in new:
            connection.execute_wrappers.remove(look)


def _list_connections() -> Sequence[BaseDatabaseWrapper]:
    """Those of this thread; in a coroutine those of all, for ``sync_to_async`` leads to another
    thread, whose connections may be open already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return connections.all()
    return [thing for thing in gc.get_objects() if issubclass(type(thing), BaseDatabaseWrapper)]


def look(
    execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    """Run a statement, as ``execute_wrappers`` are called; then look whether it was heard."""
    result = execute(sql, params, many, context)
    if isinstance(sql, str) and (target := find_target(sql)):
        verb, table = target
        connection = context.get("connection")
        model = find_model(_get_tables(verb), table, connection)
        if model is not None and not is_heard(model, find_execution()):
            using = getattr(connection, "alias", DEFAULT_DB_ALIAS)
            _tell(Unheard(find_caller(), verb, model, using))
    return result


#: Watches connections; those of other threads until they end.
wrapping = Staying(look)


def _tell(unheard: Unheard) -> None:
    found = _found.get()
    if found is not None:
        found.append(unheard)
        return
    key = (unheard.place, unheard.verb, unheard.model._meta.label)
    if key not in _told:
        _told.add(key)
        logger.warning(
            "%s",
            unheard,
            extra={
                "model": unheard.model._meta.label,
                "using": unheard.using,
                "verb": unheard.verb,
                "place": unheard.place,
            },
        )


def _get_tables(verb: str) -> dict[str, type[Model]]:
    """Table -> the model whose rows are in it, if receivers hear what writes it so."""
    global _made_for, _written, _deleted
    connected = registry.connections
    if _made_for[0] is not connected or _made_for[1] != len(connected):
        _written = _by_table(saved, covered_in_bulk, linked)
        _deleted = _by_table(deleted, linked)
        _made_for = connected, len(connected)
    return _deleted if verb == "DELETE" else _written


def _by_table(*covered: Iterable[type[Model]]) -> dict[str, type[Model]]:
    found = chain.from_iterable(covered)
    return {fold(model._meta.db_table): model for model in found if not model._meta.proxy}
