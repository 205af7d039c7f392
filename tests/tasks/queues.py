"""Backends of tests: those of the framework, and one that keeps its queue in this process."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from django.utils import timezone

from django_signal_kit.tasks.framework import find_framework

FRAMEWORK = find_framework().__name__
IMMEDIATE = {"default": {"BACKEND": f"{FRAMEWORK}.backends.immediate.ImmediateBackend"}}
DUMMY = {"default": {"BACKEND": f"{FRAMEWORK}.backends.dummy.DummyBackend"}}
BROKER = {"default": {"BACKEND": f"{__name__}.Broker"}}
RETRYING = {"default": {"BACKEND": f"{__name__}.RetryingBroker"}}
LATER = {"default": {"BACKEND": f"{__name__}.DeferringBroker"}}

if FRAMEWORK == "django.tasks":
    from django.tasks.backends.base import BaseTaskBackend
    from django.tasks.base import Task, TaskResult, TaskResultStatus
else:
    from django_tasks.backends.base import BaseTaskBackend  # type: ignore[no-redef]
    from django_tasks.base import Task, TaskResult, TaskResultStatus  # type: ignore[no-redef]


def get_enqueued(alias: str = "default") -> list[Any]:
    """The results that a DummyBackend holds."""
    return find_framework().task_backends[alias].results


class Broker(BaseTaskBackend):
    """Somewhere else: it keeps JSON, and knows nothing of transactions."""

    messages: list[tuple[str, str, Any]] = []
    is_down = False

    def enqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        self.validate_task(task)
        if Broker.is_down:
            raise ConnectionError("the broker is down")
        Broker.messages.append((task.module_path, json.dumps(kwargs), task.run_after))
        return TaskResult(
            task=task,
            id=str(uuid.uuid4()),
            status=TaskResultStatus.READY,
            enqueued_at=timezone.now(),
            started_at=None,
            last_attempted_at=None,
            finished_at=None,
            args=list(args),
            kwargs=kwargs,
            backend=self.alias,
            errors=[],
            worker_ids=[],
        )


class DeferringBroker(Broker):
    supports_defer = True
    supports_priority = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyTask(Task):
    """A task that says how often and how late it is run again."""

    max_attempts: int | None = None
    backoff: Any = None

    def __post_init__(self) -> None:
        Task.__post_init__(self)


class RetryingBroker(DeferringBroker):
    """Runs a task again by itself, as its task says."""

    task_class = PolicyTask
    #: Of the tasks as they were enqueued.
    policies: list[tuple[int, Any]] = []

    def enqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        self.policies.append((task.max_attempts, task.backoff))
        return super().enqueue(task, args, kwargs)


def get_messages() -> list[dict[str, Any]]:
    """The arguments of the tasks that wait in the broker."""
    return [json.loads(text) for _, text, _ in Broker.messages]


def work(runs: int = 1) -> list[Exception]:
    """Run what waits in the broker now, as a worker would that has begun it ``runs`` times.
    Returns what failed."""
    from django.utils.module_loading import import_string

    waiting, Broker.messages[:] = Broker.messages[:], []
    failures: list[Exception] = []
    for path, text, _ in waiting:
        try:
            import_string(path).call(SimpleNamespace(attempt=runs), **json.loads(text))
        except Exception as error:
            failures.append(error)
    return failures
