"""Who listens to this save?"""

from __future__ import annotations

import json
import os
import shutil
import sys
import sysconfig
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError
from django.db.models import Model

from django_signal_kit.exceptions import did_you_mean, join
from django_signal_kit.management.arguments import label, typed
from django_signal_kit.sight.baseline import compare, read_baseline
from django_signal_kit.sight.lint import find_flaws
from django_signal_kit.sight.maps import draw_dot, draw_mermaid, draw_svg, get_arrows
from django_signal_kit.sight.story import tell_story
from django_signal_kit.sight.table import render, render_by_rich
from django_signal_kit.sight.why import explain
from django_signal_kit.wiring import catalog
from django_signal_kit.wiring.listing import (
    TRIGGERS,
    Listing,
    collapse,
    get_listings,
    get_signals,
)

HEADER = ("NAME", "ACTS", "SENDER", "RECEIVER")

#: How a task gets into its queue.
_QUEUED = {
    "in_transaction": "in the transaction",
    "outbox": "outbox",
    "after_commit": "after commit",
}

FORMATS = ["table", "tree", "json", "mermaid", "dot", "svg"]
DRAWERS = {"mermaid": draw_mermaid, "dot": draw_dot, "svg": draw_svg}

Cells: TypeAlias = tuple[str, str, str, str]

# Columns that the senders of one receiver may take, if more than one is to be named.
SENDERS_WIDTH = 40


class Command(BaseCommand):
    help = "List the receivers of each signal, in the order in which Django calls them."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "only", nargs="?", type=label, metavar="app.Model", help="The same as --model."
        )
        parser.add_argument("--signal", metavar="NAME", help="Only this signal.")
        parser.add_argument(
            "--model",
            type=label,
            metavar="app.Model",
            help="Only what a write of this model calls.",
        )
        parser.add_argument(
            "--name", metavar="NAME", help="Only the receiver of this name or dotted path."
        )
        parser.add_argument(
            "--mine",
            action="store_true",
            help="Only receivers that the project has written, not those of packages.",
        )
        parser.add_argument("--format", choices=FORMATS, default="table")
        parser.add_argument(
            "--why",
            nargs=3,
            metavar=("app.Model", "SIGNAL", "RECEIVER"),
            help="Say why this receiver does or does not hear that signal of that model.",
        )
        parser.add_argument(
            "--lint",
            action="store_true",
            help="Say what is wired in a way that bites later; fail if there is anything.",
        )
        parser.add_argument(
            "--check",
            metavar="FILE",
            help="Fail if what is wired is not what --format json has written into FILE.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        options = typed(self, options)
        if options["only"] and options["model"]:
            raise CommandError("Name the model once: showreceivers app.Model")
        name = options["only"] or options["model"]
        model = None if name is None else find_model(name)
        if options["why"]:
            self.explain(*options["why"])
        elif options["lint"]:
            self.fail_for(list(find_flaws()), "is wired in a way that bites later", "are")
        elif options["format"] == "tree":
            if model is None:
                raise CommandError("--format tree is about one model: showreceivers app.Model")
            columns = shutil.get_terminal_size((100, 24)).columns
            self.stdout.write("\n".join(tell_story(model, columns)))
        else:
            self.show(list(self.select(model, options)), options)

    def select(self, model: type[Model] | None, options: dict[str, Any]) -> Iterator[Listing]:
        signal_name, name = options["signal"], options["name"]
        names = None if signal_name is None else [find_signal(signal_name)]
        listings = list(get_listings(names, model))
        if name is not None:
            check_name(name, listings)
        for listing in listings:
            if name not in (None, listing.name, listing.receiver):
                continue
            if not options["mine"] or is_mine(listing.receiver):
                yield listing

    def show(self, listings: list[Listing], options: dict[str, Any]) -> None:
        if options["check"] is not None:
            self.check_baseline(Path(options["check"]), listings)
        elif options["format"] == "json":
            self.stdout.write(json.dumps([asdict(listing) for listing in listings], indent=2))
        elif options["format"] in DRAWERS:
            self.stdout.write(DRAWERS[options["format"]](get_arrows(listings)))
        elif listings:
            self.write_table(listings, has_colours=not options["no_color"])
        else:
            self.stdout.write("No receivers.")

    def explain(self, label: str, signal_name: str, name: str) -> None:
        signal_name = find_signal(signal_name)
        self.stdout.write("\n".join(explain(find_model(label), signal_name, name)))

    def check_baseline(self, path: Path, listings: list[Listing]) -> None:
        try:
            baseline = read_baseline(path)
        except (OSError, ValueError) as error:
            raise CommandError(
                f"--check {str(path)!r} cannot be read: {error}. Write it by: showreceivers "
                f"--format json > {path}"
            ) from error
        self.fail_for(compare(baseline, listings), "has changed", "have")

    def fail_for(self, lines: list[str], what: str, verb: str) -> None:
        """``what`` begins with a verb, which is ``verb`` of several things."""
        if not lines:
            self.stdout.write(f"Nothing {what}.")
            return
        self.stdout.write("\n".join(lines))
        several = f"{len(lines)} things {verb} {what.partition(' ')[2]}"
        raise CommandError(f"{several if len(lines) > 1 else f'1 thing {what}'}.")

    def write_table(self, listings: Sequence[Listing], *, has_colours: bool) -> None:
        sections: dict[str, list[Cells]] = {}
        for listing, senders in collapse(listings):
            sections.setdefault(listing.signal, []).append(get_cells(listing, senders))
        is_terminal = self.stdout.isatty()
        # Whoever pipes it may say how wide it is to be.
        has_width = is_terminal or os.environ.get("COLUMNS")
        width = shutil.get_terminal_size().columns if has_width else None
        has_colours = has_colours and not os.environ.get("NO_COLOR")
        if is_terminal and width is not None:
            with suppress(ImportError):
                self.stdout.write(
                    render_by_rich(HEADER, sections, width, self.stdout, has_colours=has_colours)
                )
                return
        emphasise = self.style.MIGRATE_HEADING if has_colours else str
        self.stdout.write(render(HEADER, sections, width, emphasise))


def is_mine(path: str) -> bool:
    """Is what has this dotted path in a file of the project, not of an installed package?"""
    module = next((m for m in _get_modules(path) if m in sys.modules), None)
    file = getattr(sys.modules.get(module or ""), "__file__", None)
    if file is None or module is None or module.split(".")[0] in ("django", "django_signal_kit"):
        return False
    packages = {sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib")}
    return not any(Path(file).is_relative_to(folder) for folder in packages)


def _get_modules(path: str) -> Iterator[str]:
    parts = path.removeprefix("partial(").split(".")
    return (".".join(parts[:end]) for end in range(len(parts) - 1, 0, -1))


def find_signal(name: str) -> str:
    """The name or the dotted path of a signal, of which the last part will do."""
    if name in catalog.get_paths() or name == TRIGGERS:
        return name
    # Of two that are called alike the one is meant to which something is connected.
    names = {path: bool(signal.receivers) for path, signal in get_signals()}
    same = [path for path in names if name in (path, path.rpartition(".")[2])]
    found = [path for path in same if names[path]] or same
    if len(found) > 1:
        raise CommandError(f"{name!r} is {join(found)}. Give the whole path.")
    if not found:
        raise CommandError(
            f"No signal is named {name!r}. {did_you_mean(name, [*names, TRIGGERS])}"
        )
    return found[0]


def check_name(name: str, listings: Iterable[Listing]) -> None:
    known = {text for listing in listings for text in (listing.name, listing.receiver) if text}
    if name not in known:
        guess = did_you_mean(name, known, " ").strip()
        raise CommandError(f"No receiver is named {name!r}. {guess}".rstrip())


def find_model(label: str) -> type[Model]:
    try:
        return apps.get_model(label)
    except (LookupError, ValueError) as error:
        labels = [model._meta.label for model in apps.get_models()]
        guess = did_you_mean(label, labels, "Write app_label.Model.")
        raise CommandError(f"There is no model {label!r}. {guess}") from error


def get_cells(listing: Listing, senders: Sequence[str]) -> Cells:
    acts = [listing.acts.replace("_", " ")]
    if listing.queued is not None:
        acts[0] += f" ({_QUEUED[listing.queued]})"
    acts += ["async"] * listing.is_async + ["muted"] * listing.is_muted
    return listing.name or "-", ", ".join(acts), shorten(senders), listing.receiver


def shorten(senders: Sequence[str]) -> str:
    """As many as fit, and how many more there are."""
    for count in range(len(senders), 1, -1):
        text = name_some(senders, count)
        if len(text) <= SENDERS_WIDTH:
            return text
    return name_some(senders, 1)


def name_some(senders: Sequence[str], count: int) -> str:
    named, rest = ", ".join(senders[:count]), len(senders) - count
    return f"{named} and {rest} more" if rest else named
