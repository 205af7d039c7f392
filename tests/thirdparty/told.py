"""What the audit log tells, by table and row."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model

from django_signal_kit.audit.models import AuditEntry

_ACTIONS = {"create": "insert", "delete": "delete"}


class Told:
    """All entries that there are. Who finds his own takes it: it tells of one change only."""

    def __init__(self) -> None:
        #: (table, action, key) -> how many entries.
        self.rows: Counter[tuple[str, str, str]] = Counter()
        #: (table, key) -> the fields that were updated.
        self.updates: dict[tuple[str, str], set[str]] = defaultdict(set)
        #: (table, key, field, action, key of the other side) -> how many entries.
        self.links: Counter[tuple[str, str, str, str, str]] = Counter()
        #: Tables of rows that may have been made, or not: who they are is not known.
        self.uncertain: set[str] = set()
        types = {
            pk: (app_label, name)
            for pk, app_label, name in ContentType.objects.values_list("pk", "app_label", "model")
        }
        entries = AuditEntry.objects.order_by("id")
        names = ("content_type_id", "object_pk", "action", "changes", "context")
        for type_id, *told in entries.values_list(*names):
            if type_id in types:
                for table in _list_tables(apps.get_model(*types[type_id])):
                    self._note(table, *told)

    def _note(self, model: type[Model], key: str, action: str, changes: Any, context: Any) -> None:
        table = model._meta.db_table
        changes = {name: change for name, change in changes.items() if _is_own(model, name)}
        if not context.get("certain", True):
            self.uncertain.add(table)
        elif action == "update":
            self.updates[table, key].update(changes)
        elif action in _ACTIONS:
            self.rows[table, _ACTIONS[action], key] += 1
        else:
            for name, sides in changes.items():
                for side, members in sides.items():
                    done = "insert" if side == "added" else "delete"
                    self.links.update((table, key, name, done, str(pk)) for pk in members)

    def take_row(self, table: str, action: str, key: str) -> bool:
        return _take(self.rows, (table, action, key)) or (
            action == "insert" and table in self.uncertain
        )

    def take_link(self, link: tuple[str, str, str, str, str]) -> bool:
        return _take(self.links, link)

    def list_rest(self, happened: dict[tuple[str, str], set[str]]) -> Iterator[str]:
        """What is told, and did not happen; ``happened``: (table, key) -> updated fields."""
        for kind in (self.rows, self.links):
            for what, count in kind.items():
                if count > 0:
                    yield f"told, and did not happen: {what} ({count} times)"
        for row, names in self.updates.items():
            if extra := names - happened.get(row, set()):
                yield f"told, and did not happen: {row} got another {sorted(extra)}"


def _take(counter: Counter[Any], what: Any) -> bool:
    if counter[what] <= 0:
        return False
    counter[what] -= 1
    return True


def _list_tables(model: type[Model]) -> list[type[Model]]:
    """The models whose tables a row of ``model`` is in."""
    concrete: Any = model._meta.concrete_model
    return [concrete, *(parent for parent in concrete._meta.all_parents if not parent._meta.proxy)]


def _is_own(model: type[Model], name: str) -> bool:
    fields = (*model._meta.local_concrete_fields, *model._meta.local_many_to_many)
    return any(field.name == name for field in fields)
