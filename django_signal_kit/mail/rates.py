"""Not more than so many mails a minute, of all processes together."""

from __future__ import annotations

import time
from typing import Any

from django.apps import apps
from django.core.cache import caches
from django.db import router, transaction
from django.db.models import Case, F, Q, Value, When

from django_signal_kit.mail import claims
from django_signal_kit.units.failures import report_once

#: Seconds. So far ahead is nobody's turn, but a clock was.
_LONGEST = 3600


def reserve(email: str, rate: int, most: float | None) -> float | None:
    """The seconds to wait until the next mail may be sent, which is reserved by this call; or
    None, and nothing is reserved, if there are more than ``most``.

    With the app installed one row of its table is asked, by all processes. Without, the cache
    "default" counts the mails of each minute, for those who share it.
    """
    model = _get_model()
    if model is None:
        return _count(email, rate, most)
    alias = router.db_for_write(model)
    rows = model._base_manager.using(alias)
    seconds: float | None = claims.insist(
        alias, lambda: _take_turn(rows, alias, email, 60 / rate, most)
    )
    return seconds


def _get_model() -> Any:
    if not claims.is_installed():
        return None
    model = apps.get_model("signal_kit_mail", "MailPace")
    return model if claims.has_table(router.db_for_write(model)) else None


def _take_turn(
    rows: Any, alias: str, email: str, interval: float, most: float | None
) -> float | None:
    now = time.time()
    mine = rows.filter(email=email[:150])
    is_ahead = Q(next_at__gt=now + max(_LONGEST, 100 * interval))
    due = mine if most is None else mine.filter(Q(next_at__lte=now + most) | is_ahead)
    is_taken = Q(next_at__gt=now) & ~is_ahead
    later = Case(When(is_taken, then=F("next_at")), default=Value(now)) + interval
    with transaction.atomic(alias):
        # The update first: it holds the row, so that what is read is what it has written.
        if not due.update(next_at=later):
            rows.bulk_create([rows.model(email=email[:150])], ignore_conflicts=True)
            if not due.update(next_at=later):
                return None
        next_at: float = mine.values_list("next_at", flat=True).get()
    return max(next_at - interval - now, 0.0)


def _count(email: str, rate: int, most: float | None) -> float | None:
    now = time.time()
    minute = int(now // 60)
    try:
        cache = caches["default"]
        while True:
            wait = max(minute * 60 - now, 0.0)
            if most is not None and wait > most:
                return None
            key = f"signal_kit:mail:rate:{email}:{minute}".replace(" ", "_")
            cache.add(key, 0, 3600)
            if cache.incr(key) <= rate:
                return wait
            minute += 1
    except Exception as error:
        report_once(None, "rate", error)
        return 0.0
