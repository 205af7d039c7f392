"""How each package is used as its documentation says, and how what it tells is read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import uuid4

from django.apps import apps
from django.db import connection, connections, transaction
from django.db.models import Model
from django.utils import timezone

from django_signal_kit.audit.entries import Entry
from django_signal_kit.rows.inserting import insert

#: Stands for an old value, where a package keeps only what came out.
UNTOLD = "(untold)"

#: Row -> field -> (old, new) as text; for "tags" the keys that were added.
Story = dict[str, dict[str, Any]]


class Package:
    """Django alone; the others change what they have to."""

    #: Name in the package index.
    distribution = "Django"
    #: Models of the log.
    log: tuple[str, ...] = ()
    #: The only operations that it is about; all if empty.
    operations: tuple[str, ...] = ()

    def set_up(self) -> None:
        """Called once the tables are there."""

    def writing(self) -> AbstractContextManager[Any]:
        """What a project puts round its writes."""
        return nullcontext()

    def save(self, item: Any) -> None:
        item.save()

    def bulk_create(self, model: type[Model], objs: list[Any]) -> Any:
        return model._default_manager.bulk_create(objs)

    def bulk_update(self, model: type[Model], objs: list[Any], fields: list[str]) -> Any:
        return model._default_manager.bulk_update(objs, fields)

    def update(self, queryset: Any, **values: Any) -> Any:
        return queryset.update(**values)

    def forget(self) -> None:
        """Empty the log."""
        for label in self.log:
            empty(apps.get_model(label))

    def read(self) -> Iterable[tuple[str, dict[str, Any]]]:
        """``(key of the row, what is told of it)`` for each entry of the log."""
        return ()

    def get_story(self) -> tuple[int, Story]:
        """How many entries there are, and what they tell together."""
        story: Story = {}
        count = 0
        for key, values in self.read():
            count += 1
            told = story.setdefault(key, {})
            for name, value in values.items():
                told[name] = told.get(name, set()) | value if name == "tags" else value
        return count, story


class Kit(Package):
    distribution = "django-signal-kit"
    log = ("signal_kit_audit.AuditEntry",)

    def read(self) -> Iterable[tuple[str, dict[str, Any]]]:
        for entry in apps.get_model(self.log[0]).objects.order_by("id"):
            changes = dict(entry.changes)
            if "tags" in changes:
                changes["tags"] = set(map(str, changes["tags"]["added"]))
            yield entry.object_pk, pick(changes)


class KitTriggers(Kit):
    def set_up(self) -> None:
        from tests.audit.capture.installing import install

        install()


class AuditLog(Package):
    distribution = "django-auditlog"
    log = ("auditlog.LogEntry",)

    def read(self) -> Iterable[tuple[str, dict[str, Any]]]:
        keys = get_tag_keys()
        for entry in apps.get_model(self.log[0]).objects.order_by("id"):
            changes = dict(entry.changes)
            if "tags" in changes:
                changes["tags"] = {keys[name] for name in changes["tags"]["objects"]}
            yield entry.object_pk, pick(changes)


class SimpleHistory(Package):
    distribution = "django-simple-history"
    log = ("peers.HistoricalItem_tags", "peers.HistoricalItem")

    def bulk_create(self, model: type[Model], objs: list[Any]) -> Any:
        from simple_history.utils import bulk_create_with_history

        return bulk_create_with_history(objs, model)

    def bulk_update(self, model: type[Model], objs: list[Any], fields: list[str]) -> Any:
        from simple_history.utils import bulk_update_with_history

        return bulk_update_with_history(objs, model, fields)

    def read(self) -> Iterable[tuple[str, dict[str, Any]]]:
        tags: dict[Any, set[str]] = {}
        for history, tag in apps.get_model(self.log[0]).objects.values_list("history", "tag"):
            tags.setdefault(history, set()).add(str(tag))
        for row in apps.get_model(self.log[1]).objects.order_by("history_id"):
            told = pick({"price": [UNTOLD, row.price], "stock": [UNTOLD, row.stock]})
            yield str(row.id), told | {"tags": tags.get(row.pk, set())}


class EasyAudit(Package):
    distribution = "django-easy-audit"
    log = ("easyaudit.CRUDEvent",)

    def read(self) -> Iterable[tuple[str, dict[str, Any]]]:
        for event in apps.get_model(self.log[0]).objects.order_by("id"):
            if event.event_type == event.M2M_ADD:
                # Written as the text of a Python dict.
                given = event.changed_fields.replace("'", '"')
                yield event.object_id, {"tags": set(map(str, json.loads(given)["tags"]))}
            elif event.event_type == event.UPDATE:
                yield event.object_id, pick(json.loads(event.changed_fields) or {})
            else:
                [row] = json.loads(event.object_json_repr)
                yield event.object_id, pick_new(row["fields"])


class PgHistory(Package):
    distribution = "django-pghistory"
    log = ("peers.ItemEvent", "peers.ItemTagsEvent")

    def set_up(self) -> None:
        import pgtrigger

        pgtrigger.install()

    def read(self) -> Iterable[tuple[str, dict[str, Any]]]:
        for event in apps.get_model(self.log[0]).objects.order_by("pgh_id"):
            yield str(event.pgh_obj_id), pick_new({"price": event.price, "stock": event.stock})
        for event in apps.get_model(self.log[1]).objects.order_by("pgh_id"):
            yield str(event.item_id), {"tags": {str(event.tag_id)}}


class Reversion(Package):
    distribution = "django-reversion"
    log = ("reversion.Version", "reversion.Revision")

    def writing(self) -> AbstractContextManager[Any]:
        import reversion

        return reversion.create_revision()

    def bulk_create(self, model: type[Model], objs: list[Any]) -> Any:
        import reversion

        for obj in super().bulk_create(model, objs):
            reversion.add_to_revision(obj)

    def read(self) -> Iterable[tuple[str, dict[str, Any]]]:
        for version in apps.get_model(self.log[0]).objects.order_by("id"):
            [row] = json.loads(version.serialized_data)
            tags = set(map(str, row["fields"].get("tags", ())))
            yield version.object_id, pick_new(row["fields"]) | {"tags": tags}


class ByHand(Package):
    """No package: the rows are read, written and told of in three statements."""

    distribution = ""
    log = ("peers.Entry",)
    operations = ("create", "update", "unchanged save", "queryset.update 1,000")

    def save(self, item: Any) -> None:
        names = [field.attname for field in item._meta.concrete_fields]
        with transaction.atomic():
            before = [None] * len(names)
            if not item._state.adding:
                rows = type(item)._base_manager.select_for_update()
                before = list(rows.values_list(*names).get(pk=item.pk))
            item.save()
            changes = {
                name: [None if old is None else str(old), str(item.__dict__[name])]
                for name, old in zip(names, before, strict=True)
                if old != item.__dict__[name]
            }
            if changes:
                with connection.cursor() as cursor:
                    cursor.execute(
                        "INSERT INTO peers_entry (at, item_pk, changes) VALUES (%s, %s, %s)",
                        [
                            connection.ops.adapt_datetimefield_value(timezone.now()),
                            item.pk,
                            json.dumps(changes),
                        ],
                    )

    def update(self, queryset: Any, **values: Any) -> Any:
        entry = apps.get_model(self.log[0])
        names = list(values)
        with transaction.atomic():
            rows = list(queryset.select_for_update().values_list("pk", *names))
            queryset.update(**values)
            entry.objects.bulk_create(
                entry(
                    item_pk=pk,
                    changes={
                        name: [str(before), str(values[name])]
                        for name, before in zip(names, old, strict=True)
                        if before != values[name]
                    },
                )
                for pk, *old in rows
            )

    def read(self) -> Iterable[tuple[str, dict[str, Any]]]:
        for entry in apps.get_model(self.log[0]).objects.order_by("id"):
            yield str(entry.item_pk), pick(entry.changes)


class Least(Kit):
    """What a log that Python writes costs at least: a transaction, the old row, and an entry of
    the kit's that somebody has made before. Nothing is compared, or made into JSON."""

    distribution = ""
    operations = ("create", "update", "unchanged save")

    def set_up(self) -> None:
        item = apps.get_model("peers.Item")
        entry = apps.get_model(self.log[0])
        quote = connection.ops.quote_name
        columns = [quote(field.column) for field in item._meta.concrete_fields]
        self.select = f"SELECT {', '.join(columns)} FROM peers_item WHERE id = %s"
        if connection.features.has_select_for_no_key_update:
            self.select += " FOR NO KEY UPDATE"
        elif connection.features.has_select_for_update:
            self.select += " FOR UPDATE"
        self.kind = apps.get_model("contenttypes.ContentType").objects.get_for_model(item).pk
        self.insert = partial(insert, entry, Entry._fields)

    def save(self, item: Any) -> None:
        with transaction.atomic():
            changes = _CREATED
            if not item._state.adding:
                with connection.cursor() as cursor:
                    cursor.execute(self.select, [item.pk])
                    cursor.fetchone()
                changes = _UPDATED
            item.save()
            if changes is _CREATED or item.stock != 3:
                self.insert([self.make(item, changes)], connections["default"], is_last=True)

    def make(self, item: Any, changes: str) -> tuple[Any, ...]:
        at, unit = connection.ops.adapt_datetimefield_value(timezone.now()), uuid4().hex
        key, action = str(item.pk), "create" if changes is _CREATED else "update"
        return at, action, self.kind, key, item.name, changes, None, "", "{}", unit, "default"


_CREATED = json.dumps(
    {
        "name": [None, "Item"],
        "slug": [None, "item"],
        "description": [None, "What is said of an item. " * 4],
        "price": [None, "9.50"],
        "stock": [None, 3],
        "is_active": [None, True],
        "data": [None, {"colours": ["red", "green"], "weight": 1}],
        "published_at": [None, "2026-01-01T00:00:00+00:00"],
        "category": [None, 1],
    }
)
_UPDATED = json.dumps({"price": ["9.50", "12.25"], "stock": [3, 4]})


PACKAGES: dict[str, Package] = {
    "bare": Package(),
    "kit-database": Kit(),
    "kit-snapshot": Kit(),
    "kit-triggers": KitTriggers(),
    "auditlog": AuditLog(),
    "simple-history": SimpleHistory(),
    "easy-audit": EasyAudit(),
    "pghistory": PgHistory(),
    "reversion": Reversion(),
    "by-hand": ByHand(),
    "least": Least(),
}


def pick(changes: dict[str, Any]) -> dict[str, Any]:
    """What is compared of the changes of an entry: the price and the stock as text, the tags."""
    told = {
        name: tuple(to_text(name, value) for value in changes[name])
        for name in ("price", "stock")
        if name in changes
    }
    return told | ({"tags": changes["tags"]} if "tags" in changes else {})


def pick_new(fields: dict[str, Any]) -> dict[str, Any]:
    return pick({name: [UNTOLD, fields[name]] for name in ("price", "stock")})


def to_text(name: str, value: Any) -> str:
    if value in (None, "None", UNTOLD):
        return UNTOLD if value == UNTOLD else "None"
    return f"{Decimal(value):.2f}" if name == "price" else str(value)


def get_tag_keys() -> dict[str, str]:
    tags = apps.get_model("peers.Tag").objects.values_list("name", "pk")
    return {name: str(pk) for name, pk in tags}


def empty(model: type[Model]) -> None:
    """Delete all rows, and leave the table as if it had never had any."""
    quoted = connection.ops.quote_name(model._meta.db_table)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"TRUNCATE {quoted} CASCADE")
        else:
            cursor.execute(f"DELETE FROM {quoted}")
