"""Count links anew, for columns that M2MCount keeps."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.models import Model, QuerySet

from django_signal_kit.management.arguments import label, positive, typed
from django_signal_kit.management.progress import Progress
from django_signal_kit.relations.counting import LinkCount
from django_signal_kit.relations.m2m_count import M2MCount
from django_signal_kit.relations.pointers import lock
from django_signal_kit.wiring.registry import registry


class Command(BaseCommand):
    help = (
        "Correct the columns that M2MCount keeps, such as after raw SQL or before its first use."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "models",
            type=label,
            nargs="*",
            default=[],
            metavar="app.Model",
            help="Only columns of these models. Default: all that an M2MCount covers.",
        )
        parser.add_argument(
            "--chunk", type=positive, default=500, help="Rows that are locked together (500)."
        )
        parser.add_argument(
            "--using",
            choices=tuple(connections),
            default=DEFAULT_DB_ALIAS,
            help="The database of the rows.",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="Say what is wrong, and write nothing."
        )

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
        using, name = options["using"], f"{count.model._meta.label}.{count.field.name}"
        links = receiver.get_links(count.side, using)
        looked_at = wrong = 0
        try:
            with Progress(self.stderr, quiet=not options["verbosity"]) as progress:
                rows: QuerySet[Any] = QuerySet(count.model, using=using)
                total = rows.count() if progress.is_shown else 0
                for keys in count.list_keys(using, options["chunk"]):
                    wrong += self.look_at(count, keys, links, options)
                    looked_at += len(keys)
                    progress.show(looked_at / (total or 1), f"{name}: {looked_at:,} rows")
        except KeyboardInterrupt:
            raise CommandError(
                "Interrupted. What is told above stays corrected; run it again for the rest.",
                returncode=130,
            ) from None
        finally:
            if options["verbosity"]:
                verb = "wrong" if options["dry_run"] else "corrected"
                self.stdout.write(f"{name}: {wrong} of {looked_at} {verb}")

    def look_at(
        self, count: LinkCount, keys: list[Any], links: QuerySet[Any], options: dict[str, Any]
    ) -> int:
        """How many of these rows were wrong."""
        if options["dry_run"]:
            found = list(count.find_wrong(keys, links))
            for key, stored, true in found if options["verbosity"] else ():
                self.stdout.write(f"{count.model._meta.label} {key}: {stored}, counted {true}")
            return len(found)
        with transaction.atomic(links.db):
            lock(count.model, {f"{count.side.key}__in": keys}, links.db)
            return count.recount(keys, links, is_locked=True)
