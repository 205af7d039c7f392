"""Settings under which the pages of the documentation run."""

import sys
import tempfile
from pathlib import Path

# The pages import "shop", as a reader's project would.
sys.path.insert(0, str(Path(__file__).parent))

SECRET_KEY = "docs"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "a"},
    "pages": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "b"},
}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "shop",
    "django_signal_kit",
    "django_signal_kit.audit",
    "django_signal_kit.tasks",
    "django_signal_kit.mail",
]
MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware"]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
    }
]
# Goes with the process.
_media = tempfile.TemporaryDirectory(prefix="signal-kit-docs-")
MEDIA_ROOT = _media.name
SIGNAL_KIT: dict[str, object] = {}
