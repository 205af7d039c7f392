"""Commands that work in chunks, so that the next run takes up what an interrupted one has left."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import QuerySet

from django_signal_kit.exceptions import LogTableMissingError
from django_signal_kit.management.arguments import add_using, label, positive
from django_signal_kit.management.progress import Progress


class ResumableCommand(BaseCommand):
    """A command whose work is committed chunk by chunk: what is done stays."""

    #: What becomes of the work that is done, if somebody interrupts it.
    kept = "stays"
    #: What another run does.
    rerun = "for the rest"

    def add_models(self, parser: ArgumentParser, help: str) -> None:
        """The models to which the command is confined; none for all that it knows of."""
        parser.add_argument(
            "models", type=label, nargs="*", default=[], metavar="app.Model", help=help
        )

    def add_options(
        self,
        parser: ArgumentParser,
        *,
        chunk: str = "Rows in a transaction (500).",
        dry_run: str = "Say how many rows, and write nothing.",
    ) -> None:
        """The options of a command that goes through rows."""
        parser.add_argument("--chunk", type=positive, default=500, help=chunk)
        add_using(parser, "rows")
        parser.add_argument("--dry-run", action="store_true", help=dry_run)

    def follow(
        self,
        label: str,
        rows: QuerySet[Any],
        chunks: Iterable[int],
        tell: Callable[[], str],
        verbosity: int,
    ) -> None:
        """Go through ``chunks``, each of which says how many of ``rows`` have been looked at by
        now; ``tell`` says what came of it."""
        with self.resumable(lambda: [f"{label}: {tell()}"], verbosity) as progress:
            total = rows.count() if progress.is_shown else 0
            for looked_at in chunks:
                progress.show(looked_at / (total or 1), f"{label}: {looked_at:,} rows")

    @contextmanager
    def resumable(self, report: Callable[[], Iterable[str]], verbosity: int) -> Iterator[Progress]:
        """Show how far the work in the block is, and write the lines of ``report`` however it
        ends. Raises CommandError if it is interrupted."""
        try:
            with Progress(self.stderr, quiet=not verbosity) as progress:
                yield progress
        except LogTableMissingError as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            raise CommandError(
                f"Interrupted. What is told above {self.kept}; run it again {self.rerun}.",
                returncode=130,
            ) from None
        finally:
            if verbosity:
                for line in report():
                    self.stdout.write(line)
