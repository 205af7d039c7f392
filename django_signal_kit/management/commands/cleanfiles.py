"""Find and take away the files that no row names."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.template.defaultfilters import filesizeformat
from django.utils import timezone

from django_signal_kit.files import orphans
from django_signal_kit.files.pending import get_pending_model
from django_signal_kit.files.storages import identify, is_safe
from django_signal_kit.files.walking import Found
from django_signal_kit.management.arguments import duration, typed
from django_signal_kit.management.progress import Progress

#: What is younger may belong to a transaction that is still open.
YOUNGEST = timedelta(hours=1)


class Command(BaseCommand):
    help = (
        "Find the files that no row of any database names, in the storages of all file fields. "
        "Nothing is taken away without --delete."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--delete",
            action="store_true",
            help="Take them away, as FileCleanup does: into quarantine, unless it has none.",
        )
        parser.add_argument(
            "--older-than",
            type=duration,
            metavar="TIME",
            help='Only what has been there so long, such as "30d". Default and least: 1h.',
        )
        parser.add_argument("--prefix", default="", help="Only files whose names begin with this.")
        parser.add_argument(
            "--restore",
            action="append",
            default=[],
            metavar="NAME",
            help="Bring this file back from quarantine, and do nothing else. May be repeated.",
        )
        parser.add_argument(
            "--expire",
            action="store_true",
            help="Delete for good what has waited its time in quarantine, and do nothing else.",
        )
        parser.add_argument(
            "--retry",
            action="store_true",
            help="Try again with files that a storage would not give up, and do nothing else.",
        )
        parser.add_argument("--format", choices=["text", "json"], default="text")

    def handle(self, *args: Any, **options: Any) -> None:
        options = typed(self, options)
        others = [name for name in ("restore", "expire", "retry") if options[name]]
        if len(others) > 1 or (others and options["delete"]):
            raise CommandError(
                "--delete, --restore, --expire and --retry are different things to do. Give one."
            )
        if options["restore"]:
            self.restore(options["restore"])
        elif options["expire"]:
            self.stdout.write(f"{orphans.expire_all()} files deleted for good.")
        elif options["retry"]:
            self.retry()
        else:
            self.clean(options)

    def restore(self, names: list[str]) -> None:
        for name in names:
            if not is_safe(name):
                raise CommandError(f"{name!r} leads out of its storage.")
            try:
                found = orphans.restore(name)
            except FileExistsError as error:
                raise CommandError(str(error)) from error
            if not found:
                raise CommandError(f"No file {name!r} is in quarantine.")
            self.stdout.write(f"{name} is back.")

    def retry(self) -> None:
        if get_pending_model() is None:
            raise CommandError(
                "Nothing is remembered without 'django_signal_kit.files' in INSTALLED_APPS. "
                "cleanfiles --delete finds the files themselves."
            )
        left = 0

        def tell(pending: Any, is_done: bool) -> None:
            nonlocal left
            left += not is_done
            self.stdout.write(f"{pending.name}: {'done' if is_done else 'failed again'}")

        orphans.retry(tell)
        if left:
            raise CommandError(f"{left} files are still there.")

    def clean(self, options: dict[str, Any]) -> None:
        now = timezone.now()
        before = now - YOUNGEST
        if options["older_than"] is not None:
            before = min(before, options["older_than"].before(now))
        report: Any = JsonReport if options["format"] == "json" else TextReport
        report = report(self.stdout, options["verbosity"], is_dry=not options["delete"])
        with Progress(self.stderr, quiet=not options["verbosity"]) as progress:
            for storage in orphans.list_storages():
                scan = orphans.Orphans(storage, options["prefix"], before)
                report.start(str(identify(storage)))
                try:
                    for found in scan.take_away() if options["delete"] else scan.find():
                        for file in found:
                            report.tell(file)
                        progress.show(scan.walk.fraction, f"{scan.looked_at:,} files")
                except NotImplementedError:
                    report.note("this storage cannot list its files")
                report.end(scan.looked_at)
        report.finish()


class TextReport:
    """A line for each file, and the sum of each storage."""

    def __init__(self, stream: Any, verbosity: int, *, is_dry: bool) -> None:
        self.stream = stream
        self.verbosity = verbosity
        self.is_dry = is_dry
        self.count = self.size = 0

    def start(self, storage: str) -> None:
        self.storage = storage
        self.count = self.size = 0

    def tell(self, file: Found) -> None:
        self.count += 1
        self.size += file.size
        if self.verbosity:
            self.stream.write(f"{file.name}  {filesizeformat(file.size)}")

    def note(self, text: str) -> None:
        self.stream.write(f"{self.storage}: {text}.")

    def end(self, looked_at: int) -> None:
        verb = "that no row names" if self.is_dry else "taken away"
        self.stream.write(
            f"{self.storage}: {self.count} of {looked_at} files {verb}, "
            f"{filesizeformat(self.size)}."
        )

    def finish(self) -> None:
        """All is said."""


class JsonReport(TextReport):
    """One document, written bit by bit."""

    def start(self, storage: str) -> None:
        is_first = not hasattr(self, "storage")
        super().start(storage)
        self.notes: list[str] = []
        head = "[" if is_first else ","
        self._write(f'{head}\n{{"storage": {json.dumps(storage)}, "files": [')

    def tell(self, file: Found) -> None:
        found = {"name": file.name, "size": file.size, "modified": file.modified.isoformat()}
        self._write(f"{',' if self.count else ''}\n{json.dumps(found)}")
        self.count += 1
        self.size += file.size

    def note(self, text: str) -> None:
        self.notes.append(text)

    def end(self, looked_at: int) -> None:
        figures = {
            "count": self.count,
            "size": self.size,
            "looked_at": looked_at,
            "deleted": not self.is_dry,
            "notes": self.notes,
        }
        self._write(f"], {json.dumps(figures)[1:]}")

    def finish(self) -> None:
        self.stream.write("\n]" if hasattr(self, "storage") else "[]")

    def _write(self, text: str) -> None:
        self.stream.write(text, ending="")
