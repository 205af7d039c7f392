"""Record the rows that were there before the audit log."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_signal_kit.audit.upkeep.backfill import Backfill, get_backfills
from django_signal_kit.management.arguments import add_using, label, positive, typed
from django_signal_kit.management.progress import Progress


class Command(BaseCommand):
    help = "Write a 'create' entry for each covered row that has none."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "models",
            type=label,
            nargs="*",
            default=[],
            metavar="app.Model",
            help='Only rows of these; "app.*" is all models of an app. Default: all covered ones.',
        )
        parser.add_argument(
            "--chunk", type=positive, default=500, help="Rows in a transaction (500)."
        )
        add_using(parser, "rows")
        parser.add_argument(
            "--dry-run", action="store_true", help="Say how many rows, and write nothing."
        )

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
        for backfill in backfills:
            self.run(backfill, options["verbosity"])

    def run(self, backfill: Backfill, verbosity: int) -> None:
        label = backfill.model._meta.label
        try:
            with Progress(self.stderr, quiet=not verbosity) as progress:
                total = backfill.get_rows().count() if progress.is_shown else 0
                for looked_at in backfill.run():
                    progress.show(looked_at / (total or 1), f"{label}: {looked_at:,} rows")
        except KeyboardInterrupt:
            raise CommandError(
                "Interrupted. What is told above stays recorded; run it again for the rest.",
                returncode=130,
            ) from None
        finally:
            if verbosity:
                verb = "would be recorded" if backfill.dry_run else "recorded"
                self.stdout.write(f"{label}: {backfill.count} {verb}")
