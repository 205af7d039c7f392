"""Files that no row names: found, and taken away as FileCleanup does it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import islice
from typing import Any

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.core.files.storage import Storage
from django.db import DEFAULT_DB_ALIAS
from django.db.models import FileField

from django_signal_kit.files.file_cleanup import FileCleanup
from django_signal_kit.files.pending import get_pending_model
from django_signal_kit.files.references import find_used
from django_signal_kit.files.removal import Removal, expire
from django_signal_kit.files.storages import identify
from django_signal_kit.files.stored import CollectedFile, StoredFile
from django_signal_kit.files.walking import Found, Walk
from django_signal_kit.wiring.registry import registry

_CHUNK = 500


def list_file_fields() -> Iterator[FileField]:
    """The file fields of all models."""
    for model in apps.get_models():
        for field in model._meta.local_concrete_fields:
            if isinstance(field, FileField):
                yield field


def list_storages() -> list[Storage]:
    """The storages of all file fields, each once."""
    found: dict[Any, Storage] = {}
    for field in list_file_fields():
        found.setdefault(identify(field.storage), field.storage)
    return list(found.values())


def list_cleanups() -> list[FileCleanup]:
    return [found for found in registry.receivers if isinstance(found, FileCleanup)]


def get_cleanup(storage: Storage) -> FileCleanup:
    """Who takes files of ``storage`` away: the first that covers a field of it, or one with its
    options as they are by default."""
    for receiver in list_cleanups():
        for model in registry.get_models(receiver):
            for field in receiver.get_file_fields(model):
                if identify(field.storage) == identify(storage):
                    return receiver
    return FileCleanup()


class Orphans:
    """What no row names of the files of one storage that are older than ``before``."""

    def __init__(self, storage: Storage, prefix: str, before: datetime) -> None:
        self.storage = storage
        self.before = before
        self.walk = Walk(storage, prefix)
        self.receiver = get_cleanup(storage)
        self.cleanups = list_cleanups()
        self.references = {
            name for receiver in self.cleanups for name in receiver.reference_fields
        }
        #: How many files have been looked at.
        self.looked_at = 0

    def find(self) -> Iterator[list[Found]]:
        """Those of each 500 files that have been looked at."""
        for found in self._list_chunks():
            used = self._find_used([file.name for file in found])
            yield [file for file in found if file.name not in used and self._may_go(file)]

    def take_away(self) -> Iterator[list[Found]]:
        """The same, when they are gone."""
        quarantine = self.receiver._get_quarantine(self.storage)
        removal = Removal(self.receiver, self.storage, quarantine)
        for orphans in self.find():
            files = [self._make_file(file) for file in orphans]
            gone = removal.run(files) if files else set()
            yield [file for file in orphans if file.name in gone]

    def _list_chunks(self) -> Iterator[tuple[Found, ...]]:
        files = self._count(self.walk)
        while found := tuple(islice(files, _CHUNK)):
            yield tuple(file for file in found if file.modified < self.before)

    def _count(self, files: Walk) -> Iterator[Found]:
        for file in files:
            self.looked_at += 1
            yield file

    def _find_used(self, names: list[str]) -> set[str]:
        if not names:
            return set()
        return find_used(self.receiver.name, self.storage, names, self.references)

    def _may_go(self, found: Found) -> bool:
        file = self._make_file(found)
        return all(receiver.should_delete(file) for receiver in self.cleanups)

    def _make_file(self, found: Found) -> StoredFile:
        return CollectedFile(self.storage, found.name, DEFAULT_DB_ALIAS)


def restore(name: str) -> list[Storage]:
    """Bring a file back from quarantine, in each storage where it waits; returns these."""
    found = []
    for storage in list_storages():
        if get_cleanup(storage)._get_quarantine(storage).take_back(name):
            found.append(storage)
    return found


def expire_all() -> int:
    """Delete for good what has waited its time; returns how many files."""
    count = 0
    for storage in list_storages():
        receiver = get_cleanup(storage)
        count += expire(receiver, receiver._get_quarantine(storage))
    return count


def retry(tell: Callable[[Any, bool], object]) -> None:
    """Try again with each file that could not be taken away. ``tell`` is given what is remembered
    of it, and whether that is done with: gone, or named by a row."""
    for pending in get_pending_model().objects.iterator(chunk_size=_CHUNK):
        tell(pending, _retry_one(pending))


def _retry_one(pending: Any) -> bool:
    try:
        model = apps.get_model(pending.model)
        field: Any = model._meta.get_field(pending.field)
        storage = field.storage
    except (LookupError, ValueError, AttributeError, FieldDoesNotExist):
        # Of a model or field that is gone, cleanfiles finds the file itself.
        pending.delete()
        return True
    receiver = next(
        (found for found in list_cleanups() if found.name == pending.receiver),
        None,
    ) or get_cleanup(storage)
    attempts = pending.attempts
    instance = model(**{field.attname: pending.name})
    file = receiver._make_file(field, pending.name, instance, pending.using)
    Removal(receiver, storage, receiver._get_quarantine(storage)).run([file])
    left = type(pending).objects.filter(pk=pending.pk)
    # Or it has failed again.
    return bool(left.filter(attempts=attempts).delete()[0])
