"""Send the tasks that still wait in the outbox, and free those of killed workers."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError
from django.utils import timezone

from django_signal_kit.durations import Duration
from django_signal_kit.management.arguments import duration, typed
from django_signal_kit.tasks import stuck
from django_signal_kit.tasks.places import list_outboxes
from django_signal_kit.tasks.relaying import relay

_STUCK_AFTER = Duration(hours=1)


class Command(BaseCommand):
    help = (
        "Send the tasks of receivers that are still in the outbox, because a process died after "
        "the commit, the queue was down, or they are to be tried again; and have those run again "
        "whose worker was killed. Run it every minute."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--stuck-after",
            type=duration,
            default=_STUCK_AFTER,
            metavar="TIME",
            help=(
                "A task that has been running so long in the queue of django-tasks-db, or is so "
                'long in another, such as "6h", has lost its worker. Default: 1h.'
            ),
        )

    def handle(self, *args: Any, **options: Any) -> None:
        options = typed(self, options)
        before = options["stuck_after"].before(timezone.now())
        left, failures = 0, []
        for using in list_outboxes():
            try:
                self.tell(using, stuck.free_taken(using, before), options)
                left += self.send(using, options)
            except DatabaseError as error:
                # What waits in the others is sent all the same.
                failures.append(
                    f"The tasks in the outbox of the database {using!r} are not sent: "
                    f"{str(error).strip()}. If its table is missing, run migrate "
                    f"--database {using}, or have allow_migrate() refuse "
                    f"'signal_kit_tasks' for {using!r}."
                )
        for model, using in stuck.get_queues():
            self.tell(using, stuck.free(model, using, before), options)
        if left:
            failures.append(f"No queue takes {left} of the tasks. They wait in the outbox.")
        if failures:
            raise CommandError("\n".join(failures))

    def send(self, using: str, options: dict[str, Any]) -> int:
        relayed = relay(using)
        if options["verbosity"] and (relayed.sent or options["verbosity"] > 1):
            self.stdout.write(f"{using}: {relayed.sent} tasks sent.")
        return relayed.left

    def tell(self, using: str, freed: stuck.Freed, options: dict[str, Any]) -> None:
        if options["verbosity"] and (any(freed) or options["verbosity"] > 1):
            self.stdout.write(
                f"{using}: {freed.requeued} tasks of killed workers are run again, "
                f"{freed.given_up} were run too often."
            )
