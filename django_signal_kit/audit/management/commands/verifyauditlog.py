"""Is the log what it was?"""

from __future__ import annotations

import re
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.db.models import Model, Sum

from django_signal_kit.audit.management.base import LogCommand
from django_signal_kit.audit.models import AuditSeal
from django_signal_kit.audit.sealing.chain import get_seals
from django_signal_kit.audit.sealing.tampering import TamperedError
from django_signal_kit.audit.sealing.verify import (
    AnchorMissingError,
    ColumnGoneError,
    Report,
    verify,
)
from django_signal_kit.management.arguments import typed
from django_signal_kit.management.progress import Progress

_DIGEST = re.compile("[0-9a-f]{64}")


class Command(LogCommand):
    help = "Compare the audit log with its seals, and name the first entry that was tampered with."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--anchor",
            action="append",
            default=[],
            metavar="DIGEST",
            help="A digest that sealauditlog has printed, and that must be there. Repeatable.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        options = typed(self, options)
        anchors = [anchor.strip().lower() for anchor in options["anchor"]]
        for anchor in anchors:
            if not _DIGEST.fullmatch(anchor):
                raise CommandError(
                    f"--anchor is {anchor!r}. Give a whole digest, 64 digits from 0 to f, as "
                    f"sealauditlog prints it."
                )
        model, using = self.get_log(options["using"])
        try:
            with Progress(self.stderr, quiet=not options["verbosity"]) as progress:
                report = self.verify(model, using, anchors, progress)
        except (TamperedError, AnchorMissingError, ColumnGoneError) as error:
            raise CommandError(str(error)) from error
        if options["verbosity"]:
            self.stdout.write(describe(report))

    def verify(
        self, model: type[Model], using: str, anchors: list[str], progress: Progress
    ) -> Report:
        sealed = get_seals(model, using).filter(kind=AuditSeal.Kind.ENTRIES)
        total = sealed.aggregate(sum=Sum("count"))["sum"] if progress.is_shown else 0
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            progress.show(done / (total or 1), f"{done:,} entries")

        return verify(model, using, anchors=anchors, advance=advance)


def describe(report: Report) -> str:
    if not report.seals:
        return f"Nothing is sealed. Entries not yet sealed: {report.unsealed}."
    lines = [
        f"OK. Entries as they were sealed: {report.sealed}.",
        f"Pruned by command: {report.pruned}.",
        f"Not yet sealed: {report.unsealed}.",
        f"Latest digest: {report.digest}",
    ]
    return "\n".join(lines)
