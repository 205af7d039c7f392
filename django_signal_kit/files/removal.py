"""Takes away the files of one storage that no row names, and brings back what one names again."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from django.core.files.storage import Storage
from django.utils import timezone

from django_signal_kit import tally
from django_signal_kit.durations import parse_duration
from django_signal_kit.files.carrying import is_another, is_of_task
from django_signal_kit.files.pending import forget, remember
from django_signal_kit.files.quarantine import Quarantine, is_in_quarantine
from django_signal_kit.files.references import find_used, get_spellings
from django_signal_kit.files.storages import exists, identify, is_safe
from django_signal_kit.files.stored import StoredFile
from django_signal_kit.signals import post_file_delete, pre_file_delete
from django_signal_kit.units.failures import report_failure
from django_signal_kit.wiring.registry import registry

if TYPE_CHECKING:
    from django_signal_kit.files.file_cleanup import FileCleanup

logger = logging.getLogger("django_signal_kit")

#: The most files that a clean-up deletes for good because their time is over.
EXPIRED_AT_ONCE = 100
#: The most names given as text that are looked for after a commit.
LOOKED_FOR = 500


class Removal:
    """What a :class:`~.file_cleanup.FileCleanup` does to files of one storage."""

    def __init__(self, receiver: FileCleanup, storage: Storage, quarantine: Quarantine) -> None:
        self.receiver = receiver
        self.storage = storage
        self.quarantine = quarantine
        #: What has been taken away, with what was made of it.
        self.removed: list[StoredFile] = []
        #: What could not be taken away, or looked after, and why.
        self.failed: list[tuple[StoredFile, Exception]] = []

    def run(self, files: list[StoredFile]) -> set[str]:
        """Take away what no row names; returns the names of what is gone."""
        taken = [file for file in files if getattr(file, "is_taken", False)]
        left = {file.name: file for file in files if not getattr(file, "is_taken", False)}
        left = {name: file for name, file in left.items() if self._may_go(file)}
        spellings = get_spellings(self.storage, left)
        used = self._find_used(list(left), spellings)
        gone = [name for name in left if name not in used and self.remove(left[name])]
        if gone and self.receiver.quarantine is not None:
            # A transaction may have named it since, and not have seen it go.
            for name in self._find_used(gone, spellings):
                gone.remove(name)
                self._bring_back(left[name])
        for file in taken[:LOOKED_FOR]:
            if file.name not in gone and is_safe(file.name):
                self._make_sure(file)
        if gone:
            self._expire()
        if is_of_task(files):
            forget(self.removed)
        return set(gone)

    def remove(self, file: StoredFile) -> bool:
        """Take one file away, with what was made of it. False if it stays."""
        try:
            if not self.receiver.should_delete(file):
                return False
            derived = [*self.receiver.get_derived(file)]
        except Exception as error:
            self._fail(file, error)
            return False
        if not self._remove_one(file, file):
            return False
        for name in derived:
            self._remove_one(StoredFile(file.storage, name, *file[2:]), file)
        return True

    def _fail(self, file: StoredFile, error: Exception) -> None:
        """One file leaves the others to their fate. In a task it is tried again."""
        self.failed.append((file, error))
        if not is_of_task([file]):
            report_failure(self.receiver, "flush", error)

    def _remove_one(self, file: StoredFile, whole: StoredFile) -> bool:
        """Take away ``file``, which is ``whole`` or was made of it."""
        if is_of_task([whole]) and not exists(file.storage, file.name):
            # An earlier attempt has been here.
            self.removed.append(file)
            return True
        sent = {
            "storage": file.storage,
            "name": file.name,
            "receiver": self.receiver,
            "model": file.model,
            "field": file.field,
            "key": file.key,
            "using": file.using,
        }
        sender = type(self.receiver)
        try:
            answers = pre_file_delete.send(sender=sender, **sent)
        except Exception as error:
            self._fail(whole, error)
            return False
        veto: Any = False
        if any(answer is veto for _, answer in answers):
            return False
        failure: Exception | None = None
        try:
            self.receiver.delete_file(file)
        except Exception as error:
            failure = error
            self._fail(whole, error)
            remember(file, self.receiver.name, error)
        else:
            self.removed.append(file)
            tally.add(self.receiver.name, "files_removed")
        try:
            success = failure is None
            post_file_delete.send(sender=sender, **sent, success=success, exception=failure)
        except Exception as error:
            report_failure(self.receiver, "flush", error)
        return failure is None

    def _may_go(self, file: StoredFile) -> bool:
        if not is_safe(file.name):
            logger.warning(
                "%s leaves %r alone: the name leads out of its storage",
                self.receiver.name,
                file.name,
            )
            return False
        return not is_in_quarantine(file.name) and not is_another(file)

    def _find_used(self, names: list[str], spellings: dict[str, set[str]]) -> set[str]:
        if not names:
            return set()
        references = self.receiver.reference_fields
        return find_used(self.receiver.name, self.storage, names, references, spellings)

    def _make_sure(self, file: StoredFile) -> None:
        """A row names it, by a name that was given as text: it may have been on its way out."""
        try:
            if self.storage.exists(file.name):
                return
        except Exception as error:
            self._fail(file, error)
            return
        self._bring_back(file)

    def _bring_back(self, file: StoredFile) -> None:
        try:
            if self.quarantine.take_back(file.name):
                self.bring_back_derived(file)
        except Exception as error:
            self._fail(file, error)

    def bring_back_derived(self, file: StoredFile) -> None:
        try:
            for name in self.receiver.get_derived(file):
                if not self.storage.exists(name):
                    self.quarantine.take_back(name)
        except Exception as error:
            report_failure(self.receiver, "flush", error)

    def _expire(self) -> None:
        try:
            expire(self.receiver, self.quarantine, EXPIRED_AT_ONCE)
        except Exception as error:
            report_failure(self.receiver, "flush", error)


def expire(receiver: FileCleanup, quarantine: Quarantine, limit: int | None = None) -> int:
    """Delete for good what has waited its time; where several receivers have files wait in one
    place, the longest of their times. Returns how many files."""
    now = timezone.now()
    place = identify(quarantine.target)
    moments = []
    for other in {receiver, *registry.receivers}:
        text: Any = getattr(other, "quarantine", None)
        if isinstance(other, type(receiver)) or other is receiver:
            target = other._get_quarantine(quarantine.storage).target
            if text is not None and identify(target) == place:
                moments.append(parse_duration(text).before(now))
    return quarantine.expire(min(moments).date(), limit) if moments else 0
