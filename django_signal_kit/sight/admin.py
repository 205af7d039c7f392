"""The page "Signals": who listens to whom, what ran, what it cost, what failed; and mute, where
the project allows it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext_lazy as _

from django_signal_kit.conf import conf
from django_signal_kit.sight.counting import get_counters, get_tasks
from django_signal_kit.sight.figures import Tasks
from django_signal_kit.sight.models import Receiver
from django_signal_kit.sight.mutes import KNOWN_WITHIN, tell_immutable
from django_signal_kit.sight.pages.detail import find_receiver, get_detail
from django_signal_kit.sight.pages.filters import Filters
from django_signal_kit.sight.pages.muting import MuteForm, list_history, read_mutes, switch
from django_signal_kit.sight.pages.overview import get_overview
from django_signal_kit.sight.pages.wired import list_wired

if TYPE_CHECKING:
    ReceiverModelAdmin = admin.ModelAdmin[Any]
else:
    ReceiverModelAdmin = admin.ModelAdmin


@admin.register(Receiver)
class ReceiverAdmin(ReceiverModelAdmin):
    """Shown to those who have the permission to view receivers. Who may change them may mute them,
    if ``SIGNAL_KIT["ADMIN_MUTING"]`` is True.

    For a site of your own: ``site.register(Receiver, ReceiverAdmin)``.
    """

    overview_template = "signal_kit_sight/overview.html"
    detail_template = "signal_kit_sight/detail.html"

    def get_urls(self) -> list[Any]:
        """The page of all receivers, and that of one. No other: there are no rows."""
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        wrap = self.admin_site.admin_view
        return [
            path("", wrap(self.changelist_view), name=f"{name}_changelist"),
            path("<path:object_id>/change/", wrap(self.change_view), name=f"{name}_change"),
        ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_mute_permission(self, request: HttpRequest, name: str) -> bool:
        """May who asks mute and unmute the receiver of this name? By default who may change
        receivers."""
        return self.has_change_permission(request)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        muted, problem = read_mutes()
        overview = get_overview(
            list_wired(),
            Filters.read(request.GET),
            counters := get_counters(),
            _read_tasks(),
            muted,
            self._get_url,
        )
        return self._respond(
            request,
            self.overview_template,
            {
                "title": _("Signals"),
                "counters": counters,
                "muted": [(mute, self._get_url(mute.name)) for mute in muted],
                "mutes_problem": problem,
                **overview,
                **(extra_context or {}),
            },
        )

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        key = unquote(object_id)
        wired = next((each for each in list_wired() if each.key == key), None)
        if wired is None:
            raise Http404(f"No receiver is named {key!r}.")
        receiver = find_receiver(wired)
        may_mute = (
            conf.ADMIN_MUTING and receiver is not None and self.has_mute_permission(request, key)
        )
        form = MuteForm(request.POST or None)
        if request.method == "POST":
            if not may_mute:
                raise PermissionDenied
            if "unmute" in request.POST or form.is_valid():
                switch(self, request, key, form)
                return HttpResponseRedirect(self._get_url(key))
        muted, problem = read_mutes()
        counters = get_counters()
        return self._respond(
            request,
            self.detail_template,
            {
                "title": key,
                "counters": counters,
                "may_mute": may_mute,
                "form": form,
                "refusal": tell_immutable(receiver) if receiver is not None else "",
                "mutes_problem": problem,
                "history": list_history(key),
                **get_detail(wired, receiver, counters, _read_tasks(), muted, self._get_url),
                **(extra_context or {}),
            },
        )

    def _respond(
        self, request: HttpRequest, template: str, context: dict[str, Any]
    ) -> TemplateResponse:
        request.current_app = self.admin_site.name
        return TemplateResponse(
            request,
            template,
            {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "list_url": self._get_list_url(),
                "is_muting_on": conf.ADMIN_MUTING,
                "known_within": round(KNOWN_WITHIN),
                **context,
            },
        )

    def _get_list_url(self) -> str:
        return self._reverse("changelist")

    def _get_url(self, key: str) -> str:
        return self._reverse("change", quote(key))

    def _reverse(self, page: str, *args: str) -> str:
        name = f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_{page}"
        return reverse(name, args=args)


def _read_tasks() -> dict[str, Tasks]:
    # Where the tables are is what the system checks tell.
    with suppress(DatabaseError):
        return get_tasks()
    return {}
