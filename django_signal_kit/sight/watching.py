"""Names the writes of covered tables that no receiver hears.

Raw SQL, ``_raw_delete()`` and overrides without ``super()`` change rows behind the back of every
receiver. Each connection looks at its statements by a wrapper of Django's own kind
(``connection.execute_wrappers``); one that writes a table whose model is covered has to come from
a write that is heard.
"""

from __future__ import annotations

import asyncio
import gc
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from itertools import chain
from types import FrameType
from typing import Any, NamedTuple

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.backends.utils import CursorWrapper
from django.db.models import Model, QuerySet

from django_signal_kit.exceptions import join
from django_signal_kit.sight.places import find_caller
from django_signal_kit.units.loggers import get_logger
from django_signal_kit.units.unit import get_unit
from django_signal_kit.units.wrapping import Staying
from django_signal_kit.wiring.registry import registry
from django_signal_kit.writes import hooks
from django_signal_kit.writes.bulk import covered as covered_in_bulk

logger = get_logger("django_signal_kit.unheard")

_SPACE = r"(?:\s|/\*.*?\*/|--[^\n]*\n)"
_NAME = r"(?:\"[^\"]+\"|`[^`]+`|\[[^\]]+\]|[\w$]+)"
_WRITE = re.compile(
    rf"(INSERT|REPLACE|UPDATE|DELETE)"
    rf"(?:{_SPACE}++(?:OR{_SPACE}++\w+|IGNORE|(?:LOW|HIGH)_PRIORITY|QUICK|INTO|FROM|ONLY)\b)*"
    rf"{_SPACE}++(?:({_NAME})\s*\.\s*)?({_NAME})",
    re.IGNORECASE | re.DOTALL,
)
#: Between the schema and the table, as in the name of a table that Django is to quote.
_JOINT = '"."'
_HOMES = {"sqlite": "main", "postgresql": "public"}
_BEFORE = re.compile(f"{_SPACE}*+", re.DOTALL)
#: So much of a statement says which table it writes, from its first word on.
_BEGINNING = 200
_VERBS = frozenset("iIuUdDrR")
_BLANKS = frozenset(" \n\t\r/-")

_KIT = "django_signal_kit."
#: What runs a statement: Django, and what a trace has put in its place.
_RUNNING = ("django.", "django_signal_kit.sight.observing")
_EXECUTION = CursorWrapper._execute_with_wrappers.__code__  # type: ignore[attr-defined]
#: Where a write is heard: the modules whose functions Django's own are wrapped in.
_HEARING = "django_signal_kit.writes."
#: Where receivers are called: what is written there is written by them, not by what they hear.
_CALLING = ("django.dispatch.dispatcher", "django_signal_kit.units.journal")
#: Where nobody is told, as the documentation says: migrations, and the emptying of tables.
_SILENT = frozenset(
    (
        ("django.db.migrations.executor", "migrate"),
        ("django.core.management.sql", "emit_pre_migrate_signal"),
        ("django.core.management.sql", "emit_post_migrate_signal"),
        ("django.db.backends.base.operations", "execute_sql_flush"),
    )
)
#: What is heard of a model only if a receiver asks for it.
_SAVE = ("django.db.models.base", "save_base")
_BULK = frozenset((QuerySet.__module__, name) for name in ("bulk_create", "bulk_update", "update"))


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
    if isinstance(sql, str) and (target := _find_target(sql)):
        verb, table = target
        connection = context.get("connection")
        model = _find_model(_get_tables(verb), table, connection)
        if model is not None and not _is_heard(model, _find_execution()):
            using = getattr(connection, "alias", DEFAULT_DB_ALIAS)
            _tell(Unheard(find_caller(), verb, model, using))
    return result


#: Watches connections; those of other threads until they end.
wrapping = Staying(look)


def _find_target(sql: str) -> tuple[str, str] | None:
    """The verb of a statement and the table that it writes; None if it writes none."""
    start = 0
    if sql[:1] in _BLANKS and (before := _BEFORE.match(sql)):
        start = before.end()
    return _parse(sql[start : start + _BEGINNING]) if sql[start : start + 1] in _VERBS else None


@lru_cache(maxsize=1000)
def _parse(beginning: str) -> tuple[str, str] | None:
    match = _WRITE.match(beginning)
    if match is None:
        return None
    names = [name.strip('"`[]') for name in match.groups()[1:] if name is not None]
    return match[1].upper(), _JOINT.join(names).lower()


def _fold(table: str) -> str:
    """A table as it is looked up: databases do not mind the case of what is not quoted, and some
    projects name a schema by quotes in the middle: ``'shop"."tag'``."""
    return _JOINT.join(re.split(r'["`]\.["`]', table)).lower()


def _find_model(
    tables: Mapping[str, type[Model]], table: str, connection: Any
) -> type[Model] | None:
    """The model of the rows of a table, whose schema may be named although it is the usual one."""
    schema, joint, name = table.rpartition(_JOINT)
    model = tables.get(table)
    if model is None and joint and schema == _get_home(connection):
        model = tables.get(name)
    return model


def _get_home(connection: Any) -> str:
    """The schema of tables that are named without one; for MySQL and MariaDB it is the database.
    What a ``search_path`` of PostgreSQL says else is not asked."""
    vendor = getattr(connection, "vendor", "")
    home = _HOMES.get(vendor) or str(getattr(connection, "settings_dict", {}).get("NAME", ""))
    return home.lower()


def _find_execution() -> FrameType | None:
    """Where Django calls the wrappers of the statement: those that were called before ``look``
    are no writers."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code is not _EXECUTION:
        frame = frame.f_back
    return frame or sys._getframe(2)


def _is_heard(model: type[Model], frame: FrameType | None) -> bool:
    """Does what runs in ``frame`` come from a write of which receivers are told, or which they
    have chosen not to hear?"""
    unit = get_unit()
    is_write = unit is not None and not unit.is_block
    chosen = _SILENT
    if model not in covered_in_bulk:
        chosen |= _BULK
    if model not in hooks.saved:
        chosen |= {_SAVE}
    is_first = True
    while frame is not None:
        module = frame.f_globals.get("__name__") or ""
        if is_write and module.startswith(_HEARING):
            return True
        if is_first and not module.startswith(_RUNNING):
            if module.startswith(_KIT):
                # What the kit itself does, such as to lock.
                return True
            is_first = False
        if (module, frame.f_code.co_name) in chosen:
            return True
        if module in _CALLING:
            is_write, chosen = False, _SILENT
        frame = frame.f_back
    return False


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
        _written = _by_table(hooks.saved, covered_in_bulk, hooks.linked)
        _deleted = _by_table(hooks.deleted, hooks.linked)
        _made_for = connected, len(connected)
    return _deleted if verb == "DELETE" else _written


def _by_table(*covered: Iterable[type[Model]]) -> dict[str, type[Model]]:
    found = chain.from_iterable(covered)
    return {_fold(model._meta.db_table): model for model in found if not model._meta.proxy}
