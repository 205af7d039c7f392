"""A log whose entries are a minute apart, step by step."""

from __future__ import annotations

import datetime

from django.utils import timezone

from django_signal_kit.audit.models import AuditEntry

START = timezone.now() - datetime.timedelta(days=10)


class Clock:
    """Each step of a test is a minute after the one before."""

    def __init__(self) -> None:
        self.seen = 0
        self.now = START

    def tick(self) -> datetime.datetime:
        """Say that the entries since the last tick were written now."""
        self.now += datetime.timedelta(minutes=1)
        AuditEntry.objects.filter(pk__gt=self.seen).update(at=self.now)
        self.seen = AuditEntry.objects.order_by("pk").values_list("pk", flat=True).last() or 0
        return self.now
