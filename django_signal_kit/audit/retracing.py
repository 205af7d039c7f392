"""A row on its way back through what the log tells of it."""

from __future__ import annotations

from typing import Any

from django.db.models import Field, Model

from django_signal_kit.audit.decoding import NotDecodable, NotKept, decode, is_same_column
from django_signal_kit.audit.plans import Stamps
from django_signal_kit.audit.told import Told
from django_signal_kit.rows.values import UNKNOWN, encode_sorted, to_json

#: What the entry of a creation does not have, though the row must have had something.
NOTHING = object()


class HistoryIncomplete(ValueError):  # noqa: N818
    """The log cannot tell what a row was."""


class Past:
    """Each ``undo`` takes back what one entry tells, the newest first. Then each ``compare`` looks
    at an older one, until it returns True: the row has to be what the entries of before have left.

    What entries tell is decoded at the end: a value that nobody can know does no harm if an older
    entry says what it was before.
    """

    def __init__(
        self,
        model: type[Model],
        recorded: set[str],
        stamps: Stamps,
        today: dict[str, Any] | None,
    ) -> None:
        self.label = model._meta.label
        self.stamps = stamps
        self.fields: dict[str, Field[Any, Any]] = {
            field.name: field for field in model._meta.concrete_fields
        }
        self.recorded = recorded
        self.today = today or {}
        self.exists = today is not None
        #: Values as entries have them, by name.
        self.stored: dict[str, Any] = {
            name: str(UNKNOWN) for name in self.fields if name not in self.recorded
        }
        #: The entry that may have made the row, or may not.
        self.doubt: Any = None
        self.was_created = False
        #: Field -> why it may have been another. An older entry that has it says that it was not.
        self.unsure: dict[str, str] = {}
        #: Stamp -> the entry of an update that does not tell what it was before. An older one may.
        self.untold: dict[str, Any] = {}
        #: Field -> why it may be what an entry has by another name, with the very value.
        self.namesakes: dict[str, str] = {}
        #: What the entries of before have left: field -> the entry, and the value.
        self.before: dict[str, tuple[Any, Any]] = {}
        #: The newest entry of before that says whether there was a row.
        self.last: Told | None = None

    def undo(self, entry: Told) -> None:
        if entry.action == "update":
            self._undo_update(entry)
        elif entry.action == "delete":
            if entry.is_own or (entry.is_whole and not self.exists):
                self._undo_delete(entry)
        elif entry.relation != "parent" and entry.context.get("reason") != "backfill":
            self._undo_create(entry)

    def compare(self, entry: Told) -> bool:
        """Returns whether older entries say nothing more."""
        if self.last is None and entry.is_whole:
            # A child may have left its parent behind.
            if entry.is_own or entry.action != "delete" or not self.exists:
                self.last = entry
            if entry.action != "delete":
                self.doubt = None
        for name, change in entry.changes.items():
            self.unsure.pop(name, None)
            if change[1] != str(UNKNOWN):
                self.untold.pop(name, None)
        if entry.action == "delete":
            return entry.is_own
        if "precedes" in entry.context:
            # A backfill: what the row was earlier than that.
            return False
        for name, change in entry.changes.items():
            value = str(UNKNOWN) if entry.is_statement else change[1]
            self.before.setdefault(name, (entry.pk, value))
        if entry.action != "create" or not entry.is_whole:
            return False
        self.unsure.clear()
        self.untold.clear()
        for name, field in self.fields.items():
            value = None if field.null else NOTHING
            self.before.setdefault(name, (entry.pk, value if entry.is_certain else str(UNKNOWN)))
        return True

    def get(self, name: str) -> Any:
        """What a field held. Raises HistoryIncomplete."""
        field = self.fields[name]
        if name in self.stored:
            try:
                value = decode(field, self.stored[name])
            except NotDecodable as error:
                why = "" if name in self.recorded else " No AuditLog that is wired records it."
                raise HistoryIncomplete(f"{error}{why}") from error
        else:
            value = self.today[field.attname]
        # Its key is what the row was found by.
        if not field.primary_key:
            self._check_name(field)
            self._check_stamp(field)
            self._check_value(field, value)
        return value

    def check_existence(self) -> None:
        """Raises HistoryIncomplete if the row came or went without being heard."""
        last = self.last
        if last is None or self.exists is (last.action != "delete"):
            return
        told = "deleted" if last.action == "delete" else "told of"
        then = "came back" if last.action == "delete" else "went"
        raise HistoryIncomplete(
            f"Entry {last.pk} {told} a row of {self.label}, and no entry tells when it {then}."
        )

    def _undo_update(self, entry: Told) -> None:
        if not entry.is_statement:
            if not self.exists:
                raise HistoryIncomplete(
                    f"Entry {entry.pk} changed a row of {self.label} that is gone since, and no "
                    f"entry tells how it went."
                )
            self.doubt = None
        for name, change in entry.gone.items():
            self._suspect(entry, name, change[1])
        self.untold.update(dict.fromkeys(self.stamps.get_untold(entry.changes), entry.pk))
        for name, change in entry.changes.items():
            self.stored[name] = change[0]
            self.untold.pop(name, None)
            self.unsure.pop(name, None)
            self.namesakes.pop(name, None)

    def _undo_delete(self, entry: Told) -> None:
        self.exists, self.doubt, self.was_created = True, None, False
        self.unsure.clear()
        self.untold.clear()
        self.namesakes.clear()
        for name, field in self.fields.items():
            if name in entry.changes:
                self.stored[name] = entry.changes[name][0]
            else:
                # What was NULL is not in the entry of a deletion, nor what had another name.
                is_null = field.null and name in self.recorded and not entry.gone
                self.stored[name] = None if is_null else str(UNKNOWN)

    def _undo_create(self, entry: Told) -> None:
        if entry.is_own and entry.is_certain:
            self.exists, self.doubt, self.was_created = False, None, True
        elif entry.relation == "sibling":
            # Another child of the same parent: saving it has written what they share.
            self.stored.update(
                (name, str(UNKNOWN)) for name in entry.changes if not self.fields[name].primary_key
            )
        elif self.exists:
            self.doubt = entry.pk
            for name, field in self.fields.items() if entry.is_whole else ():
                self.unsure.setdefault(
                    name,
                    f"{field} is not known: entry {entry.pk} tells what it was when the row "
                    f"became that of a child, and not what it had been.",
                )
        if not entry.is_certain:
            self.stored = dict.fromkeys(self.fields, str(UNKNOWN))

    def _suspect(self, entry: Told, gone: str, value: Any) -> None:
        """Any field that ``entry`` does not name may have had that name."""
        for name, field in self.fields.items():
            if name in entry.changes or field.primary_key:
                continue
            why = (
                f"{field} is not known: entry {entry.pk} tells of {gone!r}, which is no field any "
                f"more, and may be what {name} was called."
            )
            held = self.stored[name] if name in self.stored else self._get_today(field)
            if held == value:
                self.namesakes.setdefault(name, why)
            elif held is not None:
                # It may have got another type with its name; but a value does not get lost.
                self.unsure.setdefault(name, why)

    def _get_today(self, field: Field[Any, Any]) -> Any:
        return to_json(self.today[field.attname]) if self.today else NOTHING

    def _check_name(self, field: Field[Any, Any]) -> None:
        why = self.namesakes.get(field.name) or self.unsure.get(field.name)
        if why:
            raise HistoryIncomplete(why)

    def _check_stamp(self, field: Field[Any, Any]) -> None:
        """Raises HistoryIncomplete for a stamp that has changed, or may have, without an entry."""
        name = field.name
        if name in self.untold:
            raise HistoryIncomplete(
                f"{field} is not known: it is a stamp, and entry {self.untold[name]} does not "
                f"tell what it was before."
            )
        if name in self.stamps.lost and self.before.get(name, (None, str(UNKNOWN)))[1] == str(
            UNKNOWN
        ):
            raise HistoryIncomplete(
                f"{field} is not known: it is a stamp, which an AuditLog without stamps=True "
                f"leaves out of updates."
            )

    def _check_value(self, field: Field[Any, Any], value: Any) -> None:
        entry, stored = self.before.get(field.name, (None, str(UNKNOWN)))
        if stored is NOTHING:
            raise HistoryIncomplete(
                f"{field} is not known: entry {entry} tells what the row was created with, "
                f"without that. It was added since, or not recorded then; the log does not tell "
                f"how long."
            )
        try:
            is_same = is_as_told(field, stored, value)
        except NotDecodable as error:
            raise HistoryIncomplete(f"Entry {entry}: {error}") from error
        if is_same is False:
            raise HistoryIncomplete(
                f"{field} is not known: after entry {entry} it has changed, and no entry tells "
                f"when."
            )


def is_as_told(field: Field[Any, Any], stored: Any, value: Any) -> bool | None:
    """Does ``field`` hold what an entry has ``stored``? None if the log does not have the value.
    Raises NotDecodable if the field does not understand it."""
    try:
        # True equals 1, and is another JSON.
        return encode_sorted(stored) == encode_sorted(to_json(value)) or is_same_column(
            field, decode(field, stored), value
        )
    except NotKept:
        return None
