"""Where a crash loses tasks, and what else goes wrong with them without an error."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from django.core.checks import CheckMessage, Warning
from django.db import connections

from django_signal_kit.exceptions import join
from django_signal_kit.tasks.options import TaskOptions, TaskReceiver, read_options
from django_signal_kit.tasks.places import find_place, get_outbox_model, has_outbox, wants_outbox

_APP = "django_signal_kit.tasks"


def check_gaps(receivers: Iterable[TaskReceiver]) -> Iterator[CheckMessage]:
    """Where a crash loses tasks of these receivers, which flush in tasks: one warning for those of
    the same backend."""
    groups: dict[str, list[str]] = {}
    missing: dict[str, list[str]] = {}
    for receiver in receivers:
        options = read_options(receiver)
        if not wants_outbox(options):
            continue
        for using in list_gaps(options):
            if get_outbox_model() is None:
                names = groups.setdefault(options.backend, [])
            else:
                names = missing.setdefault(using, [])
            if receiver.name not in names:
                names.append(receiver.name)
    for backend, names in groups.items():
        yield Warning(
            f"A crash right after a commit loses what {join(names)} would have flushed in a task: "
            f"the queue of the backend {backend!r} is not in the database that is written to.",
            hint=(
                f"Add {_APP!r} to INSTALLED_APPS and migrate: its outbox keeps the tasks. Or "
                f"accept it by 'OUTBOX': False in SIGNAL_KIT['TASKS']."
            ),
            id="signal_kit.W018",
        )
    for using, names in missing.items():
        yield Warning(
            f"A crash right after a commit of the database {using!r} loses what {join(names)} "
            f"would have flushed in a task: its routers allow no table of the outbox there.",
            hint=(
                f"Have allow_migrate() allow 'signal_kit_tasks' for {using!r}, and migrate it; or "
                f"add 'signal_kit.W019' to SILENCED_SYSTEM_CHECKS, if nothing they hear is "
                f"written there."
            ),
            id="signal_kit.W019",
        )


def list_gaps(options: TaskOptions) -> list[str]:
    """The databases whose tasks nothing keeps between the commit and the queue."""
    return [
        using
        for using in connections
        if find_place(options, using) == "after_commit" and not has_outbox(using)
    ]


def check_tables(
    receivers: Iterable[TaskReceiver], databases: Iterable[str]
) -> Iterator[CheckMessage]:
    """One warning for each of these databases that lacks the table of the outbox, though receivers
    need it there: for their tasks, or, if the queue is in the database, for failed ones."""
    all_options = [read_options(receiver) for receiver in receivers]
    for using in databases:
        places = {find_place(options, using) for options in all_options}
        if not has_outbox(using) or places <= {"after_commit"}:
            continue
        lost = "no write there succeeds of which a receiver makes a task"
        if "outbox" not in places:
            lost = "no task of it that has failed is kept"
        table = get_outbox_model()._meta.db_table
        if table not in connections[using].introspection.table_names():
            yield Warning(
                f"The database {using!r} has no table {table!r} for the outbox, so that {lost}.",
                hint=f"Run: migrate --database {using}",
                id="signal_kit.W020",
            )
