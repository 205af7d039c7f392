"""The ready-made receivers, each imported when first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django_signal_kit.audit.audit_log import AuditLog as AuditLog
    from django_signal_kit.audit.deletion_log import DeletionLog as DeletionLog
    from django_signal_kit.audit.login_log import LoginLog as LoginLog
    from django_signal_kit.cache.cache_invalidation import (
        CacheInvalidation as CacheInvalidation,
    )
    from django_signal_kit.cleaning.normalize import Normalize as Normalize
    from django_signal_kit.cleaning.validate import Validate as Validate
    from django_signal_kit.databases.connection_setup import ConnectionSetup as ConnectionSetup
    from django_signal_kit.databases.migration_actions import MigrationActions as MigrationActions
    from django_signal_kit.extension.initial_attributes import (
        InitialAttributes as InitialAttributes,
    )
    from django_signal_kit.extension.model_extension import ModelExtension as ModelExtension
    from django_signal_kit.files.file_cleanup import FileCleanup as FileCleanup
    from django_signal_kit.mail.email import Email as Email
    from django_signal_kit.mail.welcome_email import WelcomeEmail as WelcomeEmail
    from django_signal_kit.relations.create_related import CreateRelated as CreateRelated
    from django_signal_kit.relations.m2m_count import M2MCount as M2MCount
    from django_signal_kit.relations.m2m_limit import M2MLimit as M2MLimit
    from django_signal_kit.relations.orphan_cleanup import OrphanCleanup as OrphanCleanup
    from django_signal_kit.requests.exception_alert import ExceptionAlert as ExceptionAlert
    from django_signal_kit.requests.instance_monitor import InstanceMonitor as InstanceMonitor
    from django_signal_kit.requests.request_timer import RequestTimer as RequestTimer
    from django_signal_kit.stamps.last_modified import LastModified as LastModified

_ROOMS = {
    "AuditLog": "audit.audit_log",
    "CacheInvalidation": "cache.cache_invalidation",
    "ConnectionSetup": "databases.connection_setup",
    "Email": "mail.email",
    "ExceptionAlert": "requests.exception_alert",
    "CreateRelated": "relations.create_related",
    "DeletionLog": "audit.deletion_log",
    "FileCleanup": "files.file_cleanup",
    "InitialAttributes": "extension.initial_attributes",
    "InstanceMonitor": "requests.instance_monitor",
    "LastModified": "stamps.last_modified",
    "Normalize": "cleaning.normalize",
    "LoginLog": "audit.login_log",
    "MigrationActions": "databases.migration_actions",
    "ModelExtension": "extension.model_extension",
    "RequestTimer": "requests.request_timer",
    "M2MCount": "relations.m2m_count",
    "M2MLimit": "relations.m2m_limit",
    "OrphanCleanup": "relations.orphan_cleanup",
    "Validate": "cleaning.validate",
    "WelcomeEmail": "mail.welcome_email",
}

__all__ = list(_ROOMS)


def __getattr__(name: str) -> Any:
    try:
        room = _ROOMS[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return getattr(import_module(f"django_signal_kit.{room}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
