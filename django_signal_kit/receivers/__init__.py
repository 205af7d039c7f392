"""The ready-made receivers, each imported when first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django_signal_kit.receivers.audit_log import AuditLog as AuditLog
    from django_signal_kit.receivers.cache_invalidation import (
        CacheInvalidation as CacheInvalidation,
    )
    from django_signal_kit.receivers.connection_setup import ConnectionSetup as ConnectionSetup
    from django_signal_kit.receivers.create_related import CreateRelated as CreateRelated
    from django_signal_kit.receivers.deletion_log import DeletionLog as DeletionLog
    from django_signal_kit.receivers.exception_alert import ExceptionAlert as ExceptionAlert
    from django_signal_kit.receivers.file_cleanup import FileCleanup as FileCleanup
    from django_signal_kit.receivers.initial_attributes import (
        InitialAttributes as InitialAttributes,
    )
    from django_signal_kit.receivers.instance_monitor import InstanceMonitor as InstanceMonitor
    from django_signal_kit.receivers.last_modified import LastModified as LastModified
    from django_signal_kit.receivers.login_log import LoginLog as LoginLog
    from django_signal_kit.receivers.m2m_count import M2MCount as M2MCount
    from django_signal_kit.receivers.m2m_limit import M2MLimit as M2MLimit
    from django_signal_kit.receivers.migration_actions import MigrationActions as MigrationActions
    from django_signal_kit.receivers.model_extension import ModelExtension as ModelExtension
    from django_signal_kit.receivers.normalize import Normalize as Normalize
    from django_signal_kit.receivers.orphan_cleanup import OrphanCleanup as OrphanCleanup
    from django_signal_kit.receivers.request_timer import RequestTimer as RequestTimer
    from django_signal_kit.receivers.validate import Validate as Validate
    from django_signal_kit.receivers.welcome_email import WelcomeEmail as WelcomeEmail

_ROOMS = {
    "AuditLog": "audit_log",
    "CacheInvalidation": "cache_invalidation",
    "ConnectionSetup": "connection_setup",
    "ExceptionAlert": "exception_alert",
    "CreateRelated": "create_related",
    "DeletionLog": "deletion_log",
    "FileCleanup": "file_cleanup",
    "InitialAttributes": "initial_attributes",
    "InstanceMonitor": "instance_monitor",
    "LastModified": "last_modified",
    "Normalize": "normalize",
    "LoginLog": "login_log",
    "MigrationActions": "migration_actions",
    "ModelExtension": "model_extension",
    "RequestTimer": "request_timer",
    "M2MCount": "m2m_count",
    "M2MLimit": "m2m_limit",
    "OrphanCleanup": "orphan_cleanup",
    "Validate": "validate",
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
