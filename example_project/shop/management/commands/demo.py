"""``manage.py demo``: what the kit does, shown in a small shop."""

from __future__ import annotations

import secrets
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console

from shop.demo import KEEPER, NotOursError, make_table, run_demo, save_figures


class Command(BaseCommand):
    help = "Fill the shop from nothing, change a lot in it, and tell what each receiver did."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--serve", action="store_true", help="Leave the shop running afterwards."
        )
        parser.add_argument("--port", type=int, default=8000, help="Where to serve it.")

    def handle(self, *, serve: bool, port: int, **options: Any) -> None:
        console = Console()
        console.print(
            "A shop is opened, lives through a day, and its receivers are checked: against the "
            f"database, the files, the mails and the cache in {settings.VAR}.\n",
            highlight=False,
            soft_wrap=True,
        )
        try:
            figures = run_demo(console)
        except NotOursError as error:
            raise CommandError(str(error)) from error
        save_figures(figures, settings.VAR / "figures.json")
        console.print()
        console.print(make_table(figures))
        problems = list(figures.get_problems())
        if problems:
            raise CommandError("\n".join(problems))
        console.print("All of it agrees.", style="green")
        if serve:
            self.serve(console, port)
        else:
            console.print("Run it with --serve to look at the shop and its log in a browser.")

    def serve(self, console: Console, port: int) -> None:
        password = secrets.token_urlsafe(9)
        keeper = User.objects.get(username=KEEPER)
        keeper.set_password(password)
        keeper.save()
        address = f"http://127.0.0.1:{port}/"
        console.print(
            f"\nShop:   {address}\nAdmin:  {address}admin/\nLog in: {KEEPER} {password}\n",
            highlight=False,
            soft_wrap=True,
        )
        call_command("runserver", f"127.0.0.1:{port}", use_reloader=False, skip_checks=True)
