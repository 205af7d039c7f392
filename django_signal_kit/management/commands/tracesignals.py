"""What does this command set off?"""

from __future__ import annotations

import argparse
import shutil
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management import call_command, get_commands
from django.core.management.base import BaseCommand, CommandError

from django_signal_kit.exceptions import did_you_mean
from django_signal_kit.management.arguments import typed
from django_signal_kit.sight.tracing import trace

WIDTH = 100


class Command(BaseCommand):
    help = (
        "Run another command, and tell which signals it sent, which receivers heard them, from "
        "which line, and what that cost."
    )
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--format", choices=["tree", "json", "svg"], default="tree")
        parser.add_argument(
            "--output", metavar="FILE", help="Write it there. Needed for json and svg."
        )
        parser.add_argument("command", nargs="?", metavar="COMMAND", help="The command to run.")
        parser.add_argument(
            "arguments", nargs=argparse.REMAINDER, metavar="...", help="Its arguments."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        options = typed(self, options)
        name, kind, output = options["command"], options["format"], options["output"]
        if name is None:
            raise CommandError("Name the command to run: tracesignals COMMAND [its arguments]")
        if name not in get_commands():
            raise CommandError(
                f"There is no command {name!r}. {did_you_mean(name, get_commands())}"
            )
        if kind != "tree" and output is None:
            raise CommandError(
                f"--format {kind} needs --output FILE: what {name!r} itself writes would stand in "
                f"between."
            )
        found = trace()
        try:
            with found:
                call_command(name, *options["arguments"])
        finally:
            self.tell(found, kind, output)

    def tell(self, found: trace, kind: str, output: str | None) -> None:
        if kind == "json":
            text = found.as_json() + "\n"
        elif kind == "svg":
            text = found.as_svg()
        else:
            width = WIDTH if output else shutil.get_terminal_size((WIDTH, 24)).columns
            text = found.as_text(width) + "\n"
        if output is None:
            self.stdout.write(_fit(text, getattr(self.stdout, "encoding", None)), ending="")
            return
        try:
            Path(output).write_text(text, encoding="utf-8")
        except OSError as error:
            raise CommandError(f"--output {output!r} cannot be written: {error}.") from error


def _fit(text: str, encoding: str | None) -> str:
    """With the signs of a terminal that has no others."""
    return text.encode(encoding or "utf-8", "replace").decode(encoding or "utf-8")
