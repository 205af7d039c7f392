"""Many mails over one connection: each claimed, made, sent, noted, so that none harms another."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.db.models import Model
from django.utils import translation

from django_signal_kit import tally
from django_signal_kit.mail import rates
from django_signal_kit.mail.addresses import get_domain
from django_signal_kit.mail.claims import Claims, get_claims
from django_signal_kit.mail.connection import Connection
from django_signal_kit.mail.failing import is_of_server, is_refusal, say
from django_signal_kit.mail.message import digest_of, split
from django_signal_kit.mail.tickets import Held, Ticket, read_rows, say_key
from django_signal_kit.units.failures import report_failure
from django_signal_kit.units.loggers import get_logger

if TYPE_CHECKING:
    from django_signal_kit.mail.email import Email

#: Mails that are claimed together.
CHUNK = 50
#: So many answers a mail is claimed for: it takes fewer, from the greeting of the server on, even
#: if each comes at the last moment.
_ANSWERS = 15
#: Seconds that it is claimed for at least, and at most.
_LEAST, _LONGEST = 60, 24 * 3600
#: Noting what was sent takes one part of the time, sending it so many; but never more mails than
#: these wait to be noted: they are sent twice if the process is killed.
_SHARE, _MOST = 40, 20
#: Seconds after which an idle connection may have been closed by the server.
_IDLE = 5

logger = get_logger("django_signal_kit.mail")


class Sending:
    """Sends what ``run()`` is given. ``counts``: state -> how many mails. ``failed``: those to try
    again; ``error``: why, of one of them; ``last``: why the last one was not sent, whether it is
    worth another attempt or not. ``most``: the seconds to wait for the rate, all in all;
    what would have to wait longer stays as it is. None is as long as it takes."""

    def __init__(self, receiver: Email, *, most: float | None = None) -> None:
        self.receiver = receiver
        self.most = most
        self.counts: Counter[str] = Counter()
        self.failed: list[Ticket] = []
        self.error: Exception | None = None
        self.last: Exception | None = None
        self._connection = Connection(receiver)
        self._lease = min(max(_ANSWERS * self._connection.patience, _LEAST), _LONGEST)
        self._claims: Claims = get_claims(timedelta(seconds=self._lease))
        self._domain = get_domain(receiver.from_email)
        self._is_down = False
        self._held_since = 0.0
        # Mails that the server has taken, and that are not noted yet.
        self._taken: list[Held] = []
        self._noted_at = 0.0
        self._cost = 0.0

    def run(self, tickets: Sequence[Ticket]) -> Iterator[int]:
        """Gives after each chunk how many tickets have been looked at."""
        try:
            for start in range(0, len(tickets), CHUNK):
                chunk = tickets[start : start + CHUNK]
                try:
                    self._send_all(chunk)
                except (DatabaseError, InterfaceError) as error:
                    # Who may send is not known.
                    self._fail(chunk, error)
                yield start + len(chunk)
        finally:
            self._connection.close()

    def _send_all(self, tickets: Iterable[Ticket]) -> None:
        tickets = list(dict.fromkeys(tickets))
        rows = read_rows(tickets)
        asked: dict[Ticket, Model | None] = {}
        for ticket in tickets:
            row = rows.get(ticket)
            if isinstance(row, LookupError):
                # Without its model no claim of it can be found.
                self._fail([ticket], row)
            else:
                asked[ticket] = row if isinstance(row, Model) else None
        self._held_since = time.monotonic()
        waiting = self._claims.take(asked, self._domain)
        # To note a mail takes no longer.
        self._noted_at = time.monotonic()
        self._cost = self._noted_at - self._held_since
        self.counts["done"] += len(asked) - len(waiting)
        try:
            while waiting:
                waiting = self._renew(waiting)
                if self._is_down or not waiting:
                    break
                held = waiting[0]
                is_late = not self._send(held, rows.get(held.ticket))
                waiting = waiting if is_late else waiting[1:]
                if is_late:
                    break
        except BaseException:
            # What has not been begun is free for others at once.
            self._claims.note(waiting[1:], "waiting", is_attempt=False)
            raise
        finally:
            self._note_taken()
        if waiting and self._is_down and self.error is not None:
            self._claims.note(waiting, "failed", say(self.error))
            self._fail([each.ticket for each in waiting], self.error)
        elif waiting:
            self._claims.note(waiting, "waiting", is_attempt=False)
            self.counts["waiting"] += len(waiting)

    def _renew(self, waiting: list[Held]) -> list[Held]:
        if not self._is_old():
            return waiting
        # It cannot be taken by another any more, and need not be kept.
        self._note_taken()
        self._held_since = time.monotonic()
        return self._claims.keep(waiting)

    def _is_old(self) -> bool:
        """Is too little left of the lease for a server that is slow?"""
        return time.monotonic() - self._held_since >= self._lease / 5

    def _send(self, held: Held, row: Model | Exception | None) -> bool:
        """False if the rate leaves no room for it now."""
        try:
            messages = self._make(held, row)
        except Exception as error:
            self._note_failure(held, error, is_made=False)
            return True
        if isinstance(messages, str):
            self._note(held, "skipped", messages)
            return True
        for place, message in enumerate(messages):
            address = digest_of(message)
            if address in held.served:
                continue
            if not self._wait():
                return False
            # Making it and waiting may have taken long, and another may have it now.
            if self._is_old() and not self._claims.keep([held]):
                self.counts["done"] += 1
                return True
            try:
                self._connection.send(message)
            except Exception as error:
                self._note_failure(held, error)
                return True
            if place < len(messages) - 1:
                held.served = [*held.served, address]
        self.counts["sent"] += 1
        tally.add(self.receiver.name, "mails_sent")
        self._taken.append(held)
        # At once, if that is cheap; where it waits for a disk, several together.
        if time.monotonic() - self._noted_at >= _SHARE * self._cost or len(self._taken) >= _MOST:
            self._note_taken()
        return True

    def _note_taken(self) -> None:
        if self._taken:
            taken, self._taken = self._taken, []
            start = time.monotonic()
            self._claims.note(taken, "sent")
            self._noted_at = time.monotonic()
            self._cost = self._noted_at - start

    def _make(self, held: Held, row: Model | Exception | None) -> list[Any] | str:
        """The mails, one for each recipient; or why there are none."""
        receiver, ticket = self.receiver, held.ticket
        if row is None:
            return "The row is gone."
        if isinstance(row, Exception):
            raise row
        with translation.override(ticket.language or settings.LANGUAGE_CODE):
            language = receiver.get_language(row) or translation.get_language()
        with translation.override(language):
            if not receiver._is_meant(row):
                return "should_send() says no."
            message = receiver.get_message(row)
        if message is None or not message.recipients():
            # No warning: a user of a command, or of a service, may well have none.
            logger.info(
                "%s: %s has no valid address, and gets no mail",
                receiver,
                ticket,
                extra={
                    "receiver": receiver.name,
                    "model": ticket.label,
                    "pk": say_key(ticket.key),
                    "using": ticket.using,
                },
            )
            return "There is no valid address."
        return list(split(message, held.message_id))

    def _wait(self) -> bool:
        rate = self.receiver.rate
        if rate is None:
            return True
        seconds = rates.reserve(self.receiver.name, rate, self.most)
        if seconds is None:
            return False
        if self.most is not None:
            self.most -= seconds
        if seconds:
            self._note_taken()
        if seconds > _IDLE:
            self._connection.close()
        time.sleep(seconds)
        return True

    def _note(self, held: Held, state: str, error: str = "") -> None:
        self.counts[state] += 1
        self._claims.note([held], state, error)

    def _note_failure(self, held: Held, error: Exception, *, is_made: bool = True) -> None:
        self.last = error
        if is_made and is_refusal(error) and not self._connection.is_down:
            self._note(held, "refused", say(error))
            report_failure(self.receiver, "flush", error)
        elif is_of_server(error):
            self._note(held, "failed", say(error))
            self._fail([held.ticket], error, is_counted=True)
            self._is_down = self._connection.is_down
        else:
            # A mistake in a hook or a template: it will be there in a minute, too.
            self._note(held, "failed", say(error))
            report_failure(self.receiver, "flush", error)

    def _fail(
        self, tickets: Iterable[Ticket], error: Exception, *, is_counted: bool = False
    ) -> None:
        tickets = list(tickets)
        self.failed += tickets
        self.error = self.last = error
        if not is_counted:
            self.counts["failed"] += len(tickets)
