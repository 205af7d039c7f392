"""Claims without a table: they pass with the process, or with what its cache holds."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.core.cache import caches
from django.db.models import DateTimeField, Model

from django_signal_kit.mail.tickets import Held, Ticket, make_message_id
from django_signal_kit.units.failures import report_once

#: Mails that a process remembers; the oldest are forgotten.
MOST = 10_000
#: Seconds for which the cache remembers a mail that was sent.
KEPT = 90 * 24 * 3600

_DONE = ("sent", "refused")


class Memory:
    """Key -> until when it is claimed, by the clock of this process; None is for good."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._until: OrderedDict[str, float | None] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, key: str, seconds: float) -> bool:
        """Claim ``key``; False if it is claimed already."""
        with self._lock:
            until = self._until.get(key, 0.0)
            if until is None or until > time.monotonic():
                return False
            self._set(key, time.monotonic() + seconds)
            return True

    def set(self, key: str, seconds: float | None) -> None:
        with self._lock:
            self._set(key, None if seconds is None else time.monotonic() + seconds)

    def remove(self, key: str) -> None:
        with self._lock:
            self._until.pop(key, None)

    def _set(self, key: str, until: float | None) -> None:
        self._until[key] = until
        self._until.move_to_end(key)
        while len(self._until) > self.most:
            self._until.popitem(last=False)


memory = Memory(MOST)


class PassingClaims:
    """Kept in this process, and by ``add()`` in the cache "default", which several may share."""

    def __init__(self, lease: float) -> None:
        self.lease = lease
        self._keys: dict[Ticket, str] = {}

    def take(self, rows: Mapping[Ticket, Model | None], domain: str) -> list[Held]:
        held = []
        for ticket, row in rows.items():
            key = self._keys[ticket] = make_key(ticket, row)
            if memory.add(key, self.lease):
                if self._ask("add", key, "sending", self.lease):
                    held.append(Held(ticket, make_message_id(ticket, domain)))
                else:
                    memory.remove(key)
        return held

    def keep(self, held: Sequence[Held]) -> list[Held]:
        for each in held:
            key = self._keys[each.ticket]
            memory.set(key, self.lease)
            self._ask("set", key, "sending", self.lease)
        return list(held)

    def note(
        self, held: Iterable[Held], state: str, error: str = "", *, is_attempt: bool = True
    ) -> None:
        for each in held:
            key = self._keys[each.ticket]
            if state in _DONE:
                memory.set(key, None)
                self._ask("set", key, state, KEPT)
            else:
                memory.remove(key)
                self._ask("delete", key)

    def _ask(self, what: str, *args: Any) -> bool:
        """What the cache says. One that is down leaves it to the memory."""
        try:
            return getattr(caches["default"], what)(*args) is not False
        except Exception as error:
            report_once(self, "cache", error)
            return True


def make_key(ticket: Ticket, row: Model | None) -> str:
    """Of a row and the moment at which it was made: a test that is rolled back, and a database
    that is made anew, give the same key to another row."""
    made = [
        str(getattr(row, field.attname))
        for field in (() if row is None else row._meta.concrete_fields)
        if isinstance(field, DateTimeField) and (field.auto_now_add or field.name == "date_joined")
    ]
    return ":".join(["signal_kit", "mail", ticket.digest, *made]).replace(" ", "T")
