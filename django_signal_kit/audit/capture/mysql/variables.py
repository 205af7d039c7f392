"""The variables of a session in which triggers find who writes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
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


def tell(packet: Packet) -> str:
    """The statement that tells triggers what is in ``packet``: plain ASCII without a "%", a quote
    that could be escaped, or anything that depends on how the session is set."""
    return _assign(dict(_list_values(packet)))


def forget(receivers: Iterable[str]) -> str:
    """The statement after which triggers know of no packet."""
    return _assign({get_variables(receiver).unit: None for receiver in receivers})


def _list_values(packet: Packet) -> Iterator[tuple[str, str | None]]:
    for receiver, told in packet.message.told.items():
        variables = get_variables(receiver)
        if told is None:
            yield variables.unit, ""
            continue
        yield variables.unit, packet.unit
        yield variables.actor_id, None if told.actor_id is None else str(told.actor_id)
        yield variables.actor_text, told.actor_text
        yield variables.context, told.context


def _assign(values: Mapping[str, str | None]) -> str:
    assigned = ", ".join(f"{name} = {_write(value)}" for name, value in values.items())
    return f"SET {assigned}"


def _write(value: str | None) -> str:
    return "NULL" if value is None else f"_utf8mb4 x'{value.encode().hex()}'"
