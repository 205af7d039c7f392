"""The audit log to read: a list, and a page an entry. Nothing can be added, changed or deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.auth import get_user_model
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.timezone import is_aware, localtime
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from django_signal_kit.audit.changelist import (
    EntryChangeList,
    EntryPaginator,
    KindFilter,
    search,
    set_kinds,
)
from django_signal_kit.audit.diff import get_rows, reveal
from django_signal_kit.audit.facts import get_context_rows, get_extra_rows
from django_signal_kit.audit.marking import mark
from django_signal_kit.audit.models import AbstractAuditEntry, AuditEntry
from django_signal_kit.audit.summary import get_summary

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
    paginator = EntryPaginator
    ordering = ("-pk",)
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
        return super().changelist_view(request, {"title": title, **(extra_context or {})})

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        context.update(self.get_entry_context(request, context["original"]))
        return super().render_change_form(request, context, *args, **kwargs)

    def get_entry_context(self, request: HttpRequest, entry: Any) -> dict[str, Any]:
        """What the template of the page of ``entry`` is given."""
        set_kinds([entry])
        rows = [mark(row) for row in get_rows(entry.changes, _get_model(entry))]
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
            "rows": rows,
            "has_values": any(row.kind != "members" for row in rows),
            "shows_old": entry.action != "create",
            "shows_new": entry.action != "delete",
            "context_rows": get_context_rows(entry.context),
            "extra_rows": get_extra_rows(entry),
            "history_url": self._get_history_url(entry),
            "unit_url": entry.unit and self._get_list_url(unit=entry.unit),
            "by_actor_url": self._get_actor_url(entry),
            "object_url": self._get_object_url(request, entry),
            "actor_page_url": self._get_page_url(request, get_user_model(), entry.actor_id),
        }

    @admin.display(description=_("when"))
    def when(self, entry: AbstractAuditEntry) -> SafeString:
        at = localtime(entry.at) if is_aware(entry.at) else entry.at
        return format_html(
            '<time datetime="{}"><span>{}</span> <span>{}</span></time>',
            at.isoformat(),
            f"{at:%Y-%m-%d}",
            f"{at:%H:%M:%S}",
        )

    @admin.display(description=_("action"))
    def badge(self, entry: AbstractAuditEntry) -> SafeString:
        # An action that is not of the kit may hold anything; a class may not.
        known = entry.action if entry.action in entry.Action.values else "other"
        return format_html(
            '<span class="signal-kit-badge signal-kit-{}">{}</span>',
            known,
            entry.get_action_display(),
        )

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
        items, omitted = get_summary(get_rows(entry.changes, _get_model(entry)), entry.action)
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
        options = self.opts
        name = f"{self.admin_site.name}:{options.app_label}_{options.model_name}_changelist"
        return f"{reverse(name)}?{urlencode(params)}"

    def _get_history_url(self, entry: AbstractAuditEntry) -> str | None:
        if entry.content_type_id is None or not entry.object_pk:
            return None
        return self._get_list_url(content_type=entry.content_type_id, object_pk=entry.object_pk)

    def _get_actor_url(self, entry: AbstractAuditEntry) -> str | None:
        return None if entry.actor_id is None else self._get_list_url(actor=entry.actor_id)

    def _get_object_url(self, request: HttpRequest, entry: AbstractAuditEntry) -> str | None:
        model = _get_model(entry)
        if model is None or entry.action == "delete":
            return None
        return self._get_page_url(request, model, entry.object_pk)

    def _get_page_url(self, request: HttpRequest, model: type[Model], key: Any) -> str | None:
        """The page of that row in the same admin, if it has one and the user may see it."""
        if key in (None, "") or not self.admin_site.is_registered(model):
            return None
        if not self.admin_site.get_model_admin(model).has_view_or_change_permission(request):
            return None
        options = model._meta
        name = f"{self.admin_site.name}:{options.app_label}_{options.model_name}_change"
        return reverse(name, args=[quote(str(key))])


def _get_model(entry: AbstractAuditEntry) -> type[Model] | None:
    kind = entry.content_type
    return None if kind is None else kind.model_class()
