"""Keys that rows had before they got others."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet

from django_signal_kit.audit.decoding import decode
from django_signal_kit.audit.keys import read_key
from django_signal_kit.audit.kin import Family


class Moves:
    """Which keys rows of the family's model have left, by what entries of updates tell."""

    def __init__(self, entries: QuerySet[Any], family: Family) -> None:
        self.model = family.model
        self.to_key = family.to_key[family.model]
        naming = Q()
        for field in self.model._meta.pk_fields:
            naming |= Q(changes__has_key=field.name)
        kind = family.kinds[family.model].pk
        self.entries = entries.filter(naming, content_type=kind, action="update")
        self._left: dict[str, Any] = {}
        self._seen: Any = None

    def get_last(self, key: str) -> Any:
        """The newest entry of an update that took the key from a row, or None."""
        return self._left.get(key)

    def read(self) -> None:
        """Take in what has come since the last time."""
        rows = self.entries if self._seen is None else self.entries.filter(pk__gt=self._seen)
        found = rows.order_by("pk").values_list("pk", "object_pk", "changes")
        for id, key, changes in found.iterator(chunk_size=500):
            self._seen = id
            try:
                self._left[self._get_old_key(key, changes)] = id
            except (ValidationError, ValueError, TypeError):
                # A key that is a secret, or cut.
                continue

    def _get_old_key(self, key: str, changes: Any) -> str:
        parts = [
            decode(field, changes[field.name][0]) if field.name in changes else part
            for field, part in zip(
                self.model._meta.pk_fields, read_key(self.model, key), strict=True
            )
        ]
        return self.to_key(parts[0] if len(parts) == 1 else tuple(parts))
