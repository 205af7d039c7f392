"""Takes away files that no row names any more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from datetime import datetime
from typing import Any, Literal

from django.apps import apps
from django.core.files.storage import Storage, storages
from django.db.models import FileField, Model
from django.db.models.signals import pre_save

from django_signal_kit.durations import EXPECTED, parse_duration
from django_signal_kit.exceptions import FlushFailedError, Misconfigured, did_you_mean, join
from django_signal_kit.files import uploads
from django_signal_kit.files.carrying import is_of_task, pack_file, unpack_file
from django_signal_kit.files.changes import is_as_loaded, is_changing
from django_signal_kit.files.own_deletion import has_own_deletion, read_own_deletion
from django_signal_kit.files.past import PastStorage, show_past_file
from django_signal_kit.files.quarantine import Quarantine
from django_signal_kit.files.references import parse_reference
from django_signal_kit.files.removal import Removal
from django_signal_kit.files.storages import identify
from django_signal_kit.files.stored import CollectedFile as CollectedFile
from django_signal_kit.files.stored import StoredFile as StoredFile
from django_signal_kit.files.stored import by_storage, make_file
from django_signal_kit.receiver import ModelReceiver
from django_signal_kit.rows.memory import note_saved
from django_signal_kit.rows.parents import ask_old_parents, get_old_parents
from django_signal_kit.rows.snapshots import get_locked_row, get_new_row, get_old_row
from django_signal_kit.units.unit import collect_if_undone, get_unit

_RESTORED = "_signal_kit_restored"

uploads.install()


class FileCleanup(ModelReceiver):
    """Takes the files of a changed or deleted row away after the commit, and what was uploaded
    for a row that was not written.

    Only those whose name no row holds any more, in any file field of any model with the same
    storage, in any database: a file that was swapped, flipped back, copied or taken over stays.
    They wait in quarantine before they are deleted for good. Costs a query before each save of a
    row, for the names that it held, and after the commit one a file field and database, if a file
    may have to go, and one more if it went. The default of a field is never taken away.
    """

    #: Names of the only file fields to clean up; all if empty.
    fields: Sequence[str] = ()
    #: Names of file fields to leave alone.
    exclude_fields: Sequence[str] = ()
    #: Further columns that may name a file, as ``"app.Model.field"``, of any type of text.
    reference_fields: Sequence[str] = ()
    #: How long a file waits in the folder ``quarantine`` of its storage before it is deleted, such
    #: as ``"30d"``. None deletes at once: nothing brings it back then.
    quarantine: str | None = "30d"
    #: The alias in ``STORAGES`` of another storage to wait in. Each file is carried there.
    quarantine_storage: str | None = None
    #: ``"snapshot"``: a save that leaves the files as they were loaded costs no query. What
    #: another has changed since is not seen then. Costs a few per cent when rows are loaded.
    old_values: Literal["database", "snapshot"] = "database"
    #: Hear ``QuerySet.update()`` too, which reads and locks its rows before it changes them.
    bulk: bool | Literal["all"] = "all"

    _examples = {**ModelReceiver._examples, "quarantine": '"30d" for 30 days'}

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
        """A last word before a file that nobody names is taken away."""
        return True

    def get_derived(self, file: StoredFile) -> Iterable[str]:
        """Names, in the same storage, of what was made from ``file`` and goes with it."""
        return ()

    def delete_file(self, file: StoredFile) -> None:
        """Take one file away: into quarantine, or for good if there is none; by ``delete()`` of
        its field file, if a class of its own has one. Runs after the commit; what it raises is
        logged, and it is tried again."""
        own = getattr(file, "own", None)
        if self.quarantine is not None:
            self._get_quarantine(file.storage).put(file.name, keep=own is not None)
            if own is not None:
                own.delete(file.name, file.using)
        elif own is None:
            file.storage.delete(file.name)
        else:
            own.delete(file.name, file.using)

    def pre_save(self, instance: Model, update_fields: Any, using: str, **kwargs: Any) -> None:
        fields, unit = self._list_written(instance, update_fields), get_unit()
        # Bulk writes read their rows together.
        is_alone = unit is not None and kwargs.get("signal") is pre_save
        if self.old_values == "snapshot" and unit is not None and is_alone:
            unit.notes[self, id(instance)] = is_same = is_as_loaded(instance, fields, using)
            if is_same:
                return
        old = get_old_row(instance, using)
        if old is None and instance._meta.parents:
            ask_old_parents(instance, at_once=self.on_error == "log")
        if self.atomic and old is not None and is_changing(instance, fields, old):
            # Of two who replace a file at once the second has to see that of the first.
            get_locked_row(instance, using)
        early = uploads.start_save(instance)
        if early:
            for field in self.get_file_fields(type(instance)):
                if field.attname in early:
                    self._note_upload(field, instance, early[field.attname], using)

    def post_save(
        self,
        instance: Model,
        created: bool | None,
        update_fields: Any,
        using: str,
        **kwargs: Any,
    ) -> None:
        unit = get_unit()
        if unit is not None and unit.notes.get((self, id(instance))):
            return
        fresh, old = uploads.end_save(instance), get_old_row(instance, using)
        if old is None:
            # A child may have been made of rows that were there.
            old = {
                name: value for _, row in get_old_parents(instance) for name, value in row.items()
            }
        fields = self._list_written(instance, update_fields)
        if created is None:
            # Of an insert with conflicts nobody knows whether the row has been written.
            for field in self.get_file_fields(type(instance)):
                self._collect(field, fresh.get(field.attname), instance, using)
        restored = instance._state.__dict__.pop(_RESTORED, ())
        new = get_new_row(instance, fields, using)
        if self.old_values == "snapshot" and unit is not None:
            note_saved(unit, instance, new)
        for field in fields:
            before, after = old.get(field.attname), new[field.attname]
            if before == after:
                continue
            if field.attname not in restored:
                self._collect(field, before, instance, using)
            if after and fresh.get(field.attname) != after:
                self._collect_taken(field, after, instance, using)

    def pre_delete(self, instance: Model, using: str, **kwargs: Any) -> None:
        get_old_row(instance, using)

    def post_delete(self, instance: Model, using: str, **kwargs: Any) -> None:
        old = get_old_row(instance, using)
        for field in self.get_file_fields(type(instance)):
            if old is not None:
                self._collect(field, old[field.attname], instance, using)

    def flush(self, items: list[StoredFile]) -> None:
        """Take away those of the collected files that no row names now. In a task, raises
        FlushFailedError for those that a storage would not give up, so that it is tried again."""
        failed: list[tuple[StoredFile, Exception]] = []
        for files in by_storage(items):
            storage = files[0].storage
            removal = Removal(self, storage, self._get_quarantine(storage))
            removal.run(files)
            failed += removal.failed
        if failed and is_of_task(items):
            # One may have failed with several of what was made of it.
            files = list({id(file): file for file, _ in failed}.values())
            names = join((repr(file.name) for file in files), most=3)
            _, error = failed[0]
            raise FlushFailedError(files, f"Files are still there: {names}.") from error

    def serialize(self, item: CollectedFile) -> dict[str, Any]:
        return pack_file(item)

    def deserialize(self, data: dict[str, Any]) -> CollectedFile:
        return unpack_file(data)

    def restore_values(
        self, instance: Model, names: Set[str], since: datetime, using: str
    ) -> None:
        # What is taken back may be wanted again: its file stays where it is.
        instance._state.__dict__.setdefault(_RESTORED, set()).update(
            field.attname for field in self.get_file_fields(type(instance)) if field.name in names
        )
        for field in self.get_file_fields(type(instance)):
            name = str(instance.__dict__.get(field.attname) or "")
            if not name or field.name not in names:
                continue
            quarantine = self._get_quarantine(field.storage)
            if quarantine.take_back(name, since):
                file = make_file(field, name, instance, using)
                collect_if_undone(self, file, using)
                Removal(self, field.storage, quarantine).bring_back_derived(file)

    def show_values(self, instance: Model, names: Set[str], at: datetime) -> None:
        for field in self.get_file_fields(type(instance)):
            if field.name in names:
                storage = PastStorage(self._get_quarantine(field.storage), at)
                show_past_file(instance, field, storage)

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
        self._check_quarantine()

    def get_old_fields(self, model: type[Model]) -> list[FileField]:
        return self.get_file_fields(model)

    def get_loaded_fields(self, model: type[Model]) -> list[FileField]:
        return self.get_file_fields(model) if self.old_values == "snapshot" else []

    def _check_quarantine(self) -> None:
        try:
            if self.quarantine is not None:
                parse_duration(self.quarantine)
        except (ValueError, AttributeError) as error:
            raise Misconfigured(
                "E052",
                f"The option 'quarantine' of {self.name} is {self.quarantine!r}, which is no "
                f"length of time.",
                f"Give {EXPECTED}, or None to delete files at once.",
            ) from error
        alias = self.quarantine_storage
        if alias is not None and alias not in storages.backends:
            raise Misconfigured(
                "E053",
                f"The option 'quarantine_storage' of {self.name} is {alias!r}, which is not in "
                f"STORAGES.",
                did_you_mean(alias, storages.backends),
            )

    def _get_quarantine(self, storage: Storage) -> Quarantine:
        alias = self.quarantine_storage
        return Quarantine(storage, None if alias is None else storages[alias])

    def _list_written(self, instance: Model, update_fields: Any) -> list[FileField]:
        return [
            field
            for field in self.get_file_fields(type(instance))
            if update_fields is None
            or field.name in update_fields
            or field.attname in update_fields
        ]

    def _hears_uploads(self, field: FileField, model: type[Model]) -> bool:
        return field in self.get_file_fields(model)

    def _note_upload(self, field: FileField, instance: Model, name: str, using: str) -> None:
        """``name`` has been uploaded for ``instance``, which may not be written after all."""
        collect_if_undone(self, self._make_file(field, name, instance, using), using)

    def _make_file(
        self, field: FileField, name: str, instance: Model, using: str
    ) -> CollectedFile:
        file = make_file(field, name, instance, using)
        if has_own_deletion(field):
            file.own = read_own_deletion(field, instance)
        return file

    def _collect(self, field: FileField, name: str | None, instance: Model, using: str) -> None:
        if name:
            file = self._make_file(field, name, instance, using)
            self.collect(file, key=(identify(field.storage), name), using=using)

    def _collect_taken(self, field: FileField, name: str, instance: Model, using: str) -> None:
        file = make_file(field, name, instance, using)
        file.is_taken = True
        self.collect(file, key=(identify(field.storage), name, "taken"), using=using)
