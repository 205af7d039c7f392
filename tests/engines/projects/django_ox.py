"""django-ox: the queue is a table, and a task whose worker is gone is run again."""

from tests.engines.projects.base import *  # noqa: F403
from tests.engines.projects.base import INSTALLED_APPS

INSTALLED_APPS += ["django_ox"]
TASKS = {
    "default": {
        "BACKEND": "django_ox.backend.OxBackend",
        # A task may be killed more often here than anywhere else.
        "OPTIONS": {"LOCK_TIMEOUT": 3, "MAX_ATTEMPTS": 50, "BACKOFF_INITIAL": 1},
    }
}
