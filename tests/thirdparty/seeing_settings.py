"""The settings of the project that is to be seen, with the kit, for the page that shows it."""

from __future__ import annotations

import os
import tempfile

if os.environ.get("SEEING") == "oscar":
    from tests.thirdparty.oscar_settings import *  # noqa: F403
    from tests.thirdparty.oscar_settings import INSTALLED_APPS

    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ["DATABASE_NAME"],
        }
    }
else:
    from wagtail.test.settings import *  # noqa: F403
    from wagtail.test.settings import INSTALLED_APPS

    WAGTAILSEARCH_BACKENDS = {"default": {"BACKEND": "wagtail.search.backends.database"}}

MEDIA_ROOT = os.path.join(tempfile.gettempdir(), "media")
STATIC_ROOT = os.path.join(tempfile.gettempdir(), "static")
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

INSTALLED_APPS = [*INSTALLED_APPS, "django_signal_kit", "django_signal_kit.audit"]
# The page has its own.
SIGNAL_KIT: dict[str, object] = {}
