"""Goes through the files of a storage, however many there are, without keeping them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.core.files.storage import FileSystemStorage, Storage
from django.utils import timezone

from django_signal_kit.files.quarantine import PREFIX
from django_signal_kit.files.storages import list_folder, unwrap


class Found(NamedTuple):
    """A file of a storage."""

    name: str
    size: int
    modified: datetime


class Walk:
    """Iterate over it for the files whose names begin with ``prefix``, but for quarantine."""

    def __init__(self, storage: Storage, prefix: str = "") -> None:
        self.storage = unwrap(storage)
        self.prefix = prefix
        #: How much of the storage has been gone through, by its folders.
        self.fraction = 0.0

    def __iter__(self) -> Iterator[Found]:
        if hasattr(self.storage, "bucket") and hasattr(self.storage, "location"):
            return self._walk_bucket()
        return self._walk("", 0.0, 1.0)

    def _walk(self, folder: str, start: float, end: float) -> Iterator[Found]:
        folders: list[str] = []
        is_local = isinstance(self.storage, FileSystemStorage)
        for name, found in self._scan_disk(folder) if is_local else self._scan(folder):
            if found is None:
                folders.append(name)
            elif found.name.startswith(self.prefix):
                yield found
        folders = [name for name in folders if self._leads_on(name)]
        share = (end - start) / max(1, len(folders))
        for number, name in enumerate(sorted(folders)):
            self.fraction = start + number * share
            yield from self._walk(name, self.fraction, self.fraction + share)

    def _leads_on(self, folder: str) -> bool:
        here = f"{folder}/"
        return folder != PREFIX and (here.startswith(self.prefix) or self.prefix.startswith(here))

    def _scan_disk(self, folder: str) -> Iterator[tuple[str, Found | None]]:
        storage: Any = self.storage
        try:
            entries = os.scandir(storage.path(folder))
        except (FileNotFoundError, NotADirectoryError):
            return
        with entries:
            for entry in entries:
                name = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir(follow_symlinks=False):
                    yield name, None
                elif entry.is_file():
                    try:
                        stat = entry.stat()
                    except FileNotFoundError:
                        continue
                    modified = datetime.fromtimestamp(stat.st_mtime, UTC)
                    yield name, Found(name, stat.st_size, modified)

    def _scan(self, folder: str) -> Iterator[tuple[str, Found | None]]:
        folders, files = list_folder(self.storage, folder)
        for name in folders:
            yield f"{folder}/{name}" if folder else name, None
        for name in files:
            name = f"{folder}/{name}" if folder else name
            modified = self.storage.get_modified_time(name)
            if timezone.is_naive(modified):
                modified = timezone.make_aware(modified)
            yield name, Found(name, self.storage.size(name), modified)

    def _walk_bucket(self) -> Iterator[Found]:
        """S3 gives names, sizes and times a thousand at a time."""
        storage: Any = self.storage
        location = storage.location.strip("/")
        root = f"{location}/" if location else ""
        for item in storage.bucket.objects.filter(Prefix=root + self.prefix):
            name = item.key.removeprefix(root)
            if name and not name.endswith("/") and not name.startswith(f"{PREFIX}/"):
                yield Found(name, item.size, item.last_modified)
