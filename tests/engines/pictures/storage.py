"""A storage elsewhere: it has no paths, copies what it moves, and is down half of the time."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import Any

from django.core.files.storage import FileSystemStorage, Storage
from django.utils.deconstruct import deconstructible

_PERIOD = 0.4


@deconstructible
class MoodyStorage(Storage):
    """Keeps files in ``folder/media``; down while ``folder/stormy`` is there, on and off."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def _ask(self) -> FileSystemStorage:
        is_off = time.time() % _PERIOD < _PERIOD / 2
        if is_off and (self.folder / "stormy").exists():
            raise ConnectionError("The storage is down.")
        return FileSystemStorage(self.folder / "media")

    def _open(self, name: str, mode: str = "rb") -> Any:
        return self._ask()._open(name, mode)

    def _save(self, name: str, content: Any) -> str:
        return self._ask()._save(name, content)

    def delete(self, name: str) -> None:
        self._ask().delete(name)

    def exists(self, name: str) -> bool:
        return self._ask().exists(name)

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        return self._ask().listdir(path)

    def size(self, name: str) -> int:
        return self._ask().size(name)

    def get_modified_time(self, name: str) -> datetime:
        return self._ask().get_modified_time(name)
