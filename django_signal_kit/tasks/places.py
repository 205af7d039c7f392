"""Where a task waits until a worker takes it, and what a crash can lose on the way there."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from django.apps import apps
from django.db import connections, router

from django_signal_kit.tasks.framework import get_backend, get_path, is_inline
from django_signal_kit.tasks.options import TaskOptions, TaskReceiver, read_options

#: ``"in_transaction"``: in a queue that is in the database of the write. ``"outbox"``: in a row of
#: the outbox, in the transaction, and after it in the queue. ``"after_commit"``: in the queue,
#: when the transaction has been committed.
Place: TypeAlias = Literal["in_transaction", "outbox", "after_commit"]

#: Backends that keep their queue in a database -> the model of its rows.
QUEUES = {
    "django_tasks_db.backend.DatabaseBackend": "django_tasks_database.DBTaskResult",
    "django_tasks.backends.database.backend.DatabaseBackend": "django_tasks_database.DBTaskResult",
    "django_ox.backend.OxBackend": "django_ox.OxTask",
}

#: Apps whose tables are of queues. A receiver that heard "__all__" of them would make a task of
#: each of its own tasks.
QUEUE_APPS = frozenset(
    {
        "django_celery_results",
        "django_dramatiq",
        "django_ox",
        "django_q",
        "django_tasks_database",
        "oxpull",
        "procrastinate",
    }
)


def find_queue_model(backend: Any) -> Any:
    """The model of the rows of a queue that is in a database; None if it is not, or if its app is
    not installed."""
    for cls in type(backend).__mro__:
        label = QUEUES.get(get_path(cls))
        if label is not None and label.partition(".")[0] in apps.app_configs:
            return apps.get_model(label)
    return None


def get_outbox_model() -> Any:
    """The model of the app ``django_signal_kit.tasks``, or None if that is not installed."""
    if not apps.is_installed("django_signal_kit.tasks"):
        return None
    return apps.get_model("signal_kit_tasks", "OutboxTask")


def has_outbox(using: str) -> bool:
    """Does this database have a table for the outbox, as the routers say?"""
    model = get_outbox_model()
    return model is not None and router.allow_migrate_model(using, model)


def list_outboxes() -> list[str]:
    """The databases that have one."""
    return [using for using in connections if has_outbox(using)]


def wants_outbox(options: TaskOptions) -> bool:
    """Do the options ask for an outbox where the queue is not in the database of the write?"""
    if options.outbox is None:
        return not is_inline(get_backend(options.backend))
    return options.outbox


def find_place(options: TaskOptions, using: str) -> Place:
    """Where the tasks of these options wait of what is written to this database."""
    queue = find_queue_model(get_backend(options.backend))
    if queue is not None and router.db_for_write(queue) == using:
        return "in_transaction"
    return "outbox" if wants_outbox(options) and has_outbox(using) else "after_commit"


def has_worker(receiver: TaskReceiver) -> bool:
    """Does it flush in a process that nobody waits for?"""
    if receiver.flush_on != "task":
        return False
    return not is_inline(get_backend(read_options(receiver).backend))


def is_durable(receiver: TaskReceiver) -> bool:
    """Does a transaction, of some database at least, keep the tasks of this receiver?"""
    options = read_options(receiver)
    return any(find_place(options, using) != "after_commit" for using in connections)
