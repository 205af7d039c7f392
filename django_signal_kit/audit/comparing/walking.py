"""Through all rows of which a log tells, and through the log for rows that are gone."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.utils import timezone

from django_signal_kit.audit.comparing.comparison import Comparison
from django_signal_kit.audit.comparing.finding import Finding
from django_signal_kit.audit.comparing.scope import Scope
from django_signal_kit.audit.keys import read_key
from django_signal_kit.audit.upkeep.covered import get_covering, walk_keys
from django_signal_kit.audit.upkeep.walking import walk


class Walk:
    """Compares the rows of one model, ``chunk`` rows at a time; with ``since`` those that an
    entry since that moment is about."""

    def __init__(self, scope: Scope, *, chunk: int = 500, since: datetime | None = None) -> None:
        self.scope = scope
        self.chunk = chunk
        self.since = since
        self.comparison = Comparison(scope)
        self.found = 0
        # What is written later will be looked at by the next walk: this one has to end.
        self._start = timezone.now()
        self._known: set[str] = set()

    @property
    def label(self) -> str:
        return self.scope.model._meta.label

    def count(self) -> int:
        """How many rows and entries there are to look at."""
        entries = self._get_entries().count()
        return entries if self.since else entries + self.scope.get_rows().count()

    def run(self) -> Iterator[tuple[int, list[Finding]]]:
        """After each chunk how many rows and entries have been looked at, and what was found."""
        looked_at = 0
        if self.since is None:
            for keys in walk_keys(self.scope.get_rows(), self.chunk):
                looked_at += len(keys)
                yield looked_at, self._compare(keys)
        # Of a row that is there all has been compared by now, without since.
        for page in walk(self._get_entries(), self.chunk):
            keys = self._parse({entry.object_pk for entry in page})
            looked_at += len(page)
            yield looked_at, self._compare(keys if self.since else self._find_gone(keys))

    def _get_entries(self) -> QuerySet[Any]:
        entries = self.scope.entries.filter(content_type=self.scope.kind, at__lte=self._start)
        entries = entries.exclude(object_pk="")
        if self.since is None:
            # Links and deletions of a row that is gone say nothing new.
            entries = entries.filter(action__in=("create", "update"))
        else:
            entries = entries.filter(at__gte=self.since)
        return entries.values_list("pk", "at", "object_pk", named=True)

    def _compare(self, keys: Sequence[Any]) -> list[Finding]:
        found = [
            finding for finding in self.comparison.compare(keys) if finding.key not in self._known
        ]
        self._known.update(finding.key for finding in found)
        self.found += len(found)
        return found

    def _find_gone(self, keys: Collection[Any]) -> list[Any]:
        rows: QuerySet[Any, Any] = QuerySet(self.scope.model, using=self.scope.using)
        there = set(rows.filter(pk__in=keys).values_list("pk", flat=True))
        return [key for key in keys if key not in there]

    def _parse(self, texts: Collection[str]) -> list[Any]:
        """Keys of entries as the model has them; without those that are secrets, or cut."""
        keys = []
        # Row 9 before row 10: a shorter number is a smaller one.
        for text in sorted(texts, key=lambda text: (len(text), text)):
            with suppress(ValidationError, ValueError, TypeError):
                parts = read_key(self.scope.model, text)
                key = parts[0] if len(parts) == 1 else tuple(parts)
                if self.scope.to_key(key) == text:
                    keys.append(key)
        return keys


def get_walks(
    labels: Collection[str] = (),
    *,
    chunk: int = 500,
    since: datetime | None = None,
    **options: Any,
) -> list[Walk]:
    """One for each model that an AuditLog covers, or for each of ``labels`` ("shop.Cart",
    "shop.*"); ``options`` are those of a Scope. Raises LookupError for a label that none
    covers."""
    return [
        Walk(Scope(receiver, model, **options), chunk=chunk, since=since)
        for receiver, model in sorted(get_covering(labels), key=lambda pair: pair[1]._meta.label)
    ]
