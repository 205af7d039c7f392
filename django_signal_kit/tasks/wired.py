"""Can this receiver flush in a task? Asked when it is wired."""

from __future__ import annotations

from django_signal_kit.exceptions import Misconfigured, did_you_mean
from django_signal_kit.tasks.batches import get_functions
from django_signal_kit.tasks.framework import find_framework, get_backend, make_task
from django_signal_kit.tasks.options import TaskOptions, TaskReceiver, read_options
from django_signal_kit.tasks.places import get_outbox_model

_INSTALL = 'pip install "django-signal-kit[tasks]"'


def check_task(receiver: TaskReceiver) -> None:
    """Raise Misconfigured if nothing takes the tasks of ``receiver``."""
    name = receiver.name
    if find_framework() is None:
        raise Misconfigured(
            "E056",
            f"{name} has flush_on='task', but this Django has no tasks, and django-tasks is not "
            f"installed.",
            f"{_INSTALL}, or leave 'flush_on' out.",
        )
    check_backend(name, read_options(receiver))


def check_backend(name: str, options: TaskOptions) -> None:
    """Raise Misconfigured if the backend is not there, or takes no task of these options."""
    try:
        get_backend(options.backend)
    except Exception as error:
        raise Misconfigured(
            "E057",
            f"The tasks of {name} have the backend {options.backend!r}, which cannot be made: "
            f"{str(error).rstrip('.')}.",
            _advise(options.backend),
        ) from error
    try:
        make_task(get_functions(), options, attempts=options.attempts)
    except Exception as error:
        raise Misconfigured(
            "E058",
            f"The backend {options.backend!r} takes no task of {name}: {error}",
            "Set 'QUEUE' or 'PRIORITY' in SIGNAL_KIT['TASKS'], or in the option 'task_options'.",
        ) from error
    if options.outbox and get_outbox_model() is None:
        raise Misconfigured(
            "E059",
            f"The tasks of {name} have 'OUTBOX': True, but the app that has its table is not "
            f"installed.",
            "Add 'django_signal_kit.tasks' to INSTALLED_APPS, and migrate.",
        )


def _advise(alias: str) -> str:
    known = list(find_framework().task_backends.settings)
    return "See the setting TASKS." if alias in known else did_you_mean(alias, known)
