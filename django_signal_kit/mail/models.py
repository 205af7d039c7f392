"""The tables of mails: which have been sent, and how fast."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _


class WelcomeSent(models.Model):
    """One mail of one receiver about one row: that it is to be sent, and what came of it.

    Rows are named by label and key, without a foreign key: any model may be meant, in any
    database. ``digest`` says the same in one unique value, whatever a database takes for equal.
    """

    # No receiver covers it.
    signal_kit_own = True

    class State(models.TextChoices):
        WAITING = "waiting", _("waiting")
        SENDING = "sending", _("being sent")
        SENT = "sent", _("sent")
        FAILED = "failed", _("failed, to be tried again")
        REFUSED = "refused", _("refused for good")
        SKIPPED = "skipped", _("not to be sent")

    digest = models.CharField(max_length=64, unique=True, editable=False)
    email = models.CharField(_("e-mail"), max_length=150)
    model = models.CharField(_("model"), max_length=150)
    using = models.CharField(_("database"), max_length=100)
    key = models.CharField(_("key"), max_length=255)
    #: Tells apart the mails of a receiver that sends several about one row; else empty.
    occasion = models.CharField(_("occasion"), max_length=40, blank=True, editable=False)
    language = models.CharField(_("language"), max_length=20, blank=True)
    state = models.CharField(
        _("state"), max_length=10, choices=State, default=State.WAITING, db_index=True
    )
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    error = models.TextField(_("last error"), blank=True)
    message_id = models.CharField(_("Message-ID"), max_length=255)
    #: Digests of the addresses that have been served already, while others have not.
    served = models.JSONField(_("served"), default=list, editable=False)
    at = models.DateTimeField(_("since"), auto_now_add=True)
    sent_at = models.DateTimeField(_("sent at"), null=True)
    #: Who is sending it, and until when nobody else tries.
    holder = models.CharField(max_length=32, blank=True, editable=False)
    held_until = models.DateTimeField(null=True, editable=False)

    class Meta:
        verbose_name = _("sent e-mail")
        verbose_name_plural = _("sent e-mails")
        ordering: ClassVar[list[str]] = ["-pk"]

    def __str__(self) -> str:
        return f"{self.email}: {self.model} {self.key}"


class MailPace(models.Model):
    """When the next mail of a receiver with a ``rate`` may be sent, for all processes."""

    signal_kit_own = True

    email = models.CharField(max_length=150, unique=True)
    #: Seconds since 1970.
    next_at = models.FloatField(default=0)

    class Meta:
        verbose_name = _("pace of mails")
        verbose_name_plural = _("paces of mails")

    def __str__(self) -> str:
        return self.email
