"""The table of the outbox: tasks that no queue has taken yet, and those that have failed."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _


class OutboxTask(models.Model):
    """A task that is committed with the write it is about. The row goes when a worker has flushed
    the task; ``relaytasks`` sends what no queue has taken, and what no worker has ended."""

    # No receiver covers it.
    signal_kit_own = True

    #: Grows with time, and is known before the row is written.
    id = models.UUIDField(primary_key=True, editable=False)
    receiver = models.CharField(_("receiver"), max_length=200)
    #: The items and the context as JSON. A text, as some databases keep less than all of JSON.
    payload = models.TextField(_("payload"))
    attempt = models.PositiveIntegerField(_("attempt"), default=1)
    created_at = models.DateTimeField(_("created at"))
    #: When it is sent at the latest; None if a queue has taken it, or if it has failed for good.
    due_at = models.DateTimeField(_("due at"), null=True, db_index=True)
    #: When a queue took it, or until when it waits there.
    taken_at = models.DateTimeField(_("taken at"), null=True)
    failed_at = models.DateTimeField(_("failed at"), null=True)
    error = models.TextField(_("error"), default="", blank=True)

    class Meta:
        verbose_name = _("task of the outbox")
        verbose_name_plural = _("tasks of the outbox")
        ordering: ClassVar[list[str]] = ["pk"]

    def __str__(self) -> str:
        return f"{self.receiver} {self.id}"
