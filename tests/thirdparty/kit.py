"""The kit on every model of somebody else's settings."""

from __future__ import annotations

import os
from typing import Any

from django_signal_kit.receivers import CacheInvalidation

#: Set for the second run of a suite.
WITH_KIT = "THIRDPARTY_WITH_KIT"
#: Where a run writes to how its tests came out.
OUTCOMES = "THIRDPARTY_OUTCOMES"

EVERYTHING = ["__all__"]


class RowKeys(CacheInvalidation):
    """Each row has a key of its own, and one with its text, for which old rows have to be read."""

    models = EVERYTHING

    def get_keys(self, instance: Any) -> Any:
        label = instance._meta.label_lower
        yield f"{label}:{instance.pk}"
        yield f"{label}:{hash(tuple(map(str, instance.__dict__.values())))}"


RECEIVERS: list[object] = [
    {
        "RECEIVER": "django_signal_kit.receivers.AuditLog",
        # So that the log has to tell of each column that changes.
        "OPTIONS": {"models": EVERYTHING, "stamps": True},
    },
    {
        "RECEIVER": "django_signal_kit.receivers.FileCleanup",
        "OPTIONS": {"models": EVERYTHING},
    },
    "tests.thirdparty.kit.RowKeys",
    {
        "RECEIVER": "django_signal_kit.receivers.DeletionLog",
        "OPTIONS": {"models": EVERYTHING},
    },
    {
        "RECEIVER": "django_signal_kit.receivers.InstanceMonitor",
        "OPTIONS": {"models": EVERYTHING},
    },
    "django_signal_kit.receivers.RequestTimer",
]


def add_kit(settings: dict[str, Any]) -> None:
    """Change the settings of a project as its owner would, if this is the run with the kit."""
    if WITH_KIT not in os.environ:
        return
    settings["INSTALLED_APPS"] = [
        *settings["INSTALLED_APPS"],
        "django_signal_kit",
        "django_signal_kit.audit",
    ]
    settings["MIDDLEWARE"] = [
        *settings["MIDDLEWARE"],
        "django_signal_kit.middleware.RequestContextMiddleware",
    ]
    settings["SIGNAL_KIT"] = {"RECEIVERS": RECEIVERS}
