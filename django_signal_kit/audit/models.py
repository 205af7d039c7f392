"""The table of the audit log, and that of its seals."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_signal_kit.audit.queries import AuditEntryQuerySet
from django_signal_kit.audit.reverting import PERMISSION, revert


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

    objects = AuditEntryQuerySet.as_manager()

    class Meta:
        abstract = True
        permissions = ((PERMISSION, "Can revert what an audit entry tells"),)
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

    def revert(self, user: Any = None, force: bool = False) -> None:
        """Take back what this entry tells, in one unit of work, which writes entries of its own.

        With ``user``, who becomes the actor, raises PermissionDenied unless he may revert entries
        and add, change or delete such rows. Raises RevertError if the row is gone or has changed
        since, which ``force`` overrides for values, if the log does not have the old values, or
        if the database, the model or a receiver refuses it. Nothing is half done then, and a
        transaction that was open can go on.
        """
        revert(self, user, force)


class AuditEntry(AbstractAuditEntry):
    """The kit's own table of the log."""

    class Meta(AbstractAuditEntry.Meta):
        abstract = False
        swappable = "SIGNAL_KIT_AUDIT_ENTRY_MODEL"


class AuditSeal(models.Model):
    """What the log looked like when ``sealauditlog`` came by, or what ``pruneauditlog`` took.

    Each seal holds the digest of the one before it, so that none can be changed, taken out or put
    in between without breaking the chain. Seals are in the database of the log.
    """

    #: No receiver covers the log itself, whatever its pattern.
    signal_kit_own = True

    class Kind(models.TextChoices):
        ENTRIES = "entries", _("entries")
        PRUNED = "pruned", _("pruned")

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(_("time"), default=timezone.now, editable=False)
    #: The label of the model of the log.
    log = models.CharField(_("log"), max_length=150, editable=False)
    kind = models.CharField(_("kind"), max_length=16, choices=Kind, editable=False)
    first_id = models.BigIntegerField(_("first entry"), editable=False)
    last_id = models.BigIntegerField(_("last entry"), editable=False)
    count = models.PositiveIntegerField(_("number of entries"), editable=False)
    #: The columns that were sealed, separated by commas: later ones are not covered.
    columns = models.TextField(_("columns"), blank=True, editable=False)
    #: See ``django_signal_kit.audit.sealing.evidence``.
    evidence = models.BinaryField(_("evidence"))
    previous = models.CharField(_("digest of the seal before"), max_length=64, editable=False)
    digest = models.CharField(_("digest"), max_length=64, editable=False)

    class Meta:
        ordering = ("-id",)
        verbose_name = _("seal of the audit log")
        verbose_name_plural = _("seals of the audit log")
        constraints = (
            # Of two that seal at once, one has to look again.
            models.UniqueConstraint(fields=("log", "previous"), name="signal_kit_one_next_seal"),
        )
        indexes = (
            # How far the log is sealed, and what was pruned of a range.
            models.Index(fields=("log", "kind", "last_id"), name="signal_kit_seal_range"),
        )

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.first_id} to {self.last_id}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Insert. Raises TypeError for a seal that is stored already."""
        if not self._state.adding:
            raise TypeError("A seal is not changed once it is written.")
        super().save(*args, **kwargs)
