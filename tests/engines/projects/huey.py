"""huey on Redis, by the backend that it brings."""

from tests.engines.projects.base import *  # noqa: F403
from tests.engines.projects.base import INSTALLED_APPS, PLACE

INSTALLED_APPS += ["huey.contrib.djhuey"]
HUEY = {
    "name": "engines",
    "huey_class": "huey.RedisHuey",
    "connection": {"host": "127.0.0.1", "port": PLACE["broker"]},
    "immediate": False,
}
TASKS = {"default": {"BACKEND": "huey.contrib.djhuey.tasks_backend.HueyBackend"}}
