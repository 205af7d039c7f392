"""The ready-made receivers, each imported when first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django_signal_kit.receivers.audit_log import AuditLog as AuditLog
    from django_signal_kit.receivers.cache_invalidation import (
        CacheInvalidation as CacheInvalidation,
    )
    from django_signal_kit.receivers.file_cleanup import FileCleanup as FileCleanup
    from django_signal_kit.receivers.last_modified import LastModified as LastModified
    from django_signal_kit.receivers.welcome_email import WelcomeEmail as WelcomeEmail

_ROOMS = {
    "AuditLog": "audit_log",
    "CacheInvalidation": "cache_invalidation",
    "FileCleanup": "file_cleanup",
    "LastModified": "last_modified",
    "WelcomeEmail": "welcome_email",
}

__all__ = list(_ROOMS)


def __getattr__(name: str) -> Any:
    try:
        room = _ROOMS[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return getattr(import_module(f"{__name__}.{room}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
