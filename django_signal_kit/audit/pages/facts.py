"""What an entry tells beside its changes, as labels and values."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _

from django_signal_kit.audit.models import AbstractAuditEntry
from django_signal_kit.audit.pages.diff import Value, get_value, reveal
from django_signal_kit.rows.values import to_json

Fact = tuple[str, Value]

CONTEXT_LABELS = {
    "reason": _("Reason"),
    "request_id": _("Request"),
    "method": _("Method"),
    "path": _("Path"),
    "ip": _("Address"),
    "username": _("User name"),
    "backend": _("Backend"),
}


def get_context_rows(context: Any) -> list[Fact]:
    """The context of an entry, what the kit knows first."""
    if not isinstance(context, dict):
        return [("", get_value(context))] if context else []
    known = [name for name in CONTEXT_LABELS if name in context]
    names = known + sorted(name for name in context if name not in CONTEXT_LABELS)
    return [
        (str(CONTEXT_LABELS.get(name, reveal(name))), get_value(context[name])) for name in names
    ]


def get_extra_rows(entry: AbstractAuditEntry) -> list[Fact]:
    """The columns that a subclass has added."""
    kit = {field.name for field in AbstractAuditEntry._meta.get_fields()}
    return [
        (str(field.verbose_name), get_value(to_json(getattr(entry, field.attname)), field))
        for field in entry._meta.concrete_fields
        if field.name not in kit
    ]
