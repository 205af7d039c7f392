"""Both captures, listening to the same writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.db import connections

from django_signal_kit.audit.capture import standing
from django_signal_kit.audit.capture.installing import drop, install
from django_signal_kit.audit.capture.wanted import list_installed
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.receivers import AuditLog

PYTHON, TRIGGERS = "python", "triggers"


class Marking(AuditLog):
    """Says in each entry who has written it."""

    def get_context(self) -> Mapping[str, Any]:
        return {**super().get_context(), "capture": self.capture}


def list_entries(models: Any, **options: Any) -> list[Any]:
    """For SIGNAL_KIT: Python hears, and so do triggers."""
    path = f"{__name__}.{Marking.__name__}"
    triggers = {**options, "capture": TRIGGERS}
    # The templates are for triggers alone.
    options.pop("object_text", None)
    return [
        {"RECEIVER": path, "NAME": "ByPython", "OPTIONS": {"models": models, **options}},
        {"RECEIVER": path, "NAME": "ByTriggers", "OPTIONS": {"models": models, **triggers}},
    ]


@contextmanager
def installed(using: str = "default") -> Iterator[None]:
    """The triggers that the receivers want, for the length of the block."""
    ContentType.objects.clear_cache()
    # Content types may have to be made first.
    standing.suspend(using)
    install(using)
    standing.resume(using)
    try:
        yield
    finally:
        drop(using, list_installed(using))
        # They have keys of content types in them.
        ContentType.objects.clear_cache()
        assert not connections[using].in_atomic_block


def get_entries(capture: str, **lookups: Any) -> list[Any]:
    """The entries of one of the two, in their order."""
    found = AuditEntry.objects.filter(**lookups).order_by("pk")
    return [entry for entry in found if entry.context.get("capture") == capture]


def tell(capture: str, **lookups: Any) -> list[tuple[Any, ...]]:
    """All that entries say, but for the time."""
    return [
        (
            entry.action,
            entry.content_type_id,
            entry.object_pk,
            entry.object_text,
            entry.changes,
            entry.actor_id,
            entry.actor_text,
            {name: value for name, value in entry.context.items() if name != "capture"},
            entry.unit,
            entry.using,
        )
        for entry in get_entries(capture, **lookups)
    ]


def forget() -> None:
    AuditEntry.objects.all().delete()
