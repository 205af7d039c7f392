"""Write the audit log, or a part of it, into a file."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import router
from django.db.models import QuerySet

from django_signal_kit.audit.management.base import check_log, find_entry_model
from django_signal_kit.audit.upkeep.exporting import filter_entries, get_lines
from django_signal_kit.audit.upkeep.outputs import open_whole
from django_signal_kit.management.arguments import add_models, add_using, moment, typed
from django_signal_kit.management.progress import Progress


class Command(BaseCommand):
    help = "Write the entries of the audit log, oldest first, as CSV or JSON Lines."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--format", choices=["csv", "jsonl"], default="csv", help="csv or jsonl (csv)."
        )
        parser.add_argument(
            "--output", default="-", metavar="FILE", help="A file, or - for the output (-)."
        )
        parser.add_argument(
            "--since", type=moment, metavar="2026-01-31", help="From this day or moment on."
        )
        parser.add_argument(
            "--until", type=moment, metavar="2026-01-31", help="Before this day or moment."
        )
        add_models(parser)
        parser.add_argument("--object", metavar="KEY", help="Only about the one of this key.")
        parser.add_argument(
            "--actor", metavar="USER", help="Only what this user did: a login name or a key."
        )
        add_using(parser, "log")

    def handle(self, *args: Any, **options: Any) -> None:
        options = typed(self, options)
        if options["object"] is not None and len(options["model"]) != 1:
            raise CommandError("--object needs one --model: keys are those of a model.")
        using = check_log(options["using"] or router.db_for_read(find_entry_model()))
        try:
            entries = filter_entries(
                using,
                since=options["since"],
                until=options["until"],
                models=options["model"],
                object_pk=options["object"],
                actor=options["actor"],
            )
        except LookupError as error:
            raise CommandError(error.args[0]) from error
        with Progress(self.stderr, quiet=not options["verbosity"]) as progress:
            if options["output"] == "-":
                self.write_out(entries, options["format"], progress)
                return
            try:
                with open_whole(Path(options["output"])) as stream:
                    count = write(entries, options["format"], stream.write, progress)
            except OSError as error:
                raise CommandError(f"{options['output']} cannot be written: {error}.") from error
        if options["verbosity"]:
            self.stdout.write(f"{options['output']}: {count} entries")

    def write_out(self, entries: QuerySet[Any, Any], format: str, progress: Progress) -> None:
        try:
            write(entries, format, lambda line: self.stdout.write(line, ending=""), progress)
        except BrokenPipeError:
            # As with "| head". Python would complain once more when it closes the output.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def write(
    entries: QuerySet[Any, Any],
    format: str,
    write_line: Callable[[str], object],
    progress: Progress,
) -> int:
    """Write the lines. Returns how many entries there were."""
    # The header is no entry.
    count = -1 if format == "csv" else 0
    total = entries.count() if progress.is_shown else 0
    for line in get_lines(entries, format):
        write_line(line)
        count += 1
        progress.show(count / (total or 1), f"{count:,} entries")
    return count
