"""Keep the table of the audit log in one part a month."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_signal_kit.audit.management.base import check_tables, find_entry_model
from django_signal_kit.audit.models import AuditSeal
from django_signal_kit.audit.upkeep.partitions import Partitions
from django_signal_kit.audit.upkeep.table import PartitionError
from django_signal_kit.management.arguments import add_using, duration, positive, typed


class Command(BaseCommand):
    help = (
        "PostgreSQL: partition the table of the audit log by month, make the parts of the months "
        "ahead, and drop old ones. Run it at least once a month."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--months", type=positive, default=3, help="Months ahead that get a part (3)."
        )
        parser.add_argument(
            "--drop-older-than",
            type=duration,
            metavar="24mo",
            help="Drop the parts of which every entry is older: 24mo or 2y.",
        )
        add_using(parser, "log")

    def handle(self, *args: Any, **options: Any) -> None:
        options = typed(self, options)
        model = find_entry_model()
        now, older_than = datetime.now(UTC), options["drop_older_than"]
        done = []
        try:
            partitions = Partitions(options["using"])
            check_tables(partitions.using, model, AuditSeal)
            with partitions.alone():
                if not partitions.is_partitioned():
                    partitions.convert(now)
                    done.append(f"{partitions.name} is partitioned by month.")
                done += [f"{name} made." for name in partitions.make(now, options["months"])]
                if older_than is not None:
                    dropped = partitions.drop_before(older_than.before(now))
                    done += [f"{name} dropped." for name in dropped]
        except PartitionError as error:
            raise CommandError(str(error)) from error
        if options["verbosity"]:
            self.stdout.write("\n".join(done or ["Nothing to do."]))
