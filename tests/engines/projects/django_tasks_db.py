"""django-tasks-db: the queue is a table."""

from tests.engines.projects.base import *  # noqa: F403
from tests.engines.projects.base import INSTALLED_APPS

INSTALLED_APPS += ["django_tasks_db"]
TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
