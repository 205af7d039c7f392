"""The audit log to read: a list, and a page an entry. Nothing of it can be added, changed or
deleted; what an entry tells can be taken back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from django_signal_kit.audit.models import AbstractAuditEntry, AuditEntry
from django_signal_kit.audit.pages import logins
from django_signal_kit.audit.pages.addresses import get_list_url, get_page_url, get_row_url
from django_signal_kit.audit.pages.changelist import (
    EntryChangeList,
    KindFilter,
    search,
)
from django_signal_kit.audit.pages.chart import Bar, get_chart
from django_signal_kit.audit.pages.diff import reveal
from django_signal_kit.audit.pages.facts import get_context_rows, get_extra_rows
from django_signal_kit.audit.pages.kinds import get_model
from django_signal_kit.audit.pages.presenting import present, show_badge, show_time
from django_signal_kit.audit.pages.requests import get_request_params
from django_signal_kit.audit.pages.revert import revert_page
from django_signal_kit.audit.pages.summary import get_summary
from django_signal_kit.audit.pages.together import get_together
from django_signal_kit.audit.reverting import may_revert

if TYPE_CHECKING:
    EntryModelAdmin = admin.ModelAdmin[Any]
else:
    EntryModelAdmin = admin.ModelAdmin


@admin.register(AuditEntry)
class AuditEntryAdmin(EntryModelAdmin):
    """Shows entries to those who have the permission to view them.

    A project with a log model of its own registers it itself, as it does a user model of its own:
    ``admin.site.register(Entry, AuditEntryAdmin)``. Columns of its own are shown as facts.
    """

    list_display = ("when", "badge", "object_link", "kind", "who", "summary")
    list_display_links = ("when",)
    list_filter = ("action", "at", KindFilter)
    list_select_related = False
    search_fields = ("object_pk",)
    search_help_text = _("The exact key of an object, or the id of a unit of work.")
    # Each of these would read the whole table.
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    ordering = ("-pk",)
    # The list is paged by key, so it has this order and no other.
    sortable_by = ()
    # Actions of the whole site are not for a log.
    actions = None
    # The page of an entry has no form.
    fields = ()
    change_list_template = "signal_kit_audit/change_list.html"
    change_form_template = "signal_kit_audit/entry.html"

    class Media:
        css = {"all": ("signal_kit_audit/audit.css",)}

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[EntryChangeList]:
        return EntryChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Entries of the object with exactly this key, of whatever kind, or of this unit."""
        return search(queryset, search_term), False

    def get_urls(self) -> list[Any]:
        """Those of every admin, and the page that takes back what an entry tells."""
        name = f"{self.opts.app_label}_{self.opts.model_name}_revert"
        view = self.admin_site.admin_view(partial(revert_page, self))
        return [path("<path:object_id>/revert/", view, name=name), *super().get_urls()]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        title = capfirst(self.opts.verbose_name_plural)
        response = super().changelist_view(request, {"title": title, **(extra_context or {})})
        # Nothing of the kind is there if the address was mangled.
        context = getattr(response, "context_data", None) or {}
        if "cl" in context and context["cl"].is_whole:
            chart = get_chart(context["cl"].root_queryset)
            if chart is not None:
                context["chart"] = chart
                context["days"] = [(self._get_day_url(bar), bar) for bar in chart.bars[::-1]]
        return response

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        context.update(self.get_entry_context(request, context["original"]))
        return super().render_change_form(request, context, *args, **kwargs)

    def get_entry_context(self, request: HttpRequest, entry: Any) -> dict[str, Any]:
        """What the template of the page of ``entry`` is given."""
        log = self.get_queryset(request)
        (shown,) = present([entry], request, self.admin_site, log)
        together = get_together(log, entry)
        return {
            "title": capfirst(self.opts.verbose_name),
            "subtitle": None,
            "entry": entry,
            "when": self.when(entry),
            "badge": self.badge(entry),
            "kind": self.kind(entry),
            "object_text": reveal(entry.object_text),
            "object_pk": reveal(entry.object_pk),
            "actor_text": reveal(entry.actor_text),
            "shown": shown,
            "together_rows": [self._get_row(other) for other in together.entries],
            "together_is_cut": together.is_cut,
            "context_rows": get_context_rows(entry.context),
            "extra_rows": get_extra_rows(entry),
            "history_url": self._get_history_url(entry),
            "unit_url": entry.unit and self._get_list_url(unit=entry.unit),
            "request_url": self._get_request_url(entry),
            "by_actor_url": self._get_actor_url(entry),
            "object_url": self._get_object_url(request, entry),
            "revert_url": self._get_revert_url(request, entry),
            "actor_page_url": get_row_url(
                self.admin_site, request, get_user_model(), entry.actor_id
            ),
        }

    @admin.display(description=_("when"))
    def when(self, entry: AbstractAuditEntry) -> SafeString:
        return show_time(entry)

    @admin.display(description=_("action"))
    def badge(self, entry: AbstractAuditEntry) -> SafeString:
        return show_badge(entry)

    @admin.display(description=_("object"))
    def object_link(self, entry: AbstractAuditEntry) -> str:
        text = reveal(entry.object_text or entry.object_pk)
        if len(text) > 80:
            text = f"{text[:80]}…"
        url = self._get_history_url(entry)
        if url is None:
            return format_html("<bdi>{}</bdi>", text)
        return format_html('<a href="{}"><bdi>{}</bdi></a>', url, text)

    @admin.display(description=_("kind"))
    def kind(self, entry: AbstractAuditEntry) -> str | None:
        if entry.content_type_id is None:
            return None
        if entry.content_type is None:
            return str(_("kind %s, which is gone")) % entry.content_type_id
        return entry.content_type.name

    @admin.display(description=_("by"))
    def who(self, entry: AbstractAuditEntry) -> str | None:
        # Never entry.actor: the user may be gone, and asking is a query an entry.
        text = reveal(entry.actor_text) or (entry.actor_id and f"{entry.actor_id}")
        url = self._get_actor_url(entry)
        if url is None:
            return format_html("<bdi>{}</bdi>", text) if text else None
        return format_html('<a href="{}"><bdi>{}</bdi></a>', url, text)

    @admin.display(description=_("changes"))
    def summary(self, entry: AbstractAuditEntry) -> str:
        if entry.action in logins.ACTIONS and not entry.changes:
            items, omitted = logins.get_items(entry), 0
        else:
            items, omitted = get_summary(entry.changes, get_model(entry), entry.action)
        parts = [
            format_html("{} <bdi>{}</bdi>", item.label, item.new)
            if item.old is None
            else format_html("{} <bdi>{}</bdi> → <bdi>{}</bdi>", item.label, item.old, item.new)
            for item in items
        ]
        if omitted:
            more = ngettext("%d more", "%d more", omitted) % omitted
            parts.append(format_html('<span class="signal-kit-quiet">{}</span>', more))
        return format_html_join(", ", "{}", ((part,) for part in parts))

    def _get_list_url(self, **params: Any) -> str:
        return get_list_url(self.admin_site, self.model, **params)

    def _get_entry_url(self, entry: AbstractAuditEntry) -> str:
        return get_page_url(self.admin_site, self.model, entry.pk)

    def _get_day_url(self, bar: Bar) -> str:
        return self._get_list_url(at__gte=bar.start, at__lt=bar.end)

    def _get_history_url(self, entry: AbstractAuditEntry) -> str | None:
        if entry.content_type_id is None or not entry.object_pk:
            return None
        return self._get_list_url(content_type=entry.content_type_id, object_pk=entry.object_pk)

    def _get_actor_url(self, entry: AbstractAuditEntry) -> str | None:
        return None if entry.actor_id is None else self._get_list_url(actor=entry.actor_id)

    def _get_request_url(self, entry: AbstractAuditEntry) -> str | None:
        params = get_request_params(entry)
        return None if params is None else self._get_list_url(**params)

    def _get_row(self, entry: AbstractAuditEntry) -> dict[str, Any]:
        return {
            "url": self._get_entry_url(entry),
            "badge": self.badge(entry),
            "text": reveal(entry.object_text or entry.object_pk),
            "kind": self.kind(entry),
            "summary": self.summary(entry),
        }

    def _get_revert_url(self, request: HttpRequest, entry: AbstractAuditEntry) -> str | None:
        if not may_revert(entry, request.user):
            return None
        return get_page_url(self.admin_site, self.model, entry.pk, page="revert")

    def _get_object_url(self, request: HttpRequest, entry: AbstractAuditEntry) -> str | None:
        model = get_model(entry)
        if model is None or entry.action == "delete":
            return None
        return get_row_url(self.admin_site, request, model, entry.object_pk)
