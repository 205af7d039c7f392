"""What triggers are told of who writes, and why.

A packet is JSON: ``{"unit": "…", "AuditLog": {"actor_id": 5, "actor_text": "ada", "context":
{…}}}``, with a key for each receiver that captures by triggers. ``false`` in its place means that
the receiver is muted: its triggers write nothing. A trigger that finds no packet, or none of its
receiver, was set off by another program: no actor, and ``{"by": "database"}`` as the context.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

from django.db.backends.base.base import BaseDatabaseWrapper

from django_signal_kit.audit.capture import standing
from django_signal_kit.audit.entries import get_user_key
from django_signal_kit.current import get_muted, get_scope
from django_signal_kit.rows.values import bounded, say, to_json
from django_signal_kit.units.journal import get_journal
from django_signal_kit.units.unit import get_unit

encode = json.JSONEncoder(separators=(",", ":")).encode


class Capturing(Protocol):
    """What a packet asks its receivers."""

    @property
    def name(self) -> str: ...

    def get_actor(self) -> Any: ...

    def get_context(self) -> Mapping[str, Any]: ...


class Packets:
    """Makes the packets of a process: one text for as long as the same blocks are open."""

    def __init__(self, receivers: Mapping[Any, tuple[str, ...]]) -> None:
        """``receivers``: those that capture by triggers, and parts of names of their secrets."""
        self.receivers = dict(receivers)
        self.names = frozenset(receiver.name for receiver in self.receivers)

    def get_state(self) -> tuple[Mapping[str, Any] | None, frozenset[str]]:
        """What a packet depends on, beside the unit of work: the same as long as nothing changes.
        Cheap, for it is asked before each write."""
        return get_scope(), self.names & get_muted()

    def make(self, connection: BaseDatabaseWrapper, unit: Any = None) -> str:
        """The packet for writes from now on; asks for the actor, which may run queries. ``unit``:
        :func:`get_shared_id`, where it is known. Raises TriggersMissingError if nobody would read
        it."""
        standing.check(connection)
        muted = get_muted()
        told: dict[str, Any] = {"unit": str(unit or get_shared_id(connection))}
        for receiver, secrets in self.receivers.items():
            told[receiver.name] = receiver.name not in muted and _tell(receiver, secrets)
        return encode(told)


def _tell(receiver: Capturing, secrets: tuple[str, ...]) -> dict[str, Any]:
    actor = receiver.get_actor()
    return {
        "actor_id": to_json(get_user_key(actor)),
        "actor_text": "" if actor is None else say(actor)[:255],
        "context": bounded(receiver.get_context(), secrets),
    }


def get_shared_id(connection: BaseDatabaseWrapper) -> Any:
    """The id of the unit of work that a write on ``connection`` belongs to: one for all that a
    transaction holds, whoever writes the entries."""
    unit = get_unit()
    if unit is not None and unit.using == connection.alias:
        return unit.shared_id
    return get_journal(connection).get_transaction_id()


#: Makes the packets of this process; None if no receiver captures by triggers.
current: Packets | None = None
