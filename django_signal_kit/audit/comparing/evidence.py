"""Since when the log tells of what: of all rows of a model, of a field, of a relation."""

from __future__ import annotations

from typing import Any

from django.db.models import Model, QuerySet

from django_signal_kit.audit.kin import Family
from django_signal_kit.audit.upkeep.patterns import Kinds
from django_signal_kit.conf import conf


class Evidence:
    """What the log itself shows of how far it can be trusted to be whole, for one model. Each
    question is put to the database once."""

    def __init__(self, entries: QuerySet[Any], family: Family, *, is_complete: bool) -> None:
        """``is_complete``: somebody vouches for it that all has been recorded ever since."""
        self.entries = entries
        self.family = family
        self.is_complete = is_complete
        self._has_baseline: bool | None = None
        self._first: dict[str, Any] = {}

    def has_baseline(self) -> bool:
        """Has each row that was there before the log an entry? They have after a backfill, as
        long as none is pruned."""
        if self._has_baseline is None:
            self._has_baseline = self.is_complete or self._was_backfilled()
        return self._has_baseline

    def tells_of(self, name: str, id: Any) -> bool:
        """Was a field, or a relation, recorded when the entry ``id`` was written?"""
        if self.is_complete:
            return True
        if name not in self._first:
            kinds = [kind for kind, model in self.family.models.items() if self._is_in_line(model)]
            naming = self.entries.filter(content_type__in=kinds, changes__has_key=name)
            self._first[name] = naming.order_by("pk").values_list("pk", flat=True).first()
        first = self._first[name]
        return first is not None and first <= id

    def _was_backfilled(self) -> bool:
        kind = self.family.kinds[self.family.model].pk
        if Kinds(self.entries.db).choose(kind, conf.RETENTION) is not None:
            return False
        own = self.entries.filter(content_type=kind, action="create")
        return own.filter(context__reason="backfill").exists()

    def _is_in_line(self, model: type[Model]) -> bool:
        own = self.family.model
        return issubclass(model, own) or issubclass(own, model)
