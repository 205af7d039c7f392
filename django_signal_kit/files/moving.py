"""Takes a file from one name to another, within a storage or to another one."""

from __future__ import annotations

import os
import shutil
import stat
import time
from contextlib import suppress
from typing import Any

from django.core.files.storage import FileSystemStorage, Storage

from django_signal_kit.files.storages import get_path, unwrap


def carry(storage: Storage, name: str, target: Storage, place: str, *, keep: bool = False) -> bool:
    """Move the file to ``place``, where nothing is, or copy it there if it is to be kept.

    False if there is no such file. What a storage raises gets out, and leaves the file.
    """
    source, goal = unwrap(storage), unwrap(target)
    if isinstance(source, FileSystemStorage) and isinstance(goal, FileSystemStorage):
        return _carry_on_disk(source, name, goal, place, keep=keep)
    if not source.exists(name):
        return False
    if source is goal and hasattr(source, "bucket") and hasattr(source, "_normalize_name"):
        _copy_in_bucket(source, name, place)
    else:
        with source.open(name) as content:
            goal.save(place, content)
    if not keep:
        source.delete(name)
    return True


def _carry_on_disk(
    source: FileSystemStorage, name: str, goal: FileSystemStorage, place: str, *, keep: bool
) -> bool:
    path, new = get_path(source, name), get_path(goal, place)
    try:
        if stat.S_ISDIR(os.stat(path).st_mode):
            raise IsADirectoryError(f"{name!r} is a folder.")
        _put(path, new, keep=keep)
    except FileNotFoundError:
        # Or somebody else was faster.
        return False
    with suppress(OSError):
        # Its time says since when it has been there; the clock of the disk is too coarse.
        now = time.time()
        os.utime(new, (now, now))
    return True


def _put(path: str, new: str, *, keep: bool) -> None:
    if not keep:
        try:
            os.rename(path, new)
        except OSError:
            # Most often the folder is there.
            _make_folder(new)
        else:
            return
    else:
        _make_folder(new)
    # Over the border of two disks too.
    (shutil.copyfile if keep else shutil.move)(path, new)


def _make_folder(path: str) -> None:
    """Raises FileExistsError if a file is where a folder has to be."""
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
    except NotADirectoryError as error:
        raise FileExistsError(*error.args) from error


def _copy_in_bucket(storage: Any, name: str, place: str) -> None:
    """S3 copies by itself, and no byte comes here."""
    key = storage._normalize_name(name)
    new = storage.bucket.Object(storage._normalize_name(place))
    new.copy({"Bucket": storage.bucket.name, "Key": key})
