"""What the audit log tells, for the tests of what is written into it."""

from __future__ import annotations

from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.db import models

from django_signal_kit.audit.models import AuditEntry


def entries(about: models.Model | type[models.Model] | None = None) -> list[tuple[str, Any]]:
    """``(action, changes)`` of each entry, in order: about one row, about those of a model, or
    about all."""
    found = AuditEntry.objects.order_by("id")
    if about is not None:
        found = found.filter(content_type=ContentType.objects.get_for_model(about))
    if isinstance(about, models.Model):
        found = found.filter(object_pk=str(about.pk))
    return [(entry.action, entry.changes) for entry in found]


def forget() -> None:
    AuditEntry.objects.all().delete()


def tell(about: models.Model | type[models.Model] | None = None) -> list[tuple[str, Any]]:
    """The entries since the last call; and forget them."""
    told = entries(about)
    forget()
    return told
