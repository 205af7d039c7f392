"""Count links anew, for columns that M2MCount keeps."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from typing import Any

from django.apps import apps
from django.core.management.base import CommandError
from django.db import DEFAULT_DB_ALIAS, transaction
from django.db.models import Model, QuerySet

from django_signal_kit.management.arguments import typed
from django_signal_kit.management.resumable import ResumableCommand
from django_signal_kit.relations.counting import LinkCount
from django_signal_kit.relations.m2m_count import M2MCount
from django_signal_kit.relations.pointers import lock
from django_signal_kit.wiring.registry import registry


class Command(ResumableCommand):
    help = (
        "Correct the columns that M2MCount keeps, such as after raw SQL or before its first use."
    )
    kept = "stays corrected"

    def add_arguments(self, parser: ArgumentParser) -> None:
        self.add_models(
            parser, "Only columns of these models. Default: all that an M2MCount covers."
        )
        self.add_options(
            parser,
            chunk="Rows that are locked together (500).",
            dry_run="Say what is wrong, and write nothing.",
        )
        parser.set_defaults(using=DEFAULT_DB_ALIAS)

    def handle(self, *args: Any, **options: Any) -> None:
        options = typed(self, options)
        wanted = [self.get_model(label) for label in options["models"]]
        receivers = [found for found in registry.receivers if isinstance(found, M2MCount)]
        counts = {
            count: receiver
            for receiver in receivers
            for count in receiver.list_counts(registry.get_models(receiver))
            if not wanted or any(issubclass(model, count.model) for model in wanted)
        }
        if not counts:
            raise CommandError("No M2MCount covers these models. See SIGNAL_KIT['RECEIVERS'].")
        for count, receiver in counts.items():
            self.run(count, receiver, options)

    def get_model(self, label: str) -> type[Model]:
        try:
            return apps.get_model(label)
        except (LookupError, ValueError) as error:
            raise CommandError(f"There is no model {label!r}.") from error

    def run(self, count: LinkCount, receiver: M2MCount, options: dict[str, Any]) -> None:
        using, verbosity = options["using"], options["verbosity"]
        recount = Recount(count, receiver.get_links(count.side, using), using, options["chunk"])
        if options["dry_run"]:
            verb, chunks = "wrong", recount.look(self.stdout.write if verbosity else None)
        else:
            verb, chunks = "corrected", recount.run()
        self.follow(
            f"{count.model._meta.label}.{count.field.name}",
            QuerySet(count.model, using=using),
            chunks,
            lambda: f"{recount.wrong} of {recount.looked_at} {verb}",
            verbosity,
        )


class Recount:
    """Makes a column true, a chunk of its rows in a transaction."""

    def __init__(self, count: LinkCount, links: QuerySet[Any], using: str, chunk: int) -> None:
        self.count = count
        self.links = links
        self.using = using
        self.chunk = chunk
        #: How many rows have been looked at, and how many of these were wrong.
        self.looked_at = self.wrong = 0

    def run(self) -> Iterator[int]:
        """Gives after each chunk how many rows have been looked at."""
        for keys in self.count.list_keys(self.using, self.chunk):
            with transaction.atomic(self.links.db):
                lock(self.count.model, {f"{self.count.side.key}__in": keys}, self.links.db)
                wrong = self.count.recount(keys, self.links, is_locked=True)
            yield self._note(keys, wrong)

    def look(self, tell: Callable[[str], object] | None) -> Iterator[int]:
        """The same, but only tell what is wrong."""
        label = self.count.model._meta.label
        for keys in self.count.list_keys(self.using, self.chunk):
            found = list(self.count.find_wrong(keys, self.links))
            if tell is not None:
                for key, stored, true in found:
                    tell(f"{label} {key}: {stored}, counted {true}")
            yield self._note(keys, len(found))

    def _note(self, keys: list[Any], wrong: int) -> int:
        self.wrong += wrong
        self.looked_at += len(keys)
        return self.looked_at
