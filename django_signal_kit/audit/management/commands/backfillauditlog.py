"""Record the rows that were there before the audit log."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from django_signal_kit.audit.management.base import check_log
from django_signal_kit.audit.upkeep.backfill import Backfill, get_backfills
from django_signal_kit.management.arguments import typed
from django_signal_kit.management.resumable import ResumableCommand


class Command(ResumableCommand):
    help = "Write a 'create' entry for each covered row that has none."
    kept = "stays recorded"

    def add_arguments(self, parser: ArgumentParser) -> None:
        self.add_models(
            parser,
            'Only rows of these; "app.*" is all models of an app. Default: all covered ones.',
        )
        self.add_options(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        options = typed(self, options)
        try:
            backfills = get_backfills(
                options["models"],
                using=options["using"],
                chunk=options["chunk"],
                dry_run=options["dry_run"],
            )
        except LookupError as error:
            raise CommandError(error.args[0]) from error
        if not backfills:
            raise CommandError("No AuditLog covers any model. See SIGNAL_KIT['RECEIVERS'].")
        for alias in sorted({backfill.entries.db for backfill in backfills}):
            check_log(alias)
        for backfill in backfills:
            self.run(backfill, options["verbosity"])

    def run(self, backfill: Backfill, verbosity: int) -> None:
        verb = "would be recorded" if backfill.dry_run else "recorded"
        self.follow(
            backfill.model._meta.label,
            backfill.get_rows(),
            backfill.run(),
            lambda: f"{backfill.count} {verb}",
            verbosity,
        )
