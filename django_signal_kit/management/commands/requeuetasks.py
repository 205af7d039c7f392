"""Bring back the tasks that were given up."""

from __future__ import annotations

from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from django_signal_kit.exceptions import did_you_mean
from django_signal_kit.management.arguments import typed
from django_signal_kit.tasks import relaying, stuck
from django_signal_kit.tasks.places import list_outboxes


class Store(NamedTuple):
    """Where failed tasks are."""

    using: str
    #: The label of the app that has the table.
    app: str
    count_failed: Callable[[], Counter[str]]
    requeue: Callable[[frozenset[str] | None], int]


class Command(BaseCommand):
    help = (
        "List the tasks of receivers that were given up, or bring them back with all their "
        "attempts: those of the receivers that are named, or all."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "names", nargs="*", default=[], metavar="NAME", help="Those of these receivers."
        )
        parser.add_argument("--all", action="store_true", help="Those of all receivers.")

    def handle(self, *args: Any, **options: Any) -> None:
        options = typed(self, options)
        if options["all"] and options["names"]:
            raise CommandError("Give names or --all, not both.")
        stores = list(get_stores())
        if not stores:
            raise CommandError(
                "Nothing that has failed is kept without 'django_signal_kit.tasks' in "
                "INSTALLED_APPS, unless the queue keeps it: see there."
            )
        counts = [(store, count_failed(store)) for store in stores]
        if not options["all"] and not options["names"]:
            self.list(counts)
            return
        known = {name for _, count in counts for name in count}
        for name in options["names"]:
            if name not in known:
                guess = did_you_mean(name, known)
                raise CommandError(f"No task of {name!r} has failed. {guess}".rstrip())
        names = None if options["all"] else frozenset(options["names"])
        for store in stores:
            self.stdout.write(f"{store.using}: {store.requeue(names)} tasks are run again.")

    def list(self, counts: list[tuple[Store, Counter[str]]]) -> None:
        for store, count in counts:
            for name, number in sorted(count.items()):
                self.stdout.write(f"{store.using}: {name}: {number} failed tasks.")
        if not any(count for _, count in counts):
            self.stdout.write("No task has failed.")


def count_failed(store: Store) -> Counter[str]:
    try:
        return store.count_failed()
    except DatabaseError as error:
        raise CommandError(
            f"The failed tasks in the database {store.using!r} cannot be read: "
            f"{str(error).strip()}. If a table is missing, run migrate --database {store.using}, "
            f"or have allow_migrate() refuse {store.app!r} for {store.using!r}."
        ) from error


def get_stores() -> Iterator[Store]:
    """The outbox of each database, and the queues that keep what has failed: from before there was
    an outbox, or what no worker could begin."""
    for using in list_outboxes():
        count = partial(relaying.count_failed, using)
        yield Store(using, "signal_kit_tasks", count, partial(_requeue_and_send, using))
    for model, using in stuck.get_queues():
        count = partial(stuck.count_failed, model, using)
        requeue = partial(stuck.requeue, model, using)
        yield Store(using, model._meta.app_label, count, requeue)


def _requeue_and_send(using: str, names: frozenset[str] | None) -> int:
    found = relaying.requeue(using, names)
    relaying.relay(using)
    return found
