"""What the log says a row is, from its entries, the newest first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.db.models import Model

from django_signal_kit.audit.decoding import NotDecodable
from django_signal_kit.audit.past import get_recorded, get_told_stamps
from django_signal_kit.audit.retracing import NOTHING, Past, is_as_told
from django_signal_kit.audit.told import Told
from django_signal_kit.rows.values import UNKNOWN


class Fields:
    """Of a model: the fields that can be compared."""

    def __init__(self, model: type[Model]) -> None:
        self.model = model
        self.recorded = get_recorded(model)
        self.stamps = get_told_stamps(model)
        self.keys = {field.name for field in model._meta.pk_fields}
        #: Not those that the database computes from others, nor stamps of which no log tells.
        self.compared = [
            field
            for field in model._meta.concrete_fields
            if field.name in self.recorded
            and field.name not in self.stamps.lost
            and not field.generated
        ]


class Following:
    """Each ``follow`` takes in what one entry tells, the newest first, until it returns True.
    ``today`` is the row by attname, or None if there is none."""

    def __init__(self, fields: Fields, today: dict[str, Any] | None) -> None:
        self.fields = fields
        self.today = today
        self.past = Past(fields.model, fields.recorded, fields.stamps, today)
        #: The entry that made the row what it then was, if that is told for certain.
        self.begin: Told | None = None
        #: Is there an entry that may have made the row of today?
        self.came = False
        #: Has the row been deleted, and no entry tells how it came again?
        self.is_back = False
        #: Fields that the entry of the creation does not have: they were NULL, or not recorded.
        self.implied: set[str] = set()
        self._baseline: Told | None = None

    def follow(self, entry: Told) -> bool:
        """Returns whether older entries say nothing more."""
        if entry.action == "update":
            return self._follow_update(entry)
        if entry.action == "delete":
            is_end = self.past.compare(entry)
            self.is_back = is_end and not self.came
            return is_end
        if entry.relation not in ("own", "child"):
            return self.past.compare(entry)
        self.came = True
        if not entry.is_certain:
            return self._follow_doubtful(entry)
        if "precedes" in entry.context:
            # What later entries do not tell is what the row was before them.
            self._baseline = self._baseline or entry
            return self.past.compare(entry)
        self._begin(entry)
        return self.past.compare(entry)

    def finish(self) -> None:
        """There is no older entry."""
        entry = self._baseline
        if entry is None or self.begin is not None:
            return
        self._begin(entry)
        for name, field in self.past.fields.items():
            if name in entry.changes:
                value = entry.changes[name][1]
            else:
                value = None if field.null else NOTHING
            self.past.before.setdefault(name, (entry.pk, value))

    @property
    def last(self) -> Told | None:
        """The newest entry that says whether there is a row."""
        return self.past.last

    def find_differences(self) -> Iterator[tuple[Any, Any, Any]]:
        """The fields that are not what an entry says: field, entry, and what that has."""
        today = self.today or {}
        for field in self.fields.compared:
            entry, told = self.past.before.get(field.name, (None, str(UNKNOWN)))
            if told is NOTHING:
                continue
            try:
                is_same = is_as_told(field, told, today[field.attname])
            except NotDecodable:
                # The field had another type then.
                continue
            if is_same is False:
                yield field, entry, told

    def _follow_update(self, entry: Told) -> bool:
        self._forget(self.fields.stamps.get_untold(entry.changes), entry)
        is_end = self.past.compare(entry)
        if entry.is_own and not self.fields.keys.isdisjoint(entry.changes):
            # It got this key by that. Older entries of the key are about another row.
            self.came = True
            return True
        return is_end

    def _follow_doubtful(self, entry: Told) -> bool:
        """It may have made the row, changed it, or left it alone."""
        self._forget(self.past.fields, entry)
        if self.today is None:
            return False
        self.past.last = self.past.last or entry
        return True

    def _forget(self, names: Iterable[str], entry: Told) -> None:
        """From this entry on nobody knows what they are, if no newer one tells it."""
        for name in names:
            self.past.before.setdefault(name, (entry.pk, str(UNKNOWN)))

    def _begin(self, entry: Told) -> None:
        if entry.is_whole:
            self.begin = entry
            self.implied = self.past.fields.keys() - self.past.before.keys() - entry.changes.keys()
