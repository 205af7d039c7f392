"""The table of the audit log."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class AbstractAuditEntry(models.Model):
    """One change of one row. Subclass it to add columns, and name the subclass in
    ``SIGNAL_KIT_AUDIT_ENTRY_MODEL`` before the first ``migrate``.

    The foreign keys have no constraint in the database and do nothing on deletion: a log outlives
    what it tells of, and may live in another database.
    """

    #: No receiver covers the log itself, whatever its pattern.
    signal_kit_own = True

    class Action(models.TextChoices):
        CREATE = "create", _("created")
        UPDATE = "update", _("changed")
        DELETE = "delete", _("deleted")
        M2M_ADD = "m2m_add", _("added")
        M2M_REMOVE = "m2m_remove", _("removed")
        M2M_CLEAR = "m2m_clear", _("cleared")
        LOGIN = "login", _("logged in")
        LOGOUT = "logout", _("logged out")
        LOGIN_FAILED = "login_failed", _("failed to log in")

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(_("time"), default=timezone.now, editable=False)
    action = models.CharField(_("action"), max_length=16, choices=Action, editable=False)
    content_type = models.ForeignKey(
        ContentType,
        models.DO_NOTHING,
        verbose_name=_("kind"),
        related_name="+",
        db_constraint=False,
        db_index=False,
        null=True,
        editable=False,
    )
    object_pk = models.CharField(_("key"), max_length=255, editable=False)
    object_text = models.TextField(_("object"), blank=True, editable=False)
    changes = models.JSONField(_("changes"), default=dict, editable=False)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.DO_NOTHING,
        verbose_name=_("by"),
        related_name="+",
        db_constraint=False,
        db_index=False,
        null=True,
        blank=True,
        editable=False,
    )
    actor_text = models.CharField(_("by, as text"), max_length=255, blank=True, editable=False)
    context = models.JSONField(_("context"), default=dict, editable=False)
    unit = models.UUIDField(_("unit of work"), null=True, editable=False)
    using = models.CharField(_("database"), max_length=64, editable=False)

    class Meta:
        abstract = True
        ordering = ("-id",)
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit entries")
        indexes = (
            # The history of one object, newest first.
            models.Index(fields=("content_type", "object_pk", "-id")),
            # What one person did, newest first.
            models.Index(fields=("actor", "-id")),
            # What happened then.
            models.Index(fields=("at",)),
            # What happened together.
            models.Index(fields=("unit",)),
        )

    def __str__(self) -> str:
        return f"{self.object_text} {self.get_action_display()}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Insert. Raises TypeError for an entry that is stored already: a log is not edited."""
        if not self._state.adding:
            raise TypeError("An audit entry is not changed once it is written.")
        super().save(*args, **kwargs)


class AuditEntry(AbstractAuditEntry):
    """The kit's own table of the log."""

    class Meta(AbstractAuditEntry.Meta):
        abstract = False
        swappable = "SIGNAL_KIT_AUDIT_ENTRY_MODEL"
