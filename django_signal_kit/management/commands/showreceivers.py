"""Who listens to this save?"""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError
from django.db.models import Model

from django_signal_kit.exceptions import did_you_mean
from django_signal_kit.management.arguments import label, typed
from django_signal_kit.wiring import catalog
from django_signal_kit.wiring.listing import Listing, collapse, get_listings

HEADER = ("NAME", "ACTS", "SENDER", "RECEIVER")

#: How a task gets into its queue.
_QUEUED = {
    "in_transaction": "in the transaction",
    "outbox": "outbox",
    "after_commit": "after commit",
}

# Columns that the senders of one receiver may take, if more than one is to be named.
SENDERS_WIDTH = 40


class Command(BaseCommand):
    help = "List the receivers of each signal, in the order in which Django calls them."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--signal", metavar="NAME", help="Only this signal.")
        parser.add_argument(
            "--model",
            type=label,
            metavar="app.Model",
            help="Only what a write of this model calls.",
        )
        parser.add_argument("--format", choices=["table", "json"], default="table")

    def handle(self, *args: Any, **options: Any) -> None:
        options = typed(self, options)
        signal_name, name = options["signal"], options["model"]
        if signal_name is not None:
            check_signal(signal_name)
        model = None if name is None else find_model(name)
        listings = list(get_listings(None if signal_name is None else [signal_name], model))
        if options["format"] == "json":
            self.stdout.write(json.dumps([asdict(listing) for listing in listings], indent=2))
        elif listings:
            self.write_table(listings)
        else:
            self.stdout.write("No receivers.")

    def write_table(self, listings: Sequence[Listing]) -> None:
        rows = [
            (listing.signal, get_cells(listing, senders))
            for listing, senders in collapse(listings)
        ]
        table = [HEADER, *(cells for _, cells in rows)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        self.stdout.write(align(HEADER, widths))
        for name, group in groupby(rows, lambda row: row[0]):
            self.stdout.write(self.style.MIGRATE_HEADING(name))
            for _, cells in group:
                self.stdout.write(align(cells, widths))


def check_signal(name: str) -> None:
    names = catalog.get_paths()
    if name not in names:
        raise CommandError(f"No signal is named {name!r}. {did_you_mean(name, names)}")


def find_model(label: str) -> type[Model]:
    try:
        return apps.get_model(label)
    except (LookupError, ValueError) as error:
        labels = [model._meta.label for model in apps.get_models()]
        guess = did_you_mean(label, labels, "Write app_label.Model.")
        raise CommandError(f"There is no model {label!r}. {guess}") from error


def get_cells(listing: Listing, senders: Sequence[str]) -> tuple[str, str, str, str]:
    acts = [listing.acts.replace("_", " ")]
    if listing.queued is not None:
        acts[0] += f" ({_QUEUED[listing.queued]})"
    acts += ["async"] * listing.is_async + ["muted"] * listing.is_muted
    return listing.name or "-", ", ".join(acts), shorten(senders), listing.receiver


def shorten(senders: Sequence[str]) -> str:
    """As many as fit, and how many more there are."""
    for count in range(len(senders), 1, -1):
        text = join(senders, count)
        if len(text) <= SENDERS_WIDTH:
            return text
    return join(senders, 1)


def join(senders: Sequence[str], count: int) -> str:
    named, rest = ", ".join(senders[:count]), len(senders) - count
    return f"{named} and {rest} more" if rest else named


def align(cells: Iterable[str], widths: Iterable[int]) -> str:
    padded: Iterator[str] = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return "  " + "  ".join(padded).rstrip()
