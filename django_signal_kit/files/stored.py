"""A file of a row, as hooks and signals are told of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from django.core.files.storage import Storage
from django.db.models import FileField, Model

from django_signal_kit.files.own_deletion import OwnDeletion
from django_signal_kit.files.storages import identify


class StoredFile(NamedTuple):
    """A file by its storage and its name in it; ``using`` is where the row that named it was.

    ``model``, ``field`` (its name) and ``key`` (that of the row, as the instance had it) say which
    row that was; they are None if no row is known, as of what ``cleanfiles`` has found.
    """

    storage: Storage
    name: str
    using: str
    model: type[Model] | None = None
    field: str | None = None
    key: Any = None


class CollectedFile(StoredFile):
    """One that waits for the commit."""

    #: How the field's own class of files deletes it, if it has a way of its own.
    own: OwnDeletion | None = None
    #: Has a row been given its name, so that it has to be there?
    is_taken: bool = False
    #: In a worker: when a task was made for it, in seconds since 1970.
    collected_at: float | None = None


def by_storage(files: Iterable[StoredFile]) -> Iterator[list[StoredFile]]:
    """The files of each storage and database together."""
    groups: dict[tuple[Any, str], list[StoredFile]] = {}
    known: dict[int, Any] = {}
    for file in files:
        number = id(file.storage)
        if number not in known:
            known[number] = identify(file.storage)
        groups.setdefault((known[number], file.using), []).append(file)
    yield from groups.values()


def make_file(field: FileField, name: str, instance: Model, using: str) -> CollectedFile:
    model = type(instance)
    return CollectedFile(field.storage, name, using, model, field.name, instance.pk)
