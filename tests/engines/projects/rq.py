"""RQ on Redis, by django-tasks-rq."""

from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.engines.projects.base import *  # noqa: F403
from tests.engines.projects.base import INSTALLED_APPS, PLACE

INSTALLED_APPS += ["django_rq"]
RQ_QUEUES = {
    "default": {
        "HOST": "127.0.0.1",
        "PORT": PLACE["broker"],
        "DB": 0,
        # Redis' client would try again for seconds, while whoever has committed waits.
        "REDIS_CLIENT_KWARGS": {"retry": Retry(NoBackoff(), 0)},
    }
}
TASKS = {"default": {"BACKEND": "django_tasks_rq.RQBackend"}}
