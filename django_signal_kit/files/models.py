"""The table of files that could not be taken away."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _


class PendingFile(models.Model):
    """A file that no row names, and that its storage would not give up: ``cleanfiles --retry``
    tries again, and deletes the row when it has worked."""

    # No receiver covers it.
    signal_kit_own = True

    model = models.CharField(_("model"), max_length=200)
    field = models.CharField(_("field"), max_length=200)
    name = models.CharField(_("name"), max_length=500)
    using = models.CharField(_("database"), max_length=100)
    key = models.CharField(_("key"), max_length=255, blank=True)
    receiver = models.CharField(_("receiver"), max_length=200)
    error = models.TextField(_("error"))
    attempts = models.PositiveIntegerField(_("attempts"), default=1)
    since = models.DateTimeField(_("since"), auto_now_add=True)

    class Meta:
        verbose_name = _("pending file")
        verbose_name_plural = _("pending files")
        ordering: ClassVar[list[str]] = ["pk"]

    def __str__(self) -> str:
        return f"{self.name} ({self.model}.{self.field})"
