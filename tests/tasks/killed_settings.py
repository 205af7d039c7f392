"""The settings of the tests, for a process whose broker kills it."""

from tests.faults.settings import *  # noqa: F403

TASKS = {"default": {"BACKEND": "tests.tasks.killed.KillingBroker"}}
