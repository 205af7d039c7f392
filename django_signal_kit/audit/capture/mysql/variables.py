"""The variables of a session in which triggers find who writes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from typing import NamedTuple

from django_signal_kit.audit.capture.packets import Packet


class Variables(NamedTuple):
    """Those of one receiver, of its own so that nobody has to look into JSON at each row."""

    #: The id of the unit of work; "" if the receiver is muted, NULL if nobody has said anything.
    unit: str
    actor_id: str
    actor_text: str
    context: str


@cache
def get_variables(receiver: str) -> Variables:
    digest = hashlib.sha256(receiver.encode()).hexdigest()[:8]
    return Variables(*(f"@signal_kit_{digest}_{name}" for name in Variables._fields))


def tell(packet: Packet) -> dict[str, str | None]:
    """What triggers find in ``packet``, by the names of their variables."""
    values: dict[str, str | None] = {}
    for receiver, told in packet.message.told.items():
        variables = get_variables(receiver)
        if told is None:
            values[variables.unit] = ""
            continue
        values[variables.unit] = packet.unit
        values[variables.actor_id] = None if told.actor_id is None else str(told.actor_id)
        values[variables.actor_text] = told.actor_text
        values[variables.context] = told.context
    return values


def forget(receivers: Iterable[str]) -> dict[str, str | None]:
    """What triggers find where they know of no packet."""
    return {name: None for receiver in receivers for name in get_variables(receiver)}


def assign(values: Mapping[str, str | None]) -> str:
    """The statement that gives variables their values: plain ASCII without a "%", a quote that
    could be escaped, or anything that depends on how the session is set."""
    assigned = ", ".join(f"{name} = {_write(value)}" for name, value in values.items())
    return f"SET {assigned}"


def _write(value: str | None) -> str:
    return "NULL" if value is None else f"_utf8mb4 x'{value.encode().hex()}'"
