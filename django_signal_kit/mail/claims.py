"""Who may send a mail: one process, once. In the database if the app is installed."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Protocol

from django.apps import apps
from django.db import OperationalError, connections, router
from django.db.models import F, Model, Q
from django.utils import timezone

from django_signal_kit.mail.passing import PassingClaims
from django_signal_kit.mail.tickets import Held, Ticket, make_message_id
from django_signal_kit.rows.inserting import insert
from django_signal_kit.units.loggers import get_logger

_ATTEMPTS = 8
_LONG = timedelta(minutes=15)

#: What a row has that nobody has looked at yet; ``served`` is JSON.
_NEW = {"state": "waiting", "attempts": 0, "error": "", "served": "[]", "holder": ""}
_COLUMNS = (
    *("digest", "email", "model", "using", "key", "occasion", "language", "message_id", "at"),
    *_NEW,
)

logger = get_logger("django_signal_kit.mail")

#: Databases that have the table.
_migrated: set[str] = set()


class Claims(Protocol):
    def take(self, rows: Mapping[Ticket, Model | None], domain: str) -> list[Held]:
        """Those of the mails that are not sent, nor being sent by another, in their order."""

    def keep(self, held: Sequence[Held]) -> list[Held]:
        """Those that are still held, from now on for a whole lease again."""

    def note(
        self, held: Iterable[Held], state: str, error: str = "", *, is_attempt: bool = True
    ) -> None:
        """What came of mails that are held: ``state`` is one of ``WelcomeSent.State``."""


def is_installed() -> bool:
    # A look-up where apps.is_installed() goes through all of them: it is asked at each sign-up.
    return "signal_kit_mail" in apps.app_configs


def get_model() -> Any:
    return apps.get_model("signal_kit_mail", "WelcomeSent")


def get_claims(lease: timedelta) -> Claims:
    """Those of the table, or else those of this process and its cache. Who has taken a mail and is
    not heard of for as long as the ``lease`` has died: another one may take it."""
    if is_installed():
        alias = router.db_for_write(get_model())
        if has_table(alias):
            return StoredClaims(alias, lease)
        logger.error(
            "The database %r has no table %r, so that mails are remembered in memory alone. "
            "Run: migrate --database %s",
            alias,
            get_model()._meta.db_table,
            alias,
            extra={"using": alias},
        )
    return PassingClaims(lease.total_seconds())


def has_table(alias: str) -> bool:
    """Is the table there? One query the first time, and as long as it is not."""
    if alias not in _migrated:
        connection = connections[alias]
        with connection.cursor() as cursor:
            names = connection.introspection.table_names(cursor)
        if connection.introspection.identifier_converter(get_model()._meta.db_table) not in names:
            return False
        _migrated.add(alias)
    return True


def is_stored_in(using: str) -> bool:
    """Can a claim be committed together with a row of the database ``using``?"""
    return is_installed() and router.db_for_write(get_model()) == using and has_table(using)


def insist(alias: str, act: Callable[[], Any]) -> Any:
    """Do ``act``, again if need be: a deadlock, or a connection that the server has closed, is no
    reason to send twice, or not at all. In a transaction there is no second time."""
    connection = connections[alias]
    for attempt in range(1, _ATTEMPTS):
        try:
            return act()
        except OperationalError:
            if connection.in_atomic_block:
                raise
            connection.close_if_unusable_or_obsolete()
            time.sleep(random.uniform(0, 0.05 * attempt))
    return act()


class StoredClaims:
    """Rows of the table: they outlive every process, and one of two inserts wins."""

    def __init__(self, alias: str, lease: timedelta = _LONG) -> None:
        self.alias = alias
        self.lease = lease
        self.model = get_model()
        self.state = self.model.State
        self._holder = uuid.uuid4().hex

    def announce(self, tickets: Iterable[Ticket], domain: str) -> None:
        """Have rows for these mails, in the transaction that is open. One statement."""
        connection = connections[self.alias]
        at = self.model._meta.get_field("at").get_db_prep_save(timezone.now(), connection)
        rows = [
            (
                ticket.digest,
                ticket.email[:150],
                ticket.label[:150],
                ticket.using[:100],
                ticket.key[:255],
                ticket.occasion,
                ticket.language[:20],
                make_message_id(ticket, domain)[:255],
                at,
                *_NEW.values(),
            )
            # Two processes that insert several of the same wait for each other in one order.
            for ticket in sorted(tickets, key=lambda each: each.digest)
        ]
        insert(self.model, _COLUMNS, rows, connection, ignore_conflicts=True)

    def take(self, rows: Mapping[Ticket, Model | None], domain: str) -> list[Held]:
        found: list[Held] = insist(self.alias, lambda: self._take(list(rows), domain))
        return found

    def _take(self, tickets: list[Ticket], domain: str) -> list[Held]:
        holder = self._holder = uuid.uuid4().hex
        known = {ticket.digest: ticket for ticket in tickets}
        asked = self._find(known)
        if self._hold(asked, holder) < len(known):
            missing = known.keys() - set(asked.values_list("digest", flat=True))
            if missing:
                self.announce([known[digest] for digest in missing], domain)
                self._hold(self._find(missing), holder)
        taken = asked.filter(holder=holder).values_list("digest", "message_id", "served")
        found = {digest: (message_id, served) for digest, message_id, served in taken}
        return [Held(known[digest], *found[digest]) for digest in known if digest in found]

    def _hold(self, rows: Any, holder: str) -> int:
        now = timezone.now()
        state = self.state
        is_free = Q(state__in=[state.WAITING, state.FAILED, state.SKIPPED])
        is_lost = Q(state=state.SENDING, held_until__lt=now)
        count: int = rows.filter(is_free | is_lost).update(
            state=state.SENDING,
            holder=holder,
            held_until=now + self.lease,
            attempts=F("attempts") + 1,
        )
        return count

    def keep(self, held: Sequence[Held]) -> list[Held]:
        rows = self._find(each.ticket.digest for each in held)
        ours = rows.filter(state=self.state.SENDING, holder=self._holder)
        # The connection may have been idle for long.
        insist(self.alias, lambda: ours.update(held_until=timezone.now() + self.lease))
        still = set(ours.values_list("digest", flat=True))
        return [each for each in held if each.ticket.digest in still]

    def note(
        self, held: Iterable[Held], state: str, error: str = "", *, is_attempt: bool = True
    ) -> None:
        held = list(held)
        if state != self.state.SENT and len(held) > 1 and any(each.served for each in held):
            for each in held:
                self.note([each], state, error, is_attempt=is_attempt)
            return
        values: dict[str, Any] = {"state": state, "error": error[:1000], "holder": ""}
        if not is_attempt:
            values["attempts"] = F("attempts") - 1
        if state == self.state.SENT:
            values["sent_at"] = timezone.now()
        if state != self.state.SENT and held and held[0].served:
            # It is alone.
            values["served"] = held[0].served
        rows = self._find(each.ticket.digest for each in held)
        if state != self.state.SENT:
            # Whom we were too slow for may have sent it meanwhile.
            rows = rows.filter(holder=self._holder)
        insist(self.alias, lambda: rows.update(**values))

    def _find(self, digests: Iterable[str]) -> Any:
        found = list(digests)
        rows = self.model._base_manager.using(self.alias)
        # The shorter statement, as it is made for each mail.
        return rows.filter(digest=found[0]) if len(found) == 1 else rows.filter(digest__in=found)


def list_done(tickets: Iterable[Ticket]) -> set[str]:
    """The digests of those that have been sent, or were refused for good."""
    model = get_model()
    done = (model.State.SENT, model.State.REFUSED)
    rows = model._base_manager.using(router.db_for_write(model)).filter(state__in=done)
    digests = [ticket.digest for ticket in tickets]
    return {
        digest
        for start in range(0, len(digests), 500)
        for digest in rows.filter(digest__in=digests[start : start + 500]).values_list(
            "digest", flat=True
        )
    }


def list_told(tickets: Sequence[Ticket]) -> set[tuple[str, str]]:
    """Root and key of the rows of these tickets, all of one receiver and database, of which it has
    told, or is to, on any occasion."""
    model = get_model()
    labels = {each._meta.label for each in apps.get_models()}
    rows = model._base_manager.using(router.db_for_write(model)).filter(
        email__in={ticket.email[:150] for ticket in tickets},
        using__in={ticket.using[:100] for ticket in tickets},
        key__in=[ticket.key[:255] for ticket in tickets],
    )
    told = rows.exclude(state=model.State.SKIPPED).values_list("email", "model", "using", "key")
    return {
        (each.root, each.key)
        for each in (Ticket(*values) for values in told if values[1] in labels)
    }
