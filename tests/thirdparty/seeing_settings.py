"""Wagtail's own test settings with the kit, for the page that shows what it says of them."""

from __future__ import annotations

import os
import tempfile

from wagtail.test.settings import *  # noqa: F403
from wagtail.test.settings import INSTALLED_APPS

MEDIA_ROOT = os.path.join(tempfile.gettempdir(), "media")
STATIC_ROOT = os.path.join(tempfile.gettempdir(), "static")
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
WAGTAILSEARCH_BACKENDS = {"default": {"BACKEND": "wagtail.search.backends.database"}}

INSTALLED_APPS = [*INSTALLED_APPS, "django_signal_kit", "django_signal_kit.audit"]
# The page has its own.
SIGNAL_KIT: dict[str, object] = {}
