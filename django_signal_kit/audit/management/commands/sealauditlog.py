"""From now on nobody changes the log unseen."""

from __future__ import annotations

import math
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.db import NotSupportedError
from django.db.models import Model

from django_signal_kit.audit.management.base import LogCommand
from django_signal_kit.audit.sealing.chain import get_last
from django_signal_kit.audit.sealing.horizon import StillOpenError, get_horizon
from django_signal_kit.audit.sealing.scanning import get_all
from django_signal_kit.audit.sealing.seal import MAX_SIZE, SIZE, get_sealed_up_to, seal_entries
from django_signal_kit.management.arguments import typed
from django_signal_kit.management.progress import Progress


class Command(LogCommand):
    help = "Seal what is new in the audit log, and print the digest of the last seal."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--size", type=int, default=SIZE, metavar="N", help=f"Entries a seal. Default: {SIZE}."
        )
        parser.add_argument(
            "--timeout",
            type=float,
            default=60,
            metavar="SECONDS",
            help="How long to wait for a transaction that is writing to the log. Default: 60.",
        )
        parser.add_argument(
            "--lag",
            type=float,
            metavar="SECONDS",
            help="How long to wait in any case. Default: 1 on MariaDB and MySQL, else 0.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        options = typed(self, options)
        if not 1 <= options["size"] <= MAX_SIZE:
            raise CommandError(f"--size is {options['size']}. Choose one from 1 to {MAX_SIZE}.")
        for name in ("timeout", "lag"):
            if not 0 <= (options[name] or 0) < math.inf:
                raise CommandError(f"--{name} is {options[name]:g}. Give seconds, 0 or more.")
        model, using = self.get_log(options["using"])
        try:
            sealed = self.seal(model, using, options)
        except (StillOpenError, NotSupportedError, TypeError, ValueError) as error:
            raise CommandError(str(error)) from error
        last = get_last(model, using)
        if options["verbosity"]:
            self.stdout.write(f"Sealed {sealed} entries." if sealed else "Nothing to seal.")
        if last is not None:
            self.stdout.write(f"Latest digest: {last.digest}")

    def seal(self, model: type[Model], using: str, options: dict[str, Any]) -> int:
        """The number of entries that were sealed."""
        after = get_sealed_up_to(model, using)
        horizon = get_horizon(
            model, using, after=after, timeout=options["timeout"], lag=options["lag"]
        )
        if horizon is None:
            return 0
        entries = get_all(model, using).filter(pk__lte=horizon)
        if after is not None:
            entries = entries.filter(pk__gt=after)
        sealed = 0
        # At 2 there is a line for each seal instead.
        with Progress(self.stderr, quiet=options["verbosity"] != 1) as progress:
            total = entries.count() if progress.is_shown else 0
            for seal in seal_entries(model, using, up_to=horizon, size=options["size"]):
                sealed += seal.count
                progress.show(sealed / (total or 1), f"{sealed:,} entries")
                if options["verbosity"] > 1:
                    self.stdout.write(f"{seal.digest} {seal.first_id} to {seal.last_id}")
        return sealed
