"""When two storages keep the same files, and two names are one file's."""

from __future__ import annotations

import os
import posixpath
from typing import Any

from django.core.exceptions import SuspiciousFileOperation
from django.core.files.storage import FileSystemStorage, Storage
from django.utils.functional import LazyObject, empty


def unwrap(storage: Storage) -> Storage:
    """What stands behind ``default_storage`` and its like."""
    if isinstance(storage, LazyObject):
        if storage._wrapped is empty:
            storage._setup()
        return storage._wrapped  # type: ignore[no-any-return]
    return storage


def identify(storage: Storage) -> Any:
    """What two storages that keep the same files have in common."""
    storage = unwrap(storage)
    if isinstance(storage, FileSystemStorage):
        return os.path.realpath(storage.location)
    deconstruct = getattr(storage, "deconstruct", None)
    return id(storage) if deconstruct is None else repr(deconstruct())


def normalize(storage: Storage, name: str) -> str:
    """The plainest of the names that a file has in ``storage``."""
    storage = unwrap(storage)
    if isinstance(storage, FileSystemStorage):
        try:
            path = os.path.realpath(storage.path(name))
        except (SuspiciousFileOperation, ValueError):
            return name
        found = os.path.relpath(path, os.path.realpath(storage.location)).replace("\\", "/")
        # A link that leads elsewhere is a file of its own.
        name = name if found.startswith("../") else found
    return posixpath.normpath(name)


def is_safe(name: str) -> bool:
    """Is it the name of something within a storage, whatever the storage?"""
    plain = posixpath.normpath(name.replace("\\", "/"))
    is_absolute = plain.startswith("/") or (len(plain) > 1 and plain[1] == ":")
    return not (is_absolute or plain in (".", "..") or plain.startswith("../") or "\0" in name)


def list_folder(storage: Storage, folder: str) -> tuple[list[str], list[str]]:
    """The folders and the files in a folder, which need not be there."""
    try:
        folders, files = storage.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return [], []
    return folders, files
