"""Make the related rows that are missing."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

from django.apps import apps
from django.core.management.base import CommandError
from django.db import router
from django.db.models import Model, QuerySet

from django_signal_kit.management.arguments import typed
from django_signal_kit.management.resumable import ResumableCommand
from django_signal_kit.relations.create_related import CreateRelated
from django_signal_kit.units.batch import batch
from django_signal_kit.wiring.kinds import get_of_kind, leave_out_children
from django_signal_kit.wiring.registry import registry


class Command(ResumableCommand):
    help = "Make the related rows that the receivers of the kind CreateRelated would have made."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "receivers",
            nargs="*",
            default=[],
            metavar="NAME",
            help="Only what these receivers make. Default: all of the kind CreateRelated.",
        )
        self.add_options(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        options = typed(self, options)
        for receiver in get_receivers(options["receivers"]):
            for model in get_models(receiver):
                using = options["using"] or router.db_for_write(model)
                backfill = Backfill(receiver, model, using, options["chunk"])
                self.run(backfill, options["dry_run"], options["verbosity"])

    def run(self, backfill: Backfill, dry_run: bool, verbosity: int) -> None:
        verb = "would be created" if dry_run else "created"
        self.follow(
            f"{backfill.receiver.name}, {backfill.model._meta.label}",
            backfill.get_rows(),
            backfill.run(dry_run=dry_run),
            lambda: f"{backfill.count} {verb}",
            verbosity,
        )


class Backfill:
    """Makes what the rows of ``model`` lack, a chunk of them in a transaction.

    What has been made is not lacking any more, so that a broken run is taken up by the next.
    """

    def __init__(
        self, receiver: CreateRelated, model: type[Model], using: str, chunk: int
    ) -> None:
        self.receiver = receiver
        self.model = model
        self.using = using
        self.chunk = chunk
        #: How many related rows have been made, or would be.
        self.count = 0

    def get_rows(self) -> QuerySet[Any]:
        """The rows that lack something, but for those of multi-table children that the receiver
        does not cover."""
        rows = self.receiver.find_lacking(self.model, self.using)
        for child in apps.get_models():
            is_child = issubclass(child, self.model) and not child._meta.proxy
            if is_child and not registry.covers(self.receiver, child):
                pk = self.model._meta.pk.name
                rows = rows.exclude(pk__in=QuerySet(child, using=self.using).values(pk))
        return rows

    def run(self, *, dry_run: bool) -> Iterator[int]:
        """Gives after each chunk how many rows have been looked at."""
        rows = self.get_rows().order_by("pk").values_list("pk", flat=True)
        looked_at = 0
        keys = list(rows[: self.chunk])
        while keys:
            parents: QuerySet[Any] = QuerySet(self.model, using=self.using)
            parents = parents.filter(pk__in=keys)
            # What is only counted waits for nobody.
            with nullcontext() if dry_run else batch(self.using):
                count = self.receiver.create_missing(parents, self.using, dry_run=dry_run)
            self.count += count
            looked_at += len(keys)
            yield looked_at
            keys = list(rows.filter(pk__gt=keys[-1])[: self.chunk])


def get_receivers(names: list[str]) -> list[CreateRelated]:
    """Those of these names, or all. Raises CommandError for a name that is none of theirs."""
    try:
        known = get_of_kind(CreateRelated, names)
    except LookupError as error:
        raise CommandError(str(error)) from None
    return [receiver for name, receiver in known.items() if not names or name in names]


def get_models(receiver: CreateRelated) -> list[type[Model]]:
    """The covered models, each row in one of them: proxies and the children of a covered model
    left out."""
    models = registry.get_models(receiver)
    return leave_out_children(model for model in models if not model._meta.proxy)
