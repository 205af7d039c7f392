"""Where files wait that nobody names: under the day on which they came, by their own names.

``quarantine/2026-11-25/products/tea.png``; another of the same name and day comes into
``quarantine/2026-11-25/~2/products/tea.png``. The time of such a file is the one when it came.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zlib import crc32

from django.core.files.storage import FileSystemStorage, Storage
from django.utils import timezone

from django_signal_kit.files.moving import carry
from django_signal_kit.files.storages import exists, identify, is_safe, list_folder, unwrap

#: The folder of a storage in which its files wait.
PREFIX = "quarantine"

#: After as many places that a disk has refused it is not the place.
_MOST_REFUSED = 100


class Quarantine:
    """The place where files of ``storage`` wait: itself, or ``target``."""

    def __init__(self, storage: Storage, target: Storage | None = None) -> None:
        self.storage = storage
        self.target = storage if target is None else target
        #: Files of several storages may wait in one other.
        self.source = ""
        if target is not None and identify(target) != identify(storage):
            self.source = f"{crc32(repr(identify(storage)).encode()):08x}"

    def put(self, name: str, *, keep: bool = False) -> bool:
        """Move a file here, or copy it; False if it is not there."""
        name = posixpath.normpath(name)
        day = datetime.now(UTC).date().isoformat()
        number, refused = 1, 0
        while True:
            place = self._place(day, f"~{number}" if number > 1 else "", name)
            number += 1
            if exists(self.target, place):
                continue
            try:
                return carry(self.storage, name, self.target, place, keep=keep)
            except FileExistsError:
                # On a disk, what came before may be a file where this one needs a folder.
                refused += 1
                if refused > _MOST_REFUSED:
                    raise

    def find(self, name: str, since: datetime | None = None) -> str | None:
        """Where the file waits that came last, or first at or after ``since``, of this name."""
        if not is_safe(name):
            return None
        name = posixpath.normpath(name)
        days = self.list_days()
        if since is not None:
            first = since.astimezone(UTC)
            days = [day for day in days if day >= first.date()]
        for day in days if since is not None else reversed(days):
            places = [
                (self._get_time(place), place)
                for place in self._list_places(day, name)
                if self.target.exists(place)
            ]
            if since is not None:
                places = [found for found in places if _is_since(found[0], first)]
            if places:
                return (max(places) if since is None else min(places))[1]
        return None

    def take_back(self, name: str, since: datetime | None = None) -> bool:
        """Bring the file back to where it was; False if it is not here.

        Raises FileExistsError if another file has its name by now.
        """
        place = self.find(name, since)
        if place is None:
            return False
        if self.storage.exists(name):
            raise FileExistsError(
                f"{name!r} is the name of another file by now; the former is kept as {place!r}."
            )
        return carry(self.target, place, self.storage, posixpath.normpath(name))

    def list_days(self) -> list[date]:
        """The days on which files came that wait, the oldest first."""
        folders, _ = list_folder(self.target, PREFIX)
        return sorted(day for name in folders if (day := _parse(name)) is not None)

    def expire(self, before: date, limit: int | None = None) -> int:
        """Delete for good what came before that day, at most ``limit`` files; returns how many."""
        count = 0
        for day in self.list_days():
            if day >= before:
                break
            for place in self._walk(f"{PREFIX}/{day.isoformat()}"):
                if limit is not None and count >= limit:
                    return count
                self.target.delete(place)
                count += 1
        return count

    def _walk(self, folder: str) -> Iterator[str]:
        folders, files = list_folder(self.target, folder)
        for name in folders:
            yield from self._walk(f"{folder}/{name}")
        for name in files:
            yield f"{folder}/{name}"
        if isinstance(unwrap(self.target), FileSystemStorage):
            # An empty folder; one that is not is left alone.
            try:
                self.target.delete(folder)
            except OSError:
                return

    def _list_places(self, day: date, name: str) -> list[str]:
        folders, _ = list_folder(self.target, f"{PREFIX}/{day.isoformat()}")
        copies = ["", *(folder for folder in folders if folder.startswith("~"))]
        return [self._place(day.isoformat(), copy, name) for copy in copies]

    def _place(self, day: str, copy: str, name: str) -> str:
        return posixpath.join(PREFIX, day, copy, self.source, name)

    def _get_time(self, place: str) -> datetime:
        moment = self.target.get_modified_time(place)
        return moment if timezone.is_aware(moment) else timezone.make_aware(moment)


def is_in_quarantine(name: str) -> bool:
    return posixpath.normpath(name).split("/", 1)[0] == PREFIX


def _is_since(moment: datetime, since: datetime) -> bool:
    if moment.microsecond == 0:
        # A storage that counts whole seconds.
        moment += timedelta(seconds=1)
    return moment >= since


def _parse(name: str) -> date | None:
    try:
        return date.fromisoformat(name)
    except ValueError:
        return None
