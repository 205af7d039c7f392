"""Deletes files that no row names any more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

from django.apps import apps
from django.core.files.storage import Storage
from django.db.models import FileField, Model

from django_signal_kit.exceptions import Misconfigured, did_you_mean
from django_signal_kit.files.own_deletion import OwnDeletion, has_own_deletion
from django_signal_kit.files.references import find_used, parse_reference
from django_signal_kit.files.storages import identify
from django_signal_kit.receiver import ModelReceiver
from django_signal_kit.rows.snapshots import get_new_row, get_old_row
from django_signal_kit.signals import post_file_delete, pre_file_delete
from django_signal_kit.units.failures import report_failure


class StoredFile(NamedTuple):
    """A file by its storage and its name in it; ``using`` is where the row that named it was."""

    storage: Storage
    name: str
    using: str


class _OwnFile(StoredFile):
    """One whose field has a way of its own to delete it."""

    own: OwnDeletion | None = None


class FileCleanup(ModelReceiver):
    """Deletes the files of a changed or deleted row, after the commit.

    Only those whose name no row holds any more, in any file field of any model with the same
    storage, in any database: a file that was swapped, flipped back, copied or taken over stays.
    Costs a query before each save of a row, for the names that it held, and after the commit one
    a file field and database, if a file may have to go. The default of a field is never deleted.
    """

    #: Names of the only file fields to clean up; all if empty.
    fields: Sequence[str] = ()
    #: Names of file fields to leave alone.
    exclude_fields: Sequence[str] = ()
    #: Further columns that may name a file, as ``"app.Model.field"``, of any type of text.
    reference_fields: Sequence[str] = ()
    #: Hear ``QuerySet.update()`` too, which reads and locks its rows before it changes them.
    bulk: bool | Literal["all"] = "all"

    def get_file_fields(self, model: type[Model]) -> list[FileField]:
        """The fields of a covered model whose files are cleaned up."""
        return [
            field
            for field in model._meta.concrete_fields
            if isinstance(field, FileField)
            and (not self.fields or field.name in self.fields)
            and field.name not in self.exclude_fields
        ]

    def should_delete(self, file: StoredFile) -> bool:
        """A last word before a file that nobody names is deleted."""
        return True

    def get_derived(self, file: StoredFile) -> Iterable[str]:
        """Names, in the same storage, of what was made from ``file`` and goes with it."""
        return ()

    def delete_file(self, file: StoredFile) -> None:
        """Delete one file: by ``delete()`` of its field file, if a class of its own has one, else
        from the storage. Runs after the commit; what it raises is logged."""
        own = getattr(file, "own", None)
        if own is None:
            file.storage.delete(file.name)
        else:
            own.delete(file.name, file.using)

    def pre_save(self, instance: Model, using: str, **kwargs: Any) -> None:
        get_old_row(instance, using)

    def post_save(self, instance: Model, update_fields: Any, using: str, **kwargs: Any) -> None:
        old = get_old_row(instance, using)
        if old is None:
            return
        fields = [
            field
            for field in self.get_file_fields(type(instance))
            if update_fields is None or field.name in update_fields
        ]
        new = get_new_row(instance, fields, using)
        for field in fields:
            if old[field.attname] != new[field.attname]:
                self._collect(field, old[field.attname], instance, using)

    def pre_delete(self, instance: Model, using: str, **kwargs: Any) -> None:
        get_old_row(instance, using)

    def post_delete(self, instance: Model, using: str, **kwargs: Any) -> None:
        old = get_old_row(instance, using)
        for field in self.get_file_fields(type(instance)):
            if old is not None:
                self._collect(field, old[field.attname], instance, using)

    def flush(self, items: list[StoredFile]) -> None:
        """Delete those of the collected files that no row names now."""
        for storage, files in _by_storage(items):
            names = [file.name for file in files]
            used = find_used(self.name, storage, names, self.reference_fields)
            for file in files:
                if file.name not in used:
                    self._delete(file)

    def lacks(self, model: type[Model]) -> str | None:
        return None if self.get_file_fields(model) else "no file field to clean up"

    def check(self) -> None:
        # Of all models: those that lack the fields chosen here are not covered at all.
        known = {
            field.name
            for model in apps.get_models()
            for field in model._meta.concrete_fields
            if isinstance(field, FileField)
        }
        for option in ("fields", "exclude_fields"):
            for name in getattr(self, option):
                if name not in known:
                    raise Misconfigured(
                        "E012",
                        f"The option {option!r} of {self.name} has {name!r}, and no model has "
                        f"such a file field.",
                        did_you_mean(name, known),
                    )
        for reference in self.reference_fields:
            parse_reference(self.name, reference)

    def get_old_fields(self, model: type[Model]) -> list[FileField]:
        return self.get_file_fields(model)

    def _collect(self, field: FileField, name: str | None, instance: Model, using: str) -> None:
        if name:
            file = StoredFile(field.storage, name, using)
            if has_own_deletion(field):
                file = _OwnFile(*file)
                file.own = OwnDeletion(field, instance)
            self.collect(file, key=(identify(field.storage), name), using=using)

    def _delete(self, file: StoredFile) -> None:
        try:
            derived = [*self.get_derived(file)] if self.should_delete(file) else None
        except Exception as error:
            report_failure(self, "flush", error)
            return
        if derived is None:
            return
        for each in (*(StoredFile(file.storage, name, file.using) for name in derived), file):
            sent = {"storage": file.storage, "name": each.name, "receiver": self}
            try:
                pre_file_delete.send(sender=type(self), **sent)
                self.delete_file(each)
                post_file_delete.send(sender=type(self), **sent)
            except Exception as error:
                # One file that cannot be deleted leaves the others to their fate.
                report_failure(self, "flush", error)


def _by_storage(items: Iterable[StoredFile]) -> Iterator[tuple[Storage, list[StoredFile]]]:
    groups: dict[tuple[Any, str], list[StoredFile]] = {}
    for file in items:
        groups.setdefault((identify(file.storage), file.using), []).append(file)
    for files in groups.values():
        yield files[0].storage, files
