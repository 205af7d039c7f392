"""The triggers of the audit log, for those who do not migrate from the application."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, connections

from django_signal_kit.audit.capture.installing import drop, install
from django_signal_kit.audit.capture.scripting import write_script
from django_signal_kit.audit.capture.vendors import NAMES
from django_signal_kit.audit.capture.wanted import (
    compare,
    get_captured,
    get_capturing,
    list_installed,
)
from django_signal_kit.audit.management.base import check_log
from django_signal_kit.management.arguments import typed


class Command(BaseCommand):
    help = (
        "Show the triggers by which the database writes the audit log, install them or drop them. "
        "migrate installs them by itself."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--database",
            default=DEFAULT_DB_ALIAS,
            choices=tuple(connections),
            help='The database of the rows ("default").',
        )
        what = parser.add_mutually_exclusive_group()
        what.add_argument(
            "--status",
            action="store_true",
            help="Say what is installed and what is wanted (the default). Exits with 1 if these "
            "differ.",
        )
        what.add_argument("--install", action="store_true", help="Install what is wanted.")
        what.add_argument("--drop", action="store_true", help="Drop all that is installed.")
        what.add_argument(
            "--sql",
            action="store_true",
            help="Print the SQL of what is wanted, for the client of the database, and run "
            "nothing.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        options = typed(self, options)
        using = options["database"]
        if connections[using].vendor not in NAMES:
            raise CommandError(
                f"{using!r} is a database of {connections[using].vendor}, for which the kit has "
                f"no triggers. It has some for {', '.join(NAMES)}."
            )
        check_log(using, option="--database")
        if options["drop"]:
            pieces = list_installed(using)
            drop(using, pieces, self.tell)
            self.stdout.write(f"{len(pieces)} dropped. Nothing is recorded there any more.")
        elif options["sql"]:
            for statement in write_script(using):
                self.stdout.write(statement)
        elif options["install"]:
            found = install(using, self.tell)
            self.stdout.write(f"{len(found.missing) + len(found.changed)} installed.")
        else:
            self.show(using)

    def tell(self, verb: str, name: str, table: str) -> None:
        self.stdout.write(f"{verb} {name} on {table}")

    def show(self, using: str) -> None:
        receivers = get_capturing()
        for receiver in receivers:
            labels = [model._meta.label for model in get_captured(receiver)]
            self.stdout.write(f"{receiver.name}: {', '.join(labels) or 'no model'}")
        if not receivers:
            self.stdout.write("No AuditLog has capture='triggers'.")
        found = compare(using)
        for verb, pieces in (
            ("stands", found.standing),
            ("is missing", found.missing),
            ("is another", found.changed),
            ("is not wanted", found.left),
        ):
            for piece in pieces:
                self.stdout.write(f"  {verb}: {piece.name} on {piece.table}")
        if found:
            raise CommandError(
                f"What is installed in {using!r} is not what is wanted. Run: migrate --database "
                f"{using}, or auditcapture --install --database {using}."
            )
