"""What is wrong with the options of an AuditLog."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_signal_kit.audit.capture.choosing import check_choice
from django_signal_kit.audit.entries import check_entry_model, has_log
from django_signal_kit.audit.keys import check_secrets
from django_signal_kit.exceptions import Misconfigured, did_you_mean
from django_signal_kit.rows.many_to_many import get_many_to_many
from django_signal_kit.wiring.senders import Coverage

if TYPE_CHECKING:
    from django_signal_kit.audit.audit_log import AuditLog


def check_options(receiver: AuditLog, base: type[AuditLog]) -> None:
    """Raise Misconfigured; ``base`` is the class whose hooks may be overridden."""
    if not has_log():
        raise Misconfigured(
            "E011",
            f"{receiver.name} writes into the audit log, but its app is not installed.",
            "Add 'django_signal_kit.audit' to INSTALLED_APPS and run migrate.",
        )
    check_entry_model()
    check_secrets(receiver)
    models = Coverage(receiver).get_models()
    check_choice(receiver, base, models)
    known = {
        field.name for model in models for field in (*model._meta.fields, *get_many_to_many(model))
    }
    for option in ("fields", "exclude_fields"):
        for name in getattr(receiver, option):
            if models and name not in known:
                raise Misconfigured(
                    "E012",
                    f"The option {option!r} of {receiver.name} has {name!r}, and no model that it "
                    f"covers has such a field.",
                    did_you_mean(name, known),
                )
