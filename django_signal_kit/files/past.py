"""Files of the past, read where they are now."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NoReturn

from django.core.files.base import File
from django.core.files.storage import Storage
from django.db.models import FileField, Model

from django_signal_kit.files.quarantine import Quarantine


class PastStorage(Storage):
    """A storage as it was at a moment: what waits in quarantine since is read there, under the
    name that it had. Nothing is looked for before it is asked for, and nothing is written.

    What is gone for good raises FileNotFoundError.
    """

    def __init__(self, quarantine: Quarantine, at: datetime) -> None:
        self.quarantine = quarantine
        self.at = at

    def _locate(self, name: str) -> tuple[Storage, str]:
        place = self.quarantine.find(name, self.at)
        if place is not None:
            return self.quarantine.target, place
        if not self.quarantine.storage.exists(name):
            raise FileNotFoundError(
                f"The file {name!r} of {self.at} is gone for good: neither in its place nor in "
                f"quarantine."
            )
        return self.quarantine.storage, name

    def _open(self, name: str, mode: str = "rb") -> File[Any]:
        if mode not in ("r", "rb", "rt"):
            self._refuse()
        storage, place = self._locate(name)
        return storage.open(place, mode)

    def exists(self, name: str) -> bool:
        try:
            self._locate(name)
        except FileNotFoundError:
            return False
        return True

    def path(self, name: str) -> str:
        storage, place = self._locate(name)
        return storage.path(place)

    def size(self, name: str) -> int:
        storage, place = self._locate(name)
        return storage.size(place)

    def url(self, name: str | None) -> str:
        storage, place = self._locate(str(name))
        return storage.url(place)

    def get_modified_time(self, name: str) -> datetime:
        storage, place = self._locate(name)
        return storage.get_modified_time(place)

    def delete(self, name: str) -> NoReturn:
        self._refuse()

    def save(self, name: str | None, content: Any, max_length: int | None = None) -> NoReturn:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise TypeError(f"This is the storage as it was at {self.at}; nothing is written there.")


def show_past_file(instance: Model, field: FileField, storage: PastStorage) -> None:
    """Have ``field`` of ``instance`` read from ``storage``."""
    name = instance.__dict__.get(field.attname)
    if name:
        file = field.attr_class(instance, field, str(name))
        file.storage = storage
        instance.__dict__[field.attname] = file
