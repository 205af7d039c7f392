"""A receiver whose moments the test gives, and what it leaves in the database."""

from __future__ import annotations

import datetime
from typing import Any

from django_signal_kit.receivers import LastModified

OLD = datetime.datetime(2001, 2, 3, 4, 5, 6, 7, tzinfo=datetime.UTC)
FUTURE = datetime.datetime(2101, 2, 3, 4, 5, 6, 7, tzinfo=datetime.UTC)


class AtGivenMoments(LastModified):
    """Takes one moment after the other from a list; then the clock's."""

    _moments: list[datetime.datetime] = []

    def get_timestamp(self, instance: Any) -> datetime.datetime:
        return self._moments.pop(0) if self._moments else super().get_timestamp(instance)


def get_stamp(row: Any, name: str = "updated_at") -> Any:
    """What the database holds."""
    return type(row)._base_manager.values_list(name, flat=True).get(pk=row.pk)


def make_old(*rows: Any, name: str = "updated_at") -> None:
    """Give rows and instances the stamp of long ago."""
    for row in rows:
        type(row)._base_manager.filter(pk=row.pk).update(**{name: OLD})
        row.refresh_from_db()
