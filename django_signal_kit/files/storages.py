"""When two storages keep the same files, and two names are one file's."""

from __future__ import annotations

import os
import posixpath
from functools import lru_cache
from typing import Any

from django.core.exceptions import SuspiciousFileOperation
from django.core.files.storage import FileSystemStorage, Storage
from django.utils._os import safe_join
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
        return _find_folder(str(storage.location))
    deconstruct = getattr(storage, "deconstruct", None)
    return id(storage) if deconstruct is None else repr(deconstruct())


@lru_cache(maxsize=256)
def _find_folder(location: str) -> str:
    """Where it is, if a link leads there; asked once, as it costs much more than all else."""
    return os.path.realpath(location)


def normalize(storage: Storage, name: str, folders: dict[str, str] | None = None) -> str:
    """The plainest of the names that a file has in ``storage``. ``folders`` keeps what has been
    found of the folders, where there are many names."""
    storage = unwrap(storage)
    if isinstance(storage, FileSystemStorage):
        try:
            path = get_path(storage, name)
            is_link = os.path.islink(path)
        except (SuspiciousFileOperation, ValueError):
            return name
        folder, base = os.path.split(path)
        folders = {} if folders is None else folders
        if is_link:
            path = os.path.realpath(path)
        else:
            if folder not in folders:
                folders[folder] = os.path.realpath(folder)
            path = os.path.join(folders[folder], base)
        root = os.path.join(_find_folder(str(storage.location)), "")
        # A link that leads elsewhere is a file of its own.
        if path.startswith(root):
            name = path.removeprefix(root).replace(os.sep, "/")
    return posixpath.normpath(name)


def get_path(storage: FileSystemStorage, name: str) -> str:
    """``storage.path(name)``, which costs most of what is done to a file. Of Django's own the
    answer is known for a folder once and for all."""
    folder, base = os.path.split(name)
    if base in ("", ".", "..") or not _is_djangos(storage, "path"):
        return storage.path(name)
    return os.path.join(_get_folder_path(str(storage.location), folder), base)


@lru_cache(maxsize=1024)
def _get_folder_path(location: str, folder: str) -> str:
    return safe_join(location, folder)


def exists(storage: Storage, name: str) -> bool:
    """``storage.exists(name)``, for less."""
    plain = unwrap(storage)
    if isinstance(plain, FileSystemStorage) and _is_djangos(plain, "exists"):
        return os.path.lexists(get_path(plain, name))
    return storage.exists(name)


def _is_djangos(storage: FileSystemStorage, method: str) -> bool:
    own = getattr(FileSystemStorage, method)
    return getattr(getattr(storage, method), "__func__", None) is own


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
