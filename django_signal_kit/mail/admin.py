"""The admin's pages of mails: what has become of each, and a column and an action for users."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from django_signal_kit.mail import claims
from django_signal_kit.mail.failing import say
from django_signal_kit.mail.models import WelcomeSent
from django_signal_kit.mail.resending import get_covering, make_ticket, make_tickets
from django_signal_kit.mail.sending import Sending
from django_signal_kit.mail.tickets import say_key


@admin.register(WelcomeSent)
class WelcomeSentAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Read only: what is written here says what may be sent."""

    list_display = ("email", "model", "row", "state", "attempts", "at", "sent_at")
    list_filter = ("state", "email", "model", "at")
    search_fields = ("key", "message_id", "error")
    fields = (
        ("email", "model", "using", "row"),
        *("state", "attempts", "error", "message_id", "language", "at", "sent_at"),
    )
    readonly_fields = (
        *("email", "model", "using", "row", "state", "attempts", "error", "message_id"),
        *("language", "at", "sent_at"),
    )

    @admin.display(description=_("key"), ordering="key")
    def row(self, sent: WelcomeSent) -> str:
        try:
            return say_key(sent.key)
        except ValueError:
            # A key that was longer than its column.
            return sent.key

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class WelcomeStatusMixin:
    """For the ``ModelAdmin`` of users, or of any model that a mail is about: a column that says
    what has become of it, read with one query a page, and an action that sends it to the selected
    rows, to each once. A class with ``actions`` of its own names ``"send_mails"`` there."""

    actions = ("send_mails",)

    def get_list_display(self, request: HttpRequest) -> Any:
        return [*super().get_list_display(request), "mail_status"]  # type: ignore[misc]

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        found = super().get_changelist_instance(request)  # type: ignore[misc]
        read_states(list(found.result_list))
        return found

    @admin.display(description=_("mail"))
    def mail_status(self, instance: Any) -> str:
        return ", ".join(str(state) for state in vars(instance).get(_STATES, ())) or "-"

    @admin.action(
        permissions=["change"],
        description=_("Send the mails that selected %(verbose_name_plural)s have not got"),
    )
    def send_mails(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Sends in the request; what is over the rate of a receiver waits."""
        rows, using = list(queryset), queryset.db
        for receiver in get_covering(queryset.model):
            sending = Sending(receiver, most=1.0)
            for _done in sending.run(list(make_tickets(receiver, rows, using))):
                pass
            sent = sending.counts["sent"]
            said = ngettext(
                "%(email)s: %(count)d mail was sent.",
                "%(email)s: %(count)d mails were sent.",
                sent,
            )
            text = said % {"email": receiver.name, "count": sent}
            level = messages.SUCCESS
            if sending.last is not None:
                level = messages.ERROR
                text += f" {say(sending.last)}"
            self.message_user(request, text, level)  # type: ignore[attr-defined]


_STATES = "_signal_kit_mails"


def read_states(rows: list[Any]) -> None:
    """Note beside each row what has become of the mails about it. One query for all."""
    asked: dict[str, Model] = {}
    for row in rows:
        vars(row)[_STATES] = []
        for receiver in get_covering(type(row)):
            ticket = make_ticket(receiver, row, row._state.db)
            asked[ticket.digest] = row
    if asked and claims.is_installed():
        for sent in WelcomeSent._base_manager.filter(digest__in=list(asked)):
            vars(asked[sent.digest])[_STATES].append(sent.get_state_display())
