"""Who listens to this save? Lists every receiver on every signal."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_signal_kit import catalog
from django_signal_kit.exceptions import did_you_mean
from django_signal_kit.listing import Listener, get_listeners

_MAX_SENDERS = 3


class Command(BaseCommand):
    help = "List every receiver on every signal, in the order in which Django calls them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--signal", help='Only this signal, such as "post_save".')
        parser.add_argument("--model", help='Only what hears this model, such as "shop.Product".')
        parser.add_argument("--format", choices=("table", "json"), default="table")

    def handle(
        self,
        *args: Any,
        signal: str | None = None,
        model: str | None = None,
        format: str = "table",
        **options: Any,
    ) -> None:
        if signal is not None and signal not in catalog.get_paths():
            hint = did_you_mean(signal, catalog.get_paths())
            raise CommandError(f"There is no signal {signal!r}. {hint}")
        listeners = get_listeners(signal)
        if model is not None:
            found = self.get_model(model)
            listeners = [listener for listener in listeners if listener.hears(found)]
        if format == "json":
            self.stdout.write(json.dumps([as_json(listener) for listener in listeners], indent=2))
        elif listeners:
            self.write_table(listeners)
        else:
            self.stdout.write("Nobody is listening.")

    def get_model(self, label: str) -> Any:
        try:
            return apps.get_model(label)
        except (LookupError, ValueError) as error:
            labels = [model._meta.label for model in apps.get_models()]
            raise CommandError(
                f"There is no model {label!r}. "
                f"{did_you_mean(label, labels, 'Write app_label.Model.')}"
            ) from error

    def write_table(self, listeners: Iterable[Listener]) -> None:
        """A heading a signal, then two lines a receiver: what it is, and when it acts on what."""
        signal = ""
        for listener in listeners:
            if listener.signal != signal:
                heading = self.style.MIGRATE_HEADING(listener.signal)
                self.stdout.write(f"\n{heading}" if signal else heading)
                signal = listener.signal
            title = f"{listener.name}  {listener.path}" if listener.name else listener.path
            self.stdout.write(f"  {title}")
            facts = [describe_senders(listener.senders), listener.acts]
            facts += ["async"] if listener.is_async else []
            facts += [self.style.WARNING("muted")] if listener.is_muted else []
            self.stdout.write(f"      {' · '.join(facts)}")


def describe_senders(senders: list[str]) -> str:
    """The first few senders, and how many more there are."""
    if not senders:
        return "any sender"
    shown = ", ".join(senders[:_MAX_SENDERS])
    more = len(senders) - _MAX_SENDERS
    return f"{shown} and {more} more" if more > 0 else shown


def as_json(listener: Listener) -> dict[str, Any]:
    return {
        "signal": listener.signal,
        "path": listener.path,
        "name": listener.name or None,
        "senders": listener.senders or None,
        "acts": listener.acts,
        "async": listener.is_async,
        "muted": listener.is_muted,
    }
