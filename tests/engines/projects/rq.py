"""RQ on Redis, by django-tasks-rq."""

from tests.engines.projects.base import *  # noqa: F403
from tests.engines.projects.base import INSTALLED_APPS, PLACE

INSTALLED_APPS += ["django_rq"]
RQ_QUEUES = {"default": {"HOST": "127.0.0.1", "PORT": PLACE["broker"], "DB": 0}}
TASKS = {"default": {"BACKEND": "django_tasks_rq.RQBackend"}}
