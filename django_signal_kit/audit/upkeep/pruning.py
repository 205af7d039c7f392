"""Deletes old entries, in short transactions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import connections, router
from django.db.models import QuerySet
from django.db.models.deletion import get_candidate_relations_to_delete
from django.utils import timezone

from django_signal_kit.audit.entries import get_entry_model
from django_signal_kit.audit.sealing.seal import note_pruned
from django_signal_kit.audit.upkeep.patterns import Kinds
from django_signal_kit.audit.upkeep.walking import walk
from django_signal_kit.durations import Duration
from django_signal_kit.units.batch import batch


class Pruning:
    """Deletes the entries that are older than ``durations`` say.

    ``durations`` is ``{"shop.Cart": …, "shop.*": …, "__all__": …}``: the most specific counts, and
    an entry of which none speaks stays. With ``models``, patterns of the same form, only entries
    about these; raises LookupError if one of them names nothing. Each ``chunk`` of entries is a
    transaction of its own, and what a broken run has left the next one finds.
    """

    def __init__(
        self,
        durations: Mapping[str, Duration],
        *,
        models: Collection[str] = (),
        using: str | None = None,
        chunk: int = 1000,
        dry_run: bool = False,
    ) -> None:
        self.model: Any = get_entry_model()
        self.using = using or router.db_for_write(self.model)
        self.chunk = chunk
        self.dry_run = dry_run
        self.kinds = Kinds(self.using)
        self.chosen = self.kinds.find(models) if models else None
        now = timezone.now()
        self.cutoffs = {key: duration.before(now) for key, duration in durations.items()}
        #: How many entries have been deleted, or would be, by the label of what they are about.
        self.counts: Counter[str] = Counter()
        self._known: dict[int | None, datetime | None] = {}

    def run(self) -> Iterator[float]:
        """Delete. Gives after each chunk how much of the way is done, from 0 to 1."""
        end = max(self.cutoffs.values())
        rows: QuerySet[Any, Any] = QuerySet(self.model, using=self.using).filter(at__lt=end)
        rows = rows.values_list("pk", "at", "content_type_id", named=True)
        start = None
        for page in walk(rows, self.chunk):
            start = start or page[0].at
            old = {row.pk: row.content_type_id for row in page if self._is_old(row)}
            gone = old if self.dry_run or not old else self.delete_chunk(list(old))
            self.counts.update(self.kinds.get_label(old[id]) for id in gone)
            yield (page[-1].at - start) / (end - start)

    def delete_chunk(self, ids: Sequence[Any]) -> list[Any]:
        """Delete the entries of these ids in one transaction. Returns the ids of those that were
        still there."""
        rows: QuerySet[Any, Any] = QuerySet(self.model, using=self.using)
        features = connections[self.using].features
        with batch(self.using):
            there = rows.filter(pk__in=ids).order_by("pk")
            if features.has_select_for_update:
                # Another run may be at the same entries.
                there = there.select_for_update()
            found = list(there.values_list("pk", flat=True))
            doomed = rows.filter(pk__in=found)
            if any(get_candidate_relations_to_delete(self.model._meta)):
                doomed.delete()
            else:
                # Nobody who protects the log from the application is asked.
                doomed._raw_delete(self.using)
            note_pruned(self.model, found, self.using)
        return found

    def _is_old(self, row: Any) -> bool:
        kind = row.content_type_id
        if self.chosen is not None and kind not in self.chosen:
            return False
        if kind not in self._known:
            self._known[kind] = self.kinds.choose(kind, self.cutoffs)
        cutoff = self._known[kind]
        return cutoff is not None and row.at < cutoff
