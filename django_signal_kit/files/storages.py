"""When two storages keep the same files, and two names are one file's."""

from __future__ import annotations

import os
import posixpath
from typing import Any

from django.core.exceptions import SuspiciousFileOperation
from django.core.files.storage import FileSystemStorage, Storage
from django.utils.functional import LazyObject, empty


def identify(storage: Storage) -> Any:
    """What two storages that keep the same files have in common."""
    if isinstance(storage, LazyObject):
        if storage._wrapped is empty:
            storage._setup()
        storage = storage._wrapped
    if isinstance(storage, FileSystemStorage):
        return os.path.realpath(storage.location)
    deconstruct = getattr(storage, "deconstruct", None)
    return id(storage) if deconstruct is None else repr(deconstruct())


def normalize(storage: Storage, name: str) -> str:
    """The plainest of the names that a file has in ``storage``."""
    if isinstance(storage, FileSystemStorage):
        try:
            path = os.path.realpath(storage.path(name))
        except SuspiciousFileOperation:
            return name
        name = os.path.relpath(path, os.path.realpath(storage.location)).replace("\\", "/")
    return posixpath.normpath(name)
