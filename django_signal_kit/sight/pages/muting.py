"""A receiver is muted and unmuted from its page, and that is told."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_signal_kit.sight import mutes
from django_signal_kit.sight.models import Receiver
from django_signal_kit.sight.mutes import Mute

#: Minutes -> what they are called.
DURATIONS = {
    15: gettext_lazy("15 minutes"),
    60: gettext_lazy("1 hour"),
    4 * 60: gettext_lazy("4 hours"),
    24 * 60: gettext_lazy("1 day"),
}
_HISTORY = 20


class MuteForm(forms.Form):
    """For how long, and why."""

    duration = forms.TypedChoiceField(
        label=gettext_lazy("For"), coerce=int, initial=60, choices=list(DURATIONS.items())
    )
    reason = forms.CharField(label=gettext_lazy("Why"), max_length=200)


def switch(model_admin: Any, request: HttpRequest, name: str, form: MuteForm) -> None:
    """Unmute the receiver ``name``, or mute it as the valid ``form`` says. Nothing is muted
    without its entry in the log of the admin."""
    by = request.user.get_username()
    try:
        with transaction.atomic():
            if "unmute" in request.POST:
                said = _("Unmuted.")
                model_admin.log_change(request, Receiver(name), said)
                mutes.unmute(name, by=by)
            else:
                minutes, reason = form.cleaned_data["duration"], form.cleaned_data["reason"]
                length = DURATIONS[minutes]
                said = _("Muted for %(length)s: %(reason)s") % {"length": length, "reason": reason}
                model_admin.log_change(request, Receiver(name), said)
                mutes.mute(name, by=by, reason=reason, duration=timedelta(minutes=minutes))
    except PermissionDenied:
        raise
    except Exception as error:
        model_admin.message_user(request, f"{_('Nothing was changed.')} {error}", messages.ERROR)
    else:
        model_admin.message_user(request, f"{name}: {said}", messages.SUCCESS)


def list_history(name: str) -> list[LogEntry]:
    """What the log of the admin says of the receiver ``name``, the latest first."""
    kind = ContentType.objects.get_for_model(Receiver, for_concrete_model=False)
    entries = LogEntry.objects.filter(content_type=kind, object_id=name)
    return list(entries.select_related("user").order_by("-pk")[:_HISTORY])


def read_mutes() -> tuple[list[Mute], str]:
    """What is muted, and why that cannot be told; empty if it can be."""
    try:
        return mutes.get_mutes(), ""
    except Exception as error:
        return [], f"{type(error).__name__}: {error}"
