"""Drop from the cache what CacheInvalidation would drop, without a write."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator
from itertools import islice
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.cache import caches
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS
from django.db.models import QuerySet

from django_signal_kit.cache.cache_invalidation import CacheInvalidation
from django_signal_kit.cache.purging import tell_fallen
from django_signal_kit.cache.versions import EVERYTHING, get_version_key
from django_signal_kit.exceptions import did_you_mean
from django_signal_kit.management.arguments import add_using, label, typed
from django_signal_kit.management.progress import Progress
from django_signal_kit.wiring.registry import registry

_CHUNK = 500


class Command(BaseCommand):
    help = (
        "Drop cached keys and touch tags by hand, such as after raw SQL: those of rows, as their "
        "CacheInvalidation makes them, or those that are named."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "rows",
            type=label,
            nargs="*",
            default=[],
            metavar="app.Model[:pk]",
            help="Keys and tags of this row, or of all rows of the model.",
        )
        parser.add_argument(
            "--tag", nargs="+", action="extend", default=[], help="Touch these tags."
        )
        parser.add_argument(
            "--key", nargs="+", action="extend", default=[], help="Delete these keys."
        )
        parser.add_argument(
            "--all-tags", action="store_true", help="Touch all that is tagged, at once."
        )
        parser.add_argument(
            "--cache",
            nargs="+",
            action="extend",
            default=[],
            metavar="ALIAS",
            help="In these caches. Default: 'default', and for rows those of their receivers.",
        )
        add_using(parser, "rows")
        parser.set_defaults(using=DEFAULT_DB_ALIAS)

    def handle(self, *args: Any, **options: Any) -> None:
        options = typed(self, options)
        for alias in options["cache"]:
            if alias not in settings.CACHES:
                guess = did_you_mean(alias, settings.CACHES)
                raise CommandError(f"There is no cache {alias!r} in CACHES. {guess}")
        tags = [*options["tag"], *([EVERYTHING] if options["all_tags"] else [])]
        if not (options["rows"] or tags or options["key"]):
            raise CommandError(
                "Say what to drop: app.Model, app.Model:pk, --tag, --key or --all-tags."
            )
        # Before anything is dropped, all of it has to make sense.
        found = [self._find(row, options["using"]) for row in options["rows"]]
        for rows, receivers in found:
            self._drop_rows(rows, receivers, options)
        dropped = [*options["key"], *map(get_version_key, tags)]
        if dropped:
            for alias in options["cache"] or ["default"]:
                self._delete(alias, dropped)
            tell_fallen(tags, options["using"])
            if options["verbosity"]:
                what = "all that is tagged" if options["all_tags"] else f"{len(dropped)} by name"
                self.stdout.write(f"Dropped {what}.")

    def _find(self, row: str, using: str) -> tuple[QuerySet[Any], list[CacheInvalidation]]:
        name, colon, key = row.partition(":")
        try:
            model = apps.get_model(name)
        except (LookupError, ValueError) as error:
            guess = did_you_mean(name, [found._meta.label for found in apps.get_models()])
            raise CommandError(f"There is no model {name!r}. {guess}") from error
        receivers = [
            found for found in registry.get_covering(model) if isinstance(found, CacheInvalidation)
        ]
        if not receivers:
            raise CommandError(
                f"No CacheInvalidation covers {name}: it has no keys and no tags to drop. Add the "
                f"model to the 'models' of one in SIGNAL_KIT['RECEIVERS']."
            )
        rows: QuerySet[Any] = QuerySet(model, using=using)
        if colon:
            fields = model._meta.pk_fields
            parts = key.split(",") if len(fields) > 1 else [key]
            try:
                keys = [field.to_python(part) for field, part in zip(fields, parts, strict=True)]
            except (ValidationError, ValueError) as error:
                raise CommandError(f"{row!r} has {key!r}, which is no key of {name}.") from error
            rows = rows.filter(pk=tuple(keys) if len(fields) > 1 else keys[0])
            if not rows.exists():
                raise CommandError(f"There is no {name} with the key {key!r}.")
        return rows, receivers

    def _drop_rows(
        self, rows: QuerySet[Any], receivers: list[CacheInvalidation], options: dict[str, Any]
    ) -> None:
        count, done, dropped = rows.count(), 0, 0
        with Progress(self.stderr, quiet=not options["verbosity"]) as progress:
            instances = rows.order_by().iterator(chunk_size=_CHUNK)
            for chunk in _in_chunks(instances):
                for receiver in receivers:
                    keys = list(dict.fromkeys(k for row in chunk for k in receiver.get_keys(row)))
                    tags = list(dict.fromkeys(t for row in chunk for t in receiver.get_tags(row)))
                    dropped += len(keys) + len(tags)
                    for alias in options["cache"] or receiver.caches:
                        self._delete(alias, [*keys, *map(get_version_key, tags)])
                    tell_fallen(tags, options["using"])
                done += len(chunk)
                progress.show(done / max(count, 1), f"{done:,} of {count:,} rows")
        if options["verbosity"]:
            label = rows.model._meta.label
            self.stdout.write(f"{label}: {done:,} rows, {dropped:,} keys and tags dropped.")

    def _delete(self, alias: str, keys: list[str]) -> None:
        try:
            caches[alias].delete_many(keys)
        except Exception as error:
            raise CommandError(f"The cache {alias!r} does not answer: {error}") from error


def _in_chunks(rows: Iterator[Any]) -> Iterator[list[Any]]:
    while chunk := list(islice(rows, _CHUNK)):
        yield chunk
