"""Is the log what it was, and are the rows what it says?"""

from __future__ import annotations

import re
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.db import connections
from django.db.models import Model, Sum

from django_signal_kit.audit.comparing.walking import Walk, get_walks
from django_signal_kit.audit.management.base import LogCommand, check_database, check_log
from django_signal_kit.audit.models import AuditSeal
from django_signal_kit.audit.sealing.chain import get_seals
from django_signal_kit.audit.sealing.tampering import TamperedError
from django_signal_kit.audit.sealing.verify import (
    AnchorMissingError,
    ColumnGoneError,
    Report,
    verify,
)
from django_signal_kit.management.arguments import add_models, moment, positive, typed
from django_signal_kit.management.progress import Progress
from django_signal_kit.management.resumable import ResumableCommand

_DIGEST = re.compile("[0-9a-f]{64}")


#: Options that mean something with --rows alone, or never with it.
_OF_ROWS: dict[str, Any] = {
    "model": [],
    "since": None,
    "database": None,
    "complete": False,
    "chunk": 500,
}
_OF_SEALS: dict[str, Any] = {"anchor": []}


class Command(LogCommand, ResumableCommand):
    help = (
        "Compare the audit log with its seals, and name the first entry that was tampered with. "
        "With --rows compare the rows with the log, and name those whose change nobody recorded."
    )
    kept = "stands"
    rerun = "from the start, or with --model"

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--anchor",
            action="append",
            default=[],
            metavar="DIGEST",
            help="A digest that sealauditlog has printed, and that must be there. Repeatable.",
        )
        parser.add_argument(
            "--rows", action="store_true", help="Compare the rows with the log, not the seals."
        )
        add_models(parser, "rows of these")
        parser.add_argument(
            "--since",
            type=moment,
            metavar="2026-01-31",
            help="With --rows: only rows that an entry from this day or moment on is about.",
        )
        parser.add_argument(
            "--database", choices=tuple(connections), help="With --rows: the database of the rows."
        )
        parser.add_argument(
            "--complete",
            action="store_true",
            help="With --rows: all has been recorded since the first row, so that what the log "
            "never speaks of is wrong, too.",
        )
        parser.add_argument(
            "--chunk", type=positive, default=500, help="With --rows: rows read at once (500)."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        options = typed(self, options)
        _check_options(options)
        if options["rows"]:
            self.compare_rows(options)
        else:
            self.check_seals(options)

    def check_seals(self, options: dict[str, Any]) -> None:
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

    def compare_rows(self, options: dict[str, Any]) -> None:
        if options["using"]:
            check_database(options["using"])
        try:
            walks = get_walks(
                options["model"],
                using=options["database"],
                log=options["using"],
                chunk=options["chunk"],
                since=options["since"],
                is_complete=options["complete"],
            )
        except LookupError as error:
            raise CommandError(error.args[0]) from error
        if not walks:
            raise CommandError("No AuditLog covers any model. See SIGNAL_KIT['RECEIVERS'].")
        for alias in sorted({walk.scope.entries.db for walk in walks}):
            check_log(alias)
        for walk in walks:
            self.compare(walk, options["verbosity"])
        count = sum(walk.found for walk in walks)
        if count:
            rows = "1 row is" if count == 1 else f"{count} rows are"
            raise CommandError(f"{rows} not what the log says.")

    def compare(self, walk: Walk, verbosity: int) -> None:
        with self.resumable(lambda: [describe_walk(walk)], verbosity) as progress:
            total = walk.count() if progress.is_shown else 0
            for looked_at, findings in walk.run():
                for finding in findings:
                    self.stdout.write("\n".join(finding.get_lines()))
                progress.show(looked_at / (total or 1), f"{walk.label}: {walk.found:,} found")

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


def _check_options(options: dict[str, Any]) -> None:
    is_rows = options["rows"]
    for name, default in (_OF_SEALS if is_rows else _OF_ROWS).items():
        if options[name] != default:
            remedy = "Leave it out" if is_rows else "Give --rows with it"
            about = "the seals" if is_rows else "the rows"
            raise CommandError(f"--{name} is about {about}. {remedy}.")


def describe_walk(walk: Walk) -> str:
    comparison = walk.comparison
    line = f"{walk.label}: {comparison.compared} compared, {walk.found} found"
    if comparison.unknown:
        line += f", {comparison.unknown} of whose creation nothing is known"
    if comparison.restless:
        line += f", {comparison.restless} written to all the time"
    return line


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
