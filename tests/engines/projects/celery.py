"""Celery on RabbitMQ, by django-tasks-fennel."""

from kombu import Exchange, Queue

from tests.engines.projects.base import *  # noqa: F403
from tests.engines.projects.base import INSTALLED_APPS, PLACE

INSTALLED_APPS += ["django_tasks_fennel"]
CELERY_BROKER_URL = f"amqp://guest:guest@127.0.0.1:{PLACE['broker']}//"
CELERY_BROKER_TRANSPORT_OPTIONS = {"confirm_publish": True}
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
# A queue of this run's own, on a server that has others.
CELERY_TASK_QUEUES = [
    Queue(PLACE["name"], Exchange(PLACE["name"]), routing_key=PLACE["name"], alias="default")
]
TASKS = {"default": {"BACKEND": "django_tasks_fennel.CeleryBackend", "QUEUES": []}}
