"""What triggers are told of who writes, and why.

A packet is JSON: ``{"unit": "…", "AuditLog": {"actor_id": 5, "actor_text": "ada", "context":
{…}}}``, with a key for each receiver that captures by triggers. ``false`` in its place means that
the receiver is muted: its triggers write nothing. A trigger that finds no packet, or none of its
receiver, was set off by another program: no actor, and ``{"by": "database"}`` as the context.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from functools import cached_property
from typing import Any, NamedTuple
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper

from django_signal_kit.audit.capture import standing
from django_signal_kit.audit.entries import encode, get_user_key
from django_signal_kit.audit.recording import Recorder
from django_signal_kit.current import get_muted, get_scope
from django_signal_kit.rows.values import say, to_json
from django_signal_kit.units.journal import get_journal
from django_signal_kit.units.unit import get_unit


class Told(NamedTuple):
    """What a packet says to the triggers of one receiver; ``context`` is JSON."""

    actor_id: Any
    actor_text: str
    context: str

    def encode(self) -> str:
        actor_id = "null" if self.actor_id is None else encode(self.actor_id)
        text = encode(self.actor_text)
        return f'{{"actor_id":{actor_id},"actor_text":{text},"context":{self.context}}}'


class Message:
    """What triggers are told, but for the unit of work."""

    def __init__(self, told: Mapping[str, Told | None]) -> None:
        #: By the names of the receivers, None to one that is muted.
        self.told = told

    def encode(self, unit: str) -> str:
        """As JSON; by hand, as most of it is a text already."""
        return f'{{"unit":"{unit}",{self._members}}}'

    @cached_property
    def _members(self) -> str:
        return ",".join(
            f"{encode(name)}:{'false' if said is None else said.encode()}"
            for name, said in self.told.items()
        )


class Packet(NamedTuple):
    unit: str
    message: Message

    def encode(self) -> str:
        return self.message.encode(self.unit)


class Packets:
    """Makes the packets of a process: one text for as long as the same blocks are open."""

    def __init__(self, recorders: Mapping[str, Recorder]) -> None:
        """``recorders``: those of the receivers that capture by triggers, by their names."""
        self.recorders = dict(recorders)
        self.names = frozenset(recorders)
        self._is_plain = all(recorder.is_plain for recorder in recorders.values())

    def get_state(self) -> tuple[Mapping[str, Any] | None, frozenset[str]]:
        """What a packet depends on, beside the unit of work: the same as long as nothing changes.
        Cheap, for it is asked before each write."""
        return get_scope(), self.names & get_muted()

    def make(self, connection: BaseDatabaseWrapper, unit: UUID) -> Packet:
        """The packet for writes from now on, of the unit of :func:`get_shared_id`."""
        return Packet(unit.hex, self.find_message(connection) or self.ask(connection))

    def find_message(self, connection: BaseDatabaseWrapper) -> Message | None:
        """What is told where there is nobody to ask: outside of all blocks. None elsewhere, and
        as long as nobody knows whether the triggers stand."""
        if (
            self._is_plain
            and get_scope() is None
            and self.names.isdisjoint(get_muted())
            and standing.is_sure(connection.alias)
        ):
            return self._of_nobody
        return None

    def ask(self, connection: BaseDatabaseWrapper) -> Message:
        """What is told here and now; asks for the actor, which may run queries. Raises
        TriggersMissingError if nobody would read it."""
        standing.check(connection)
        return self._tell(get_muted())

    @cached_property
    def _of_nobody(self) -> Message:
        return self._tell(frozenset())

    def _tell(self, muted: Set[str]) -> Message:
        return Message(
            {
                name: None if name in muted else _tell(recorder)
                for name, recorder in self.recorders.items()
            }
        )


def _tell(recorder: Recorder) -> Told:
    actor = recorder.get_actor()
    if actor is None:
        return Told(None, "", recorder.tell_context())
    return Told(to_json(get_user_key(actor)), say(actor)[:255], recorder.tell_context())


def get_shared_id(connection: BaseDatabaseWrapper) -> UUID:
    """The id of the unit of work that a write on ``connection`` belongs to: one for all that a
    transaction holds, whoever writes the entries."""
    unit = get_unit()
    if unit is not None and unit.using == connection.alias:
        return unit.shared_id
    return get_journal(connection).get_transaction_id()  # type: ignore[no-any-return]


#: Makes the packets of this process; None if no receiver captures by triggers.
current: Packets | None = None
