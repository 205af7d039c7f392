"""Two logs of the same writes: one that Python keeps, and one that triggers keep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.test.utils import override_settings

from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.receivers import AuditLog
from tests.audit.capture.installing import installed

#: What is told of a row, one after the other.
Story = dict[tuple[str, str], list[dict[str, Any]]]


class PythonLog(AuditLog):
    def get_context(self) -> Mapping[str, Any]:
        return {**super().get_context(), "capture": "python"}


class TriggerLog(AuditLog):
    def get_context(self) -> Mapping[str, Any]:
        return {**super().get_context(), "capture": "triggers"}


class OnlyDefault:
    """Keeps all tables in the default database, so that the others have no say."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return db == "default"


@contextmanager
def alone() -> Iterator[None]:
    """The default database is asked alone for what triggers can do."""
    with override_settings(DATABASE_ROUTERS=[OnlyDefault()]):
        yield


@contextmanager
def both(wire: Any, *models: str, **options: Any) -> Iterator[None]:
    """Wire the two for ``models``, with the triggers installed."""
    ContentType.objects.clear_cache()
    with alone():
        wire(
            (PythonLog, {"models": models, **options}),
            (TriggerLog, {"models": models, **options, "capture": "triggers"}),
        )
        with installed():
            yield


def tell(capture: str) -> Story:
    """What one of the two has to say, row by row."""
    story: Story = {}
    for entry in AuditEntry.objects.order_by("id"):
        told = dict(entry.context)
        if told.pop("capture", "") != capture:
            continue
        key = f"{entry.content_type.app_label}.{entry.content_type.model}", entry.object_pk
        story.setdefault(key, []).append(
            {
                "action": entry.action,
                "text": entry.object_text,
                "changes": entry.changes,
                "actor": (entry.actor_id, entry.actor_text),
                "context": told,
                "using": entry.using,
            }
        )
    return story


def assert_same(*, unheard: int = 0) -> Story:
    """Both tell the same, which is returned; all entries are of one of them."""
    by_python, by_triggers = tell("python"), tell("triggers")
    assert by_triggers == by_python
    # For Python, 1 is 1.0 and True.
    assert repr(by_triggers) == repr(by_python)
    others = AuditEntry.objects.exclude(context__capture__in=["python", "triggers"]).count()
    assert others == unheard
    return by_triggers


def forget() -> None:
    AuditEntry.objects.all().delete()
