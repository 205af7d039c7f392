"""Settings of the test-suite. SIGNAL_KIT_TEST_DATABASE chooses sqlite, postgres or mariadb."""

import atexit
import os
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

import django

TEST_NAME = os.environ.get("SIGNAL_KIT_TEST_NAME", "test_signal_kit")
DATABASE = os.environ.get("SIGNAL_KIT_TEST_DATABASE", "sqlite")
SCRATCH = Path(tempfile.mkdtemp(prefix="signal-kit-tests-"))
atexit.register(shutil.rmtree, SCRATCH, ignore_errors=True)

SECRET_KEY = "tests"
USE_TZ = True
TIME_ZONE = "Europe/Madrid"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "tests.urls"
MEDIA_ROOT = str(SCRATCH / "media")
STATIC_URL = "/static/"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}

DATABASES = {
    "default": {
        "sqlite": {
            "ENGINE": "django.db.backends.sqlite3",
            # Threads have connections of their own only to a file.
            "NAME": str(SCRATCH / "db.sqlite3"),
            "TEST": {"NAME": str(SCRATCH / "test.sqlite3")},
            "OPTIONS": {"timeout": 30},
        },
        "postgres": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": "127.0.0.1",
            "USER": "postgres",
            "NAME": "test",
            "TEST": {"NAME": TEST_NAME},
        },
        "mariadb": {
            "ENGINE": "django.db.backends.mysql",
            "HOST": "127.0.0.1",
            "USER": "root",
            "NAME": "test",
            "TEST": {"NAME": TEST_NAME, "CHARSET": "utf8mb4"},
        },
    }[DATABASE],
    "other": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": ":memory:",
        "TEST": {"NAME": str(SCRATCH / "other.sqlite3")},
    },
}

CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "a"},
    "second": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "b"},
}

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "tests.apps.testapp",
    "tests.apps.rarities",
    "tests.apps.relations",
    "tests.apps.validity",
    "tests.apps.belongings",
    "tests.apps.orders",
    "django_signal_kit",
    "django_signal_kit.audit",
    "django_signal_kit.files",
    "django_signal_kit.tasks",
    "django_signal_kit.mail",
    "django_signal_kit.sight",
]

# A queue in the database; from the wheel, and in an older environment, the tests do without.
if find_spec("django_tasks_db"):
    INSTALLED_APPS.append("django_tasks_db")

MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_signal_kit.middleware.RequestContextMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [Path(__file__).parent / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# Each test wires the receivers that it is about; see the fixture "wire".
SIGNAL_KIT: dict[str, object] = {}
