"""Entries of the audit log on their way into its table.

They are collected as plain tuples with their JSON already made: what an instance holds may be
changed in place before they are written, and a thousand of them are one INSERT.
"""

from __future__ import annotations

import datetime
import json
from typing import Any, NamedTuple
from uuid import UUID

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Model
from django.utils import timezone

from django_signal_kit.exceptions import Misconfigured
from django_signal_kit.rows.values import say

encode = json.JSONEncoder(separators=(",", ":")).encode


class Circumstances(NamedTuple):
    """What all entries of one write have in common; ``context`` is JSON."""

    at: datetime.datetime
    actor_id: Any
    actor_text: str
    context: str
    unit: UUID | None
    using: str


class Entry(NamedTuple):
    """The columns of the log's table, but for its key; ``changes`` and ``context`` are JSON."""

    at: datetime.datetime
    action: str
    content_type_id: Any
    object_pk: str
    object_text: str
    changes: str
    actor_id: Any
    actor_text: str
    context: str
    unit: UUID | None
    using: str


def get_entry_model() -> Any:
    """The model of the log: SIGNAL_KIT_AUDIT_ENTRY_MODEL, or the kit's own.

    Through the app registry: the audit app need not be installed for the kit to be imported.
    """
    label = getattr(settings, "SIGNAL_KIT_AUDIT_ENTRY_MODEL", "signal_kit_audit.AuditEntry")
    return apps.get_model(label, require_ready=False)


def has_log() -> bool:
    """Is there an audit log: the kit's own app, or a model in its place?"""
    return bool(
        getattr(settings, "SIGNAL_KIT_AUDIT_ENTRY_MODEL", "")
        or apps.is_installed("django_signal_kit.audit")
    )


def check_entry_model() -> None:
    """Raise Misconfigured if the setting names no model of the log."""
    try:
        get_entry_model()
    except (LookupError, ValueError) as error:
        label = getattr(settings, "SIGNAL_KIT_AUDIT_ENTRY_MODEL", "")
        raise Misconfigured(
            "E011",
            f"SIGNAL_KIT_AUDIT_ENTRY_MODEL is {label!r}: {error}.",
            "Give the label of an installed model that subclasses AbstractAuditEntry.",
        ) from error


def get_kind(model: type[Model], using: str) -> Any:
    """The content type of ``model`` in the database ``using``, from Django's cache."""
    kinds = apps.get_model("contenttypes", "ContentType")._default_manager
    return kinds.db_manager(using).get_for_model(model)


def find_kind(model: type[Model], using: str) -> Any:
    """:func:`get_kind` for who only reads: None if there is none yet."""
    meta = model._meta.concrete_model._meta  # type: ignore[union-attr]
    kinds = apps.get_model("contenttypes", "ContentType")._default_manager.db_manager(using)
    return kinds.filter(app_label=meta.app_label, model=meta.model_name).first()


def get_circumstances(
    actor: Any,
    context: str,
    unit: UUID | None,
    using: str,
    at: datetime.datetime | None = None,
) -> Circumstances:
    """Of a write that happens now, or has happened ``at``; ``actor`` is a user, anything else that
    has a name, or None."""
    actor_text = "" if actor is None else say(actor)[:255]
    actor_id = get_user_key(actor)
    return Circumstances(at or timezone.now(), actor_id, actor_text, context, unit, using)


def get_known(actor: Any) -> Any:
    """``actor``, or None for an anonymous user."""
    try:
        return None if actor.is_anonymous is True else actor
    except Exception:
        # Anything may be given as an actor.
        return actor


def get_user_key(actor: Any) -> Any:
    """The key of a user; None for anything else: the key of a row of another model would name
    somebody else."""
    if actor is None:
        return None
    try:
        user_model = get_user_model()
    except ImproperlyConfigured:
        # There are no users here.
        return None
    return getattr(actor, user_model._meta.pk.attname) if isinstance(actor, user_model) else None
