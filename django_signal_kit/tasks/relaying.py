"""The outbox swept: what nobody has sent, as its process died or the queue was down."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from django.db.models import Count
from django.utils import timezone

from django_signal_kit.tasks.known import find_options
from django_signal_kit.tasks.outbox import GRACE, Waiting, send, unpack
from django_signal_kit.tasks.places import get_outbox_model
from django_signal_kit.units.loggers import get_logger

logger = get_logger("django_signal_kit.tasks")

#: Rows that are taken at once.
_CHUNK = 100
#: The most that one commit sends of what others left.
_FEW = 20

#: Database -> when this process has looked for what others left.
_looked: dict[str, float] = {}


class Relayed(NamedTuple):
    """How many tasks were sent, and how many no queue took."""

    sent: int
    left: int


def relay(using: str, most: int | None = None) -> Relayed:
    """Send what is due in the outbox of this database; ``most``: no more than so many."""
    sent = 0
    while most is None or sent < most:
        claimed = list(_claim(using, _CHUNK if most is None else min(_CHUNK, most - sent)))
        if not claimed:
            break
        taken, unasked = send(claimed, using)
        sent += taken
        if taken < len(claimed):
            _let_go(unasked, using)
            return Relayed(sent, len(claimed) - taken)
    return Relayed(sent, 0)


def relay_now_and_then(using: str) -> None:
    """Send a few of those that are due, unless this process has looked a minute ago."""
    now = time.monotonic()
    if now - _looked.get(using, -GRACE.total_seconds()) >= GRACE.total_seconds():
        _looked[using] = now
        relay(using, _FEW)


class Sender:
    """Sends what has been committed in the outbox of one database."""

    name = "outbox"
    on_error = "log"

    def __init__(self, using: str) -> None:
        self.using = using

    def flush(self, items: list[Waiting]) -> None:
        """Runs after the commit. What a queue does not take stays for ``relaytasks``."""
        send(items, self.using)
        try:
            relay_now_and_then(self.using)
        except Exception as error:
            logger.exception(
                "What others left in the outbox of %r was not sent",
                self.using,
                extra={"using": self.using, "error": type(error).__name__},
            )


_senders: dict[str, Sender] = {}


def get_sender(using: str) -> Sender:
    """One for each database, so that what was collected for it is sent together."""
    return _senders.setdefault(using, Sender(using))


def _claim(using: str, most: int) -> Iterator[Waiting]:
    """Rows that are due, each for us alone until the time to send it is over."""
    rows: Any = get_outbox_model()._base_manager.using(using)
    now = timezone.now()
    # Of what is due at the same moment the oldest first: keys grow with time.
    for row in rows.filter(due_at__lte=now).order_by("due_at", "pk")[:most]:
        # Whoever changes it first has it.
        same = rows.filter(pk=row.pk, due_at=row.due_at)
        if same.update(due_at=timezone.now() + GRACE):
            yield Waiting(row, unpack(row, using), find_options(row.receiver))


def _let_go(unasked: list[Waiting], using: str) -> None:
    """They come before the one that was refused the next time: it may be what the queue never
    takes, such as a task that is too large."""
    rows: Any = get_outbox_model()._base_manager.using(using)
    keys = [waiting.row.pk for waiting in unasked]
    rows.filter(pk__in=keys, taken_at=None, failed_at=None).update(due_at=timezone.now())


def requeue(using: str, names: frozenset[str] | None) -> int:
    """Make the failed tasks of this database due, with all their attempts: those of the receivers
    of these names, or all. Returns how many there are."""
    rows: Any = get_outbox_model()._base_manager.using(using).exclude(failed_at=None)
    if names is not None:
        rows = rows.filter(receiver__in=names)
    changed: int = rows.update(due_at=timezone.now(), attempt=1, failed_at=None, error="")
    return changed


def count_waiting(using: str) -> Counter[str]:
    """Name of a receiver -> how many of its tasks wait, or are being flushed."""
    rows: Any = get_outbox_model()._base_manager.using(using).filter(failed_at=None)
    return _count(rows)


def count_failed(using: str) -> Counter[str]:
    """Name of a receiver -> how many of its tasks have failed."""
    rows: Any = get_outbox_model()._base_manager.using(using).exclude(failed_at=None)
    return _count(rows)


def _count(rows: Any) -> Counter[str]:
    return Counter(dict(rows.order_by().values_list("receiver").annotate(Count("pk"))))
