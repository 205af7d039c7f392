"""The page of the admin that takes back what an entry tells, once somebody has confirmed it."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from django_signal_kit.audit.pages.addresses import get_page_url
from django_signal_kit.audit.pages.presenting import present
from django_signal_kit.audit.reverting import RevertError, may_revert


def revert_page(model_admin: Any, request: HttpRequest, object_id: str) -> HttpResponse:
    """GET asks, POST reverts as the user of the request. A refusal is told on the page, with what
    would be done by force if anything would. Raises PermissionDenied, and Http404."""
    entry = model_admin.get_object(request, unquote(object_id))
    if entry is None:
        raise Http404
    if not model_admin.has_view_permission(request, entry) or not may_revert(entry, request.user):
        raise PermissionDenied
    refusal = None
    if request.method == "POST":
        refusal = _revert(entry, request.user, force="force" in request.POST)
        if refusal is None:
            model_admin.message_user(request, _("It was taken back."), messages.SUCCESS)
            return HttpResponseRedirect(_get_next_url(model_admin, entry))
    return _render(model_admin, request, entry, refusal)


def _revert(entry: Any, user: Any, *, force: bool) -> RevertError | None:
    """Why it was refused, or None."""
    try:
        entry.revert(user=user, force=force)
    except RevertError as error:
        return error
    return None


def _get_next_url(model_admin: Any, entry: Any) -> str:
    """The page of the newest entry about the object: that of the revert."""
    newest = model_admin.model._base_manager.filter(
        content_type=entry.content_type_id, object_pk=entry.object_pk
    ).latest("pk")
    return get_page_url(model_admin.admin_site, model_admin.model, newest.pk)


def _render(
    model_admin: Any, request: HttpRequest, entry: Any, refusal: RevertError | None
) -> TemplateResponse:
    log = model_admin.get_queryset(request)
    (shown,) = present([entry], request, model_admin.admin_site, log)
    context = {
        **model_admin.admin_site.each_context(request),
        "title": _("Take it back?"),
        "opts": model_admin.opts,
        "media": model_admin.media,
        "entry": entry,
        "entry_url": get_page_url(model_admin.admin_site, model_admin.model, entry.pk),
        "what": model_admin.object_link(entry),
        "kind": model_admin.kind(entry),
        "badge": model_admin.badge(entry),
        "when": model_admin.when(entry),
        "shown": shown,
        "refusal": refusal,
    }
    request.current_app = model_admin.admin_site.name
    status = 200 if refusal is None else 409
    return TemplateResponse(request, "signal_kit_audit/revert.html", context, status=status)
