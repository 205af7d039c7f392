"""What permissions, and the log of the admin, refer to. There is no table."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class NoRows(models.Manager["Receiver"]):
    """Asks no database: ``dumpdata`` goes through all models, whoever manages their tables."""

    def get_queryset(self) -> models.QuerySet[Receiver]:
        return super().get_queryset().none()


class Receiver(models.Model):
    """A receiver that is wired, by its name."""

    signal_kit_own = True

    name = models.CharField(_("name"), max_length=255, primary_key=True)

    objects = NoRows()

    class Meta:
        managed = False
        base_manager_name = "objects"
        default_permissions = ("view", "change")
        verbose_name = _("receiver")
        verbose_name_plural = _("signals")

    def __str__(self) -> str:
        return self.name
