"""``manage.py demo``: what the kit does, shown in a small shop."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from typing import Any, NoReturn

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console

from shop.demo import KEEPER, NotOursError, make_table, run_demo, save_figures, start_afresh

HOST = "127.0.0.1"


class Command(BaseCommand):
    help = "Fill the shop from nothing, change a lot in it, and tell what each receiver did."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--serve", action="store_true", help="Leave the shop running afterwards."
        )
        parser.add_argument("--port", type=int, default=8000, help="Where to serve it.")
        parser.add_argument(
            "--pages", type=int, metavar="NUMBER", help="Look at so many pages alone."
        )
        parser.add_argument(
            "--capture",
            choices=["python", "triggers"],
            default="python",
            help="Who writes the audit log: its receiver, or triggers of the database.",
        )

    def handle(
        self, *, serve: bool, port: int, pages: int | None, capture: str, **options: Any
    ) -> None:
        if serve:
            check_port(port)
        if capture != settings.CAPTURE:
            restart(capture)
        settings.SHOP_URL = f"http://{HOST}:{port}"
        console = Console()
        console.print(
            "A shop is opened, lives through a day, and its receivers are checked: against the "
            f"database, the files, the mails and the cache in {settings.VAR}.\n",
            highlight=False,
            soft_wrap=True,
        )
        try:
            figures = run_demo(console, pages)
        except NotOursError as error:
            raise CommandError(str(error)) from error
        save_figures(figures, settings.VAR / "figures.json")
        console.print()
        console.print(make_table(figures))
        problems = list(figures.get_problems())
        if problems:
            raise CommandError("\n".join(problems))
        console.print("All of it agrees.", style="green")
        self.show_around(console, serve=serve, port=port)
        if serve:
            call_command("runserver", f"{HOST}:{port}", use_reloader=False, skip_checks=True)

    def show_around(self, console: Console, *, serve: bool, port: int) -> None:
        """Say where everything is, and how to get in."""
        lines = [
            f"Shop:   {settings.SHOP_URL}/",
            f"Admin:  {settings.SHOP_URL}/admin/",
            f"Log in: {KEEPER} {set_password()}",
            f"Mails:  {settings.OUTBOX}",
            f"Logs:   {settings.VAR}/*.log",
            f"Worker: python {sys.argv[0]} db_worker",
        ]
        if not serve:
            start = f"python {sys.argv[0]} runserver {port}"
            lines += ["", f"To look at the shop and its log in a browser: {start}"]
        console.print("", *lines, "", sep="\n", highlight=False, markup=False, soft_wrap=True)


def check_port(port: int) -> None:
    """Raise CommandError if nothing can be served there, before a minute has passed."""
    if not 0 < port < 2**16:
        raise CommandError(f"--port is {port}, and a port is a number from 1 to 65535.")
    try:
        with socket.socket() as probe:
            # As the server does: what was served there a moment ago is no obstacle.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
    except OSError as error:
        raise CommandError(
            f"Nothing can be served on port {port} of {HOST}: {error.strerror}. Take another "
            f"one, such as --port {8000 + (port == 8000)}."
        ) from error


def restart(capture: str) -> NoReturn:
    """Begin again with settings that have read which capture it is to be."""
    try:
        start_afresh(settings.VAR)
    except NotOursError as error:
        raise CommandError(str(error)) from error
    settings.CAPTURE_NOTE.write_text(capture)
    os.execv(sys.executable, sys.orig_argv)


def set_password() -> str:
    """A new password of the keeper's, which nobody knows but who reads it here."""
    password = secrets.token_urlsafe(9)
    keeper = User.objects.get(username=KEEPER)
    keeper.set_password(password)
    keeper.save()
    return password
