"""The engines: which project, which worker, which broker, and what is left in the queue."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

FAULTS = ("writer", "broker", "worker")
MANAGE = ("-m", "django")


@dataclass(frozen=True)
class Engine:
    #: Of its project, too.
    name: str
    #: The command of the worker, for this Python.
    worker: tuple[str, ...]
    #: How many tasks wait or, where the queue knows, run. Called when Django is set up.
    pending: Callable[[], int]
    broker: str | None = None
    #: What asks the worker to end when it has done what it does.
    stop: signal.Signals = signal.SIGTERM
    #: "app.Model" of a queue in the database, and its columns that say since when, or until when.
    model: str | None = None
    moments: tuple[str, ...] = ()

    def let_time_pass(self) -> None:
        """As if what waits or is being done had been so for two hours."""
        from django.apps import apps
        from django.db.models import F
        from django.utils import timezone

        columns = [("signal_kit_tasks.OutboxTask", name) for name in ("due_at", "taken_at")]
        columns += [(self.model, name) for name in self.moments if self.model]
        for label, name in columns:
            # Later than that is never.
            soon = {f"{name}__lt": timezone.now() + timedelta(days=1)}
            rows = apps.get_model(label).objects.filter(**soon)
            rows.update(**{name: F(name) - timedelta(hours=2)})


def count_tasks_db() -> int:
    from django_tasks_db.models import DBTaskResult

    # What its worker says it still does when that was killed is RUNNING for ever.
    return int(DBTaskResult.objects.ready().count())


def count_ox() -> int:
    from django.db.models import Q
    from django.utils import timezone
    from django_ox.models import OxTask

    is_due = Q(run_after=None) | Q(run_after__lte=timezone.now())
    return int(OxTask.objects.filter(is_due, status__in=["READY", "RUNNING"]).count())


def count_rq() -> int:
    import django_rq

    return int(django_rq.get_queue("default").count)


def count_huey() -> int:
    from huey.contrib.djhuey import HUEY

    return int(HUEY.pending_count() + HUEY.scheduled_count())


def count_celery() -> int:
    from django.conf import settings
    from django_tasks_fennel.app import app

    with app.connection_for_read() as connection, connection.channel() as channel:
        found = channel.queue_declare(settings.CELERY_TASK_QUEUES[0].name, passive=True)
        return int(found.message_count)


ENGINES = {
    engine.name: engine
    for engine in (
        Engine(
            "django_tasks_db",
            (*MANAGE, "db_worker", "--interval", "0.05", "--no-startup-delay", "--no-reload"),
            count_tasks_db,
            model="django_tasks_database.DBTaskResult",
            moments=("started_at", "run_after"),
        ),
        Engine(
            "django_ox",
            (*MANAGE, "ox_worker", "--interval", "0.1"),
            count_ox,
            model="django_ox.OxTask",
            moments=("run_after",),
        ),
        Engine(
            "rq",
            (
                *(*MANAGE, "rqworker", "default"),
                *("--with-scheduler", "--job-class", "django_tasks_rq.Job"),
            ),
            count_rq,
            broker="redis",
        ),
        Engine(
            "huey",
            (*MANAGE, "run_huey", "--workers", "2", "--worker-type", "process"),
            count_huey,
            broker="redis",
            stop=signal.SIGINT,
        ),
        Engine(
            "celery",
            (
                *("-m", "celery", "--app", "django_tasks_fennel.app", "worker"),
                *("--concurrency", "2", "--loglevel", "WARNING"),
                *("--without-gossip", "--without-mingle"),
            ),
            count_celery,
            broker="rabbitmq",
        ),
    )
}
