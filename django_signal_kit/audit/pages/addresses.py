"""Addresses in the admin, of those pages that it has and that the user may see."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib.admin import AdminSite
from django.contrib.admin.utils import quote
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse

from django_signal_kit.rows.values import is_redacted


def get_list_url(site: AdminSite, model: type[Model], **params: Any) -> str:
    return f"{_reverse(site, model, 'changelist')}?{urlencode(params)}"


def has_pages(site: AdminSite, request: HttpRequest, model: type[Model]) -> bool:
    """Does the admin show rows of ``model`` to this user?"""
    return site.is_registered(model) and site.get_model_admin(model).has_view_or_change_permission(
        request
    )


def get_row_url(site: AdminSite, request: HttpRequest, model: type[Model], key: Any) -> str | None:
    """The page of the row with this key; None if there is none, or none for this user."""
    if key in (None, "") or is_redacted(key) or not has_pages(site, request, model):
        return None
    return get_page_url(site, model, key)


def get_page_url(site: AdminSite, model: type[Model], key: Any, *, page: str = "change") -> str:
    return _reverse(site, model, page, quote(str(key)))


def _reverse(site: AdminSite, model: type[Model], page: str, *args: str) -> str:
    options = model._meta
    return reverse(f"{site.name}:{options.app_label}_{options.model_name}_{page}", args=args)
