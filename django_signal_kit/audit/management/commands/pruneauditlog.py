"""Delete old entries of the audit log."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from typing import Any

from django.core.management.base import CommandError

from django_signal_kit.audit.management.base import check_log
from django_signal_kit.audit.models import AuditSeal
from django_signal_kit.audit.upkeep.pruning import Pruning
from django_signal_kit.conf import conf
from django_signal_kit.durations import Duration
from django_signal_kit.management.arguments import add_models, add_using, duration, positive, typed
from django_signal_kit.management.resumable import ResumableCommand


class Command(ResumableCommand):
    help = (
        "Delete entries of the audit log that are older than --older-than, or than "
        "SIGNAL_KIT['RETENTION'] says."
    )
    kept = "stays deleted"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--older-than", type=duration, metavar="90d", help="36h, 90d, 12w, 6mo or 2y."
        )
        add_models(parser)
        parser.add_argument(
            "--dry-run", action="store_true", help="Say what would be deleted, and delete nothing."
        )
        parser.add_argument(
            "--chunk", type=positive, default=1000, help="Entries in a transaction (1000)."
        )
        add_using(parser, "log")

    def handle(self, *args: Any, **options: Any) -> None:
        options = typed(self, options)
        durations = get_durations(options["older_than"])
        using = check_log(options["using"], AuditSeal)
        try:
            pruning = Pruning(
                durations,
                models=options["model"],
                using=using,
                chunk=options["chunk"],
                dry_run=options["dry_run"],
            )
        except LookupError as error:
            raise CommandError(error.args[0]) from error
        with self.resumable(lambda: report(pruning), options["verbosity"]) as progress:
            for fraction in pruning.run():
                progress.show(fraction, f"{pruning.counts.total():,} found")


def report(pruning: Pruning) -> Iterator[str]:
    verb = "would be deleted" if pruning.dry_run else "deleted"
    for label, count in sorted(pruning.counts.items()):
        yield f"{label}: {count} {verb}"
    yield f"Total: {pruning.counts.total()} {verb}"


def get_durations(older_than: Duration | None) -> Mapping[str, Duration]:
    durations = conf.RETENTION if older_than is None else {"__all__": older_than}
    if not durations:
        raise CommandError(
            "Nothing says how old entries may grow. Give --older-than 90d, or set "
            "SIGNAL_KIT['RETENTION'] = {'__all__': '10y'}."
        )
    return durations
