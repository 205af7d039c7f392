"""Deletes files that no row names any more."""

from __future__ import annotations

import logging
import os
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any, Literal, NamedTuple

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist, SuspiciousFileOperation
from django.core.files.storage import FileSystemStorage, Storage
from django.db import connections, router, transaction
from django.db.models import Field, FileField, Model, QuerySet
from django.utils.functional import LazyObject, empty

from django_signal_kit.exceptions import Misconfigured, did_you_mean
from django_signal_kit.receiver import ModelReceiver
from django_signal_kit.rows.snapshots import get_new_row, get_old_row
from django_signal_kit.signals import post_file_delete, pre_file_delete
from django_signal_kit.units.failures import report_failure

logger = logging.getLogger("django_signal_kit")

_CHUNK = 500


class StoredFile(NamedTuple):
    """A file by its storage and its name in it; ``using`` is where the row that named it was."""

    storage: Storage
    name: str
    using: str


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
        """Delete one file. Runs after the commit; what it raises is logged."""
        file.storage.delete(file.name)

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
                self._collect(field, old[field.attname], using)

    def pre_delete(self, instance: Model, using: str, **kwargs: Any) -> None:
        get_old_row(instance, using)

    def post_delete(self, instance: Model, using: str, **kwargs: Any) -> None:
        old = get_old_row(instance, using)
        for field in self.get_file_fields(type(instance)):
            if old is not None:
                self._collect(field, old[field.attname], using)

    def flush(self, items: list[StoredFile]) -> None:
        """Delete those of the collected files that no row names now."""
        for storage, using, names in _by_storage(items):
            used = self._find_used(storage, names, using)
            for name in names:
                if name not in used:
                    self._delete(StoredFile(storage, name, using))

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
            _parse_reference(self.name, reference)

    def get_old_fields(self, model: type[Model]) -> list[FileField]:
        return self.get_file_fields(model)

    def _collect(self, field: FileField, name: str | None, using: str) -> None:
        if name:
            file = StoredFile(field.storage, name, using)
            self.collect(file, key=(identify(field.storage), name), using=using)

    def _find_used(self, storage: Storage, names: Sequence[str], using: str) -> set[str]:
        """Those of ``names``, which rows in ``using`` held, that must stay."""
        # Two names of one file, "a/b" and "a/./b": a row may have been given the second to have
        # the first deleted.
        spellings = {name: {name, normalize(storage, name)} for name in names}
        candidates = sorted(set().union(*spellings.values()))
        used: set[str] = set()
        for model, field in self._get_references(storage):
            if isinstance(field, FileField):
                used |= _get_defaults(field)
            for alias in connections:
                if alias == using or _has_rows(alias, model):
                    used |= _find(self.name, model, field, candidates, alias)
        return {name for name in names if not used.isdisjoint(spellings[name])}

    def _get_references(self, storage: Storage) -> Iterator[tuple[type[Model], Field[Any, Any]]]:
        for model in apps.get_models():
            if model._meta.proxy:
                continue
            for field in model._meta.local_concrete_fields:
                if isinstance(field, FileField) and identify(field.storage) == identify(storage):
                    yield model, field
        for reference in self.reference_fields:
            yield _parse_reference(self.name, reference)

    def _delete(self, file: StoredFile) -> None:
        try:
            names = [*self.get_derived(file), file.name] if self.should_delete(file) else []
        except Exception as error:
            report_failure(self, "flush", error)
            return
        for name in names:
            sent = {"storage": file.storage, "name": name, "receiver": self}
            try:
                pre_file_delete.send(sender=type(self), **sent)
                self.delete_file(file._replace(name=name))
                post_file_delete.send(sender=type(self), **sent)
            except Exception as error:
                # One file that cannot be deleted leaves the others to their fate.
                report_failure(self, "flush", error)


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


def _has_rows(alias: str, model: type[Model]) -> bool:
    """Is there a table of ``model``, made by its migrations or, as the router says, by others?"""
    return (
        router.allow_migrate_model(alias, model)
        or alias == router.db_for_read(model)
        or alias == router.db_for_write(model)
    )


def _get_defaults(field: FileField) -> set[str]:
    """Names that the next new row may hold."""
    db_default = getattr(field.db_default, "value", field.db_default)
    return {str(field.get_default() or ""), str(db_default)}


def _by_storage(items: Iterable[StoredFile]) -> Iterator[tuple[Storage, str, list[str]]]:
    groups: dict[tuple[Any, str], tuple[Storage, list[str]]] = {}
    for file in items:
        key = (identify(file.storage), file.using)
        groups.setdefault(key, (file.storage, []))[1].append(file.name)
    for (_, using), (storage, names) in groups.items():
        yield storage, using, names


def _find(
    receiver: str,
    model: type[Model],
    field: Field[Any, Any],
    names: Sequence[str],
    alias: str,
) -> set[str]:
    """Those of ``names`` that a row of ``model`` holds; all of them if it cannot be asked."""
    rows: QuerySet[Any] = QuerySet(model, using=alias)
    found: set[str] = set()
    connection = connections[alias]
    try:
        # In a transaction of somebody's, such as a TestCase's, an error must leave it usable.
        with transaction.atomic(using=alias) if connection.in_atomic_block else nullcontext():
            for start in range(0, len(names), _CHUNK):
                chunk = names[start : start + _CHUNK]
                values = rows.filter(**{f"{field.name}__in": chunk}).values_list(field.name)
                found |= {str(value) for (value,) in values}
    except Exception:
        if _has_table(alias, model):
            logger.exception(
                "%s could not ask %s in %r, so it deletes nothing",
                receiver,
                model._meta.label,
                alias,
            )
            return set(names)
    return found


def _has_table(alias: str, model: type[Model]) -> bool:
    """False only if it is certain: a second database often has the tables of a few apps alone."""
    try:
        return model._meta.db_table in connections[alias].introspection.table_names()
    except Exception:
        return True


def _parse_reference(receiver: str, reference: str) -> tuple[type[Model], Field[Any, Any]]:
    label, _, name = reference.rpartition(".")
    try:
        model = apps.get_model(label)
        field = model._meta.get_field(name)
    except (LookupError, ValueError, FieldDoesNotExist) as error:
        raise Misconfigured(
            "E012",
            f"The option 'reference_fields' of {receiver} has {reference!r}, which is no field: "
            f"{error}.",
            'Write "app.Model.field".',
        ) from error
    if field not in model._meta.concrete_fields:
        raise Misconfigured(
            "E012",
            f"The option 'reference_fields' of {receiver} has {reference!r}, which is no column.",
            'Write "app.Model.field".',
        )
    return model, field
