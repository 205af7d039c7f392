"""The "History" page of any model's admin, told by the audit log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.contrib.auth import get_permission_codename
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import router
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from django_signal_kit.audit.entries import get_entry_model
from django_signal_kit.audit.keys import to_key
from django_signal_kit.audit.pages.addresses import get_list_url, get_row_url, has_pages
from django_signal_kit.audit.pages.diff import reveal
from django_signal_kit.audit.pages.paging import ByKey, Cursor, Page, Pager, Sorted
from django_signal_kit.audit.pages.presenting import Shown, present, show_badge, show_time
from django_signal_kit.audit.pages.requests import get_request_params, get_story
from django_signal_kit.audit.pages.rollup import Link, Parent, find_family, get_own
from django_signal_kit.units.batch import batch

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = object


class AuditHistoryMixin(ModelAdmin):
    """Lets the "History" button of a ``ModelAdmin`` show the audit log of the object.

    ``class ProductAdmin(AuditHistoryMixin, admin.ModelAdmin)``. Shown are the entries of the
    object and of the rows of its inlines, newest first, what was one request together, or else one
    unit of work. What is saved on one page of this admin is made one unit of work. Who may not
    read the log sees Django's own history, and so does everybody where the log has nothing to
    tell.
    """

    #: How many entries a page of the history has.
    audit_history_per_page = 50
    audit_history_template = "signal_kit_audit/history.html"

    def has_audit_history_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """May the user read entries about ``obj``, which is None if it is gone? By default those
        who may view the audit log: it tells more than a page of the admin does."""
        model = get_entry_model()
        if self.admin_site.is_registered(model):
            return self.admin_site.get_model_admin(model).has_view_or_change_permission(request)
        permission = get_permission_codename("view", model._meta)
        return request.user.has_perm(f"{model._meta.app_label}.{permission}")

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: Any = None,
    ) -> Any:
        if request.method != "POST":
            return super().changeform_view(request, object_id, form_url, extra_context)
        with batch(router.db_for_write(self.model)):
            return super().changeform_view(request, object_id, form_url, extra_context)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: Any = None
    ) -> HttpResponse:
        parent = self._get_audit_parent(request, object_id)
        if parent is None or not self.has_audit_history_permission(request, parent.row):
            return super().history_view(request, object_id, extra_context)
        if not self.has_view_or_change_permission(request, parent.row):
            raise PermissionDenied
        try:
            cursor = Cursor.read(request.GET)
        except ValueError:
            return HttpResponseRedirect(request.path)
        context = self._get_audit_history(request, parent, cursor)
        if context is None:
            return super().history_view(request, object_id, extra_context)
        request.current_app = self.admin_site.name
        return TemplateResponse(
            request, self.audit_history_template, {**context, **(extra_context or {})}
        )

    def _get_audit_parent(self, request: HttpRequest, object_id: str) -> Parent | None:
        """None if there is no such row, nor ever was; or if this admin hides it."""
        row = self.get_object(request, unquote(object_id))
        if row is not None:
            return Parent(self.model, to_key(self.model, row.pk), row)
        try:
            key = self.model._meta.pk.to_python(unquote(object_id))
            rows = self.model._base_manager.using(self.get_queryset(request).db)
            if rows.filter(pk=key).exists():
                return None
        except (ValidationError, ValueError):
            return None
        return Parent(self.model, to_key(self.model, key), None)

    def _get_audit_history(
        self, request: HttpRequest, parent: Parent, cursor: Cursor
    ) -> dict[str, Any] | None:
        """What the template is given. None if the log knows nothing of the object."""
        log = get_entry_model()._default_manager.all()
        links = self._get_audit_links(request, parent)
        family = find_family(log, parent, links)
        order = ByKey() if family.is_single else Sorted()
        pager = Pager(family.filter(log), self.audit_history_per_page, order)
        page = pager.get_page(cursor)
        if not page.entries and cursor == Cursor():
            return None
        name = str(parent.row or _get_last_name(get_own(log, parent)) or parent.key)
        return {
            **self.admin_site.each_context(request),
            "title": _("Change history: %s") % reveal(name),
            "subtitle": None,
            "module_name": str(capfirst(self.opts.verbose_name_plural)),
            "object": parent.row or Gone(parent.key, reveal(name)),
            "opts": self.opts,
            "preserved_filters": self.get_preserved_filters(request),
            "is_gone": parent.row is None,
            "is_cut": family.is_cut,
            "is_partial": family.is_partial,
            "inlines": [str(link.model._meta.verbose_name_plural) for link in links],
            "groups": self._get_audit_groups(request, parent, page),
            **_get_page_urls(page),
        }

    def _get_audit_links(self, request: HttpRequest, parent: Parent) -> list[Link]:
        """Those to the rows of inlines that the user may view."""
        links = [
            Link.of(inline, self.model)
            for inline in self.get_inline_instances(request, parent.row)
            if inline.has_view_or_change_permission(request, parent.row)
        ]
        return [link for link in links if link is not None]

    def _get_audit_groups(self, request: HttpRequest, parent: Parent, page: Page) -> list[Group]:
        groups: dict[Any, Group] = {}
        for shown in present(page.entries, request, self.admin_site):
            entry = shown.entry
            group = groups.get(_get_group_key(entry))
            if group is None:
                group = groups[_get_group_key(entry)] = self._make_audit_group(request, entry)
            model = None if entry.content_type is None else entry.content_type.model_class()
            group.lines.append(
                Line(
                    shown,
                    show_badge(entry),
                    "" if group.is_of(entry) else show_time(entry),
                    "" if model is parent.model._meta.concrete_model else _get_name(entry),
                    get_row_url(self.admin_site, request, type(entry), entry.pk),
                )
            )
        return list(groups.values())

    def _make_audit_group(self, request: HttpRequest, entry: Any) -> Group:
        reason = entry.context.get("reason") if isinstance(entry.context, dict) else None
        params = get_request_params(entry)
        in_request = params is not None
        if params is None and entry.unit is not None:
            params = {"unit": entry.unit}
        url = None
        if params and has_pages(self.admin_site, request, type(entry)):
            url = get_list_url(self.admin_site, type(entry), **params)
        who = entry.actor_text or ("" if entry.actor_id is None else str(entry.actor_id))
        own = router.db_for_write(self.model)
        return Group(
            show_time(entry),
            reveal(who),
            reveal("" if reason is None else str(reason)),
            "" if entry.using == own else entry.using,
            in_request,
            url,
            [],
        )


@dataclass(frozen=True)
class Line:
    """One entry of a group. ``when`` is empty if it is that of the group, ``name`` if it is about
    the object itself."""

    shown: Shown
    badge: SafeString
    when: str
    name: str
    url: str | None

    @property
    def is_long(self) -> bool:
        """Does it tell all the values of a row, and not only those that changed?"""
        return self.shown.entry.action in ("create", "delete")


@dataclass(frozen=True)
class Group:
    """What was done in one request, or else in one unit of work, by one person for one reason.
    ``using`` is empty if it was done in the database of the model; ``url`` is where it all is."""

    when: SafeString
    who: str
    reason: str
    using: str
    in_request: bool
    url: str | None
    lines: list[Line]

    def is_of(self, entry: Any) -> bool:
        """Was it written in the second that the group names?"""
        newest = self.lines[0].shown.entry if self.lines else entry
        return bool(newest.at.replace(microsecond=0) == entry.at.replace(microsecond=0))


@dataclass(frozen=True)
class Gone:
    """Stands for an object that was deleted."""

    pk: str
    name: str

    def __str__(self) -> str:
        return self.name


def _get_group_key(entry: Any) -> Any:
    reason = entry.context.get("reason") if isinstance(entry.context, dict) else None
    return get_story(entry), entry.actor_id, entry.actor_text, str(reason), entry.using


def _get_name(entry: Any) -> str:
    kind = entry.content_type
    return f"{'' if kind is None else kind.name} {reveal(entry.object_text or entry.object_pk)}"


def _get_last_name(own: QuerySet[Any]) -> str | None:
    return own.order_by("-pk").values_list("object_text", flat=True).first()


def _get_page_urls(page: Page) -> dict[str, str | None]:
    return {
        "newest_url": None if page.newer is None else "?",
        "newer_url": None if page.newer is None else f"?after={page.newer}",
        "older_url": None if page.older is None else f"?before={page.older}",
    }
