"""Where links in mails lead. Never what a request says: whoever sends it chooses its Host."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings


def get_site(site_url: str) -> tuple[str, str]:
    """The address and the name of the site: as the option says, else as ``django.contrib.sites``
    says, whose rows are cached; else both are empty."""
    is_known = apps.is_installed("django.contrib.sites") and hasattr(settings, "SITE_ID")
    if not is_known:
        return site_url, urlsplit(site_url).netloc
    from django.contrib.sites.models import Site

    try:
        site = Site.objects.get_current()
    except Site.DoesNotExist:
        return site_url, urlsplit(site_url).netloc
    return site_url or f"https://{site.domain}", site.name
