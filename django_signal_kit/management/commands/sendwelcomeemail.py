"""Send the mails that are waiting, have failed, or were never asked for."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.db import router
from django.db.models import Model

from django_signal_kit.mail import claims, resending
from django_signal_kit.mail.email import Email
from django_signal_kit.mail.sending import Sending
from django_signal_kit.mail.tickets import Ticket
from django_signal_kit.management.arguments import add_using, moment, typed
from django_signal_kit.management.resumable import ResumableCommand


class Command(ResumableCommand):
    help = (
        "Send the welcomes, and the mails of other receivers of the kind Email, that are waiting "
        "or have failed. Nobody gets one twice."
    )
    kept = "is sent"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "receivers",
            nargs="*",
            default=[],
            metavar="NAME",
            help="Only what these receivers send. Default: all of the kind Email.",
        )
        parser.add_argument(
            "--to",
            nargs="+",
            action="extend",
            default=[],
            metavar="WHO",
            help="Only to these: an address, a user name or a primary key.",
        )
        parser.add_argument(
            "--since",
            type=moment,
            metavar="MOMENT",
            help="To whom was made since then, too, and was never to get one: 2026-01-31.",
        )
        parser.add_argument(
            "--date-field", metavar="NAME", help="The field that says when a row was made."
        )
        parser.add_argument(
            "--refused", action="store_true", help="Those that a server has refused for good, too."
        )
        parser.add_argument(
            "--preview", metavar="WHO", help="Show the mail to this one, and send nothing."
        )
        parser.add_argument(
            "--html-file", type=Path, metavar="FILE", help="With --preview: write its HTML there."
        )
        add_using(parser, "rows")
        parser.add_argument(
            "--dry-run", action="store_true", help="Say how many mails, and send nothing."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        options = typed(self, options)
        try:
            receivers = resending.get_receivers(options["receivers"])
            if options["preview"]:
                self.preview(receivers[0], options)
                return
            if options["html_file"]:
                raise CommandError("--html-file needs --preview.")
            if not options["to"] and not claims.is_installed():
                raise CommandError(
                    "What has been sent is not known: 'django_signal_kit.mail' is not in "
                    "INSTALLED_APPS. Add it and migrate, or name to whom with --to."
                )
            alias = router.db_for_write(claims.get_model()) if claims.is_installed() else None
            if alias is not None and not claims.has_table(alias):
                raise CommandError(
                    f"The database {alias!r} has no table of what has been sent. "
                    f"Run: migrate --database {alias}"
                )
            for receiver in receivers:
                self.run(receiver, list(self.list_tickets(receiver, options)), options)
        except LookupError as error:
            raise CommandError(str(error)) from error

    def list_tickets(self, receiver: Email, options: dict[str, Any]) -> Iterator[Ticket]:
        if not options["to"]:
            is_refused = options["refused"] and not options["dry_run"]
            yield from resending.list_unfinished(receiver, refused=is_refused)
        for model in resending.get_models(receiver):
            using = options["using"] or router.db_for_write(model)
            if options["to"]:
                found = [resending.find_row(model, text, using) for text in options["to"]]
                yield from resending.make_tickets(receiver, found, using)
            elif options["since"]:
                since, field = options["since"], options["date_field"]
                rows = resending.list_since(receiver, model, since, field, using)
                yield from resending.make_tickets(receiver, rows.iterator(), using)

    def run(self, receiver: Email, tickets: list[Ticket], options: dict[str, Any]) -> None:
        tickets = list(dict.fromkeys(tickets))
        if options["dry_run"]:
            known = claims.list_done(tickets) if claims.is_installed() else set()
            count = sum(ticket.digest not in known for ticket in tickets)
            self.stdout.write(f"{receiver.name}: {count} to send")
            return
        sending = Sending(receiver)
        with self.resumable(
            lambda: [f"{receiver.name}: {say(sending)}"], options["verbosity"]
        ) as (progress):
            for looked_at in sending.run(tickets):
                progress.show(looked_at / len(tickets), f"{receiver.name}: {looked_at:,} mails")
        if sending.failed:
            raise CommandError(
                f"{len(sending.failed)} could not be sent: {type(sending.error).__name__}: "
                f"{sending.error}. Run it again."
            )
        if count := sending.counts["failed"]:
            raise CommandError(
                f"{receiver.name}: {count} could not be made. The log says why. Run it again."
            )

    def preview(self, receiver: Email, options: dict[str, Any]) -> None:
        model: type[Model] = resending.get_models(receiver)[0]
        using = options["using"] or router.db_for_read(model)
        message = resending.preview(receiver, resending.find_row(model, options["preview"], using))
        if message is None:
            raise CommandError(f"{options['preview']!r} has no valid address, and gets no mail.")
        html = next((part for part, kind in message.alternatives if kind == "text/html"), None)
        if options["html_file"]:
            if html is None:
                raise CommandError(f"The mail of {receiver.name} has no HTML.")
            try:
                options["html_file"].write_text(str(html), encoding="utf-8")
            except OSError as error:
                raise CommandError(f"--html-file cannot be written: {error}") from error
        self.stdout.write(f"From: {message.from_email}")
        self.stdout.write(f"To: {', '.join(message.to)}")
        self.stdout.write(f"Subject: {message.subject}\n\n{message.body}")


def say(sending: Sending) -> str:
    """``"3 sent, 1 refused"``"""
    words = {
        "sent": "sent",
        "failed": "failed",
        "refused": "refused",
        "skipped": "not to be sent",
        "done": "sent before, or being sent",
        "waiting": "waiting",
    }
    counts = [
        f"{sending.counts[key]} {word}" for key, word in words.items() if sending.counts[key]
    ]
    return ", ".join(counts) or "nothing to send"
