"""From ``collect(flush_on="task")`` to a task: what flushes a receiver's items into it."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

from django_signal_kit.current import get_scope
from django_signal_kit.tasks.batches import Batch
from django_signal_kit.tasks.context import pack_scope
from django_signal_kit.tasks.options import TaskReceiver, read_options
from django_signal_kit.tasks.outbox import store
from django_signal_kit.tasks.places import find_place
from django_signal_kit.tasks.relaying import get_sender
from django_signal_kit.tasks.travelling import check_item, pack
from django_signal_kit.units import unit

_CACHE = "_task_flushes"


class InContext:
    """An item, and the context in which it was collected: at the commit there may be another."""

    __slots__ = ("scope", "stands_for")

    def __init__(self, item: Any, scope: Mapping[str, Any] | None) -> None:
        self.stands_for = item
        self.scope = scope


def _by_context(items: Iterable[InContext]) -> list[tuple[dict[str, Any], list[Any]]]:
    """What the items of each task have in common, and these."""
    packed: dict[int, dict[str, Any]] = {}
    groups: dict[str, tuple[dict[str, Any], list[Any]]] = {}
    for found in items:
        number = id(found.scope)
        if number not in packed:
            packed[number] = pack_scope(found.scope)
        group = groups.setdefault(json.dumps(packed[number]), (packed[number], []))
        group[1].append(found.stands_for)
    return list(groups.values())


class TaskFlush:
    """Flushes what a receiver has collected on one database into tasks.

    Settings are read when it is made, at the first item; each wiring makes new receivers.
    """

    def __init__(self, receiver: TaskReceiver, using: str) -> None:
        """Raises Misconfigured if the tasks of the receiver cannot go anywhere."""
        self.stands_for = receiver
        self.using = using
        self.options = read_options(receiver)
        self.place = find_place(self.options, using)
        #: Is it flushed just before the COMMIT, so that the transaction keeps its tasks?
        self.for_commit = self.place != "after_commit"

    @property
    def name(self) -> str:
        return self.stands_for.name

    @property
    def on_error(self) -> str:
        return self.stands_for.on_error

    def flush(self, items: list[InContext]) -> None:
        """Runs just before the COMMIT if the transaction keeps the tasks, else after it."""
        batches = [
            Batch(self.name, self.using, part, packed)
            for packed, some in _by_context(items)
            for part in pack(self.stands_for, some)
        ]
        if self.place == "outbox":
            sender = get_sender(self.using)
            for waiting in store(batches, self.options, self.using):
                unit.collect(sender, waiting, None, "after_commit", self.using)
            return
        for batch in batches:
            batch.enqueue(self.options)


def collect_for_task(receiver: TaskReceiver, item: Any, key: Hashable, using: str | None) -> Any:
    """``receiver.collect()`` for a task. Raises NotJSONError if no queue could keep the item."""
    alias = unit.find_journal(using).connection.alias
    flush = get_flush(receiver, alias)
    check_item(receiver, item)
    found = unit.collect(flush, InContext(item, get_scope()), key, "after_commit", alias)
    return found.stands_for


def send_to_task(receiver: TaskReceiver, items: list[InContext], using: str) -> None:
    """Have a task flush these items, whatever transaction there is. Raises what keeps them from
    getting into a queue or the outbox."""
    get_flush(receiver, using).flush(items)


def get_flush(receiver: TaskReceiver, using: str) -> TaskFlush:
    """The one of this receiver and database: what waits under a key is found by it."""
    known: dict[str, TaskFlush] = vars(receiver).setdefault(_CACHE, {})
    try:
        return known[using]
    except KeyError:
        return known.setdefault(using, TaskFlush(receiver, using))
