"""A ``create`` entry for each row that was there before the log."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from django.db import connections, router
from django.db.models import Field, Model, QuerySet

from django_signal_kit.audit.audit_log import AuditLog
from django_signal_kit.audit.databases import get_log_alias
from django_signal_kit.audit.decoding import NotDecodable, decode
from django_signal_kit.audit.entries import get_entry_model, get_kind
from django_signal_kit.audit.keys import get_key_writer
from django_signal_kit.audit.plans import Stamps
from django_signal_kit.audit.upkeep.before import History
from django_signal_kit.audit.upkeep.covered import (
    get_covering,
    get_linked_fields,
    get_rows,
    read_links,
    walk_keys,
)
from django_signal_kit.current import context
from django_signal_kit.rows.columns import get_columns
from django_signal_kit.rows.database import lock_rows
from django_signal_kit.rows.snapshots import get_old_row, note_read
from django_signal_kit.rows.values import UNKNOWN, to_json
from django_signal_kit.units.batch import batch
from django_signal_kit.units.unit import get_unit


class Backfill:
    """Records the rows of ``model`` that the log does not know to have been created.

    Each ``chunk`` of rows is locked, looked up once more and recorded in one transaction. So no
    row gets two entries, whoever writes meanwhile, and a broken run leaves whole chunks behind.
    A row that has been changed under the log is recorded as it was before that.
    """

    def __init__(
        self,
        receiver: AuditLog,
        model: type[Model],
        *,
        using: str | None = None,
        chunk: int = 500,
        dry_run: bool = False,
    ) -> None:
        self.receiver = receiver
        self.model = model
        self.using = using or router.db_for_write(model)
        self.chunk = chunk
        self.dry_run = dry_run
        self.to_key = get_key_writer(model)
        log = get_log_alias(self.using)
        self.entries: QuerySet[Any, Any] = QuerySet(get_entry_model(), using=log).filter(
            content_type=get_kind(model, log), using=self.using
        )
        #: How many rows have been recorded, or would be.
        self.count = 0

    def run(self) -> Iterator[int]:
        """Record. Gives after each chunk how many rows of the table have been looked at."""
        looked_at = 0
        for keys in walk_keys(self.get_rows(), self.chunk):
            missing = self._find_missing(keys)
            if self.dry_run:
                self.count += len(missing)
            elif missing:
                self.record_chunk(missing)
            looked_at += len(keys)
            yield looked_at

    def record_chunk(self, keys: Sequence[Any]) -> None:
        """Record, in one transaction, those of these rows that still have no entry."""
        with batch(self.using):
            # First the lock, then the links, then the entries: what a writer adds in between is
            # in the entries at least, and taken back.
            locked = self._lock(keys)
            values = {row.pk: row.__dict__ for row in locked}
            links = {
                field: read_links(field, values, self.using)
                for field in get_linked_fields(self.receiver, self.model)
            }
            missing = set(self._find_missing([row.pk for row in locked]))
            rows = [row for row in locked if row.pk in missing]
            histories = self._read_histories(rows)
            columns = list(get_columns(self.model).values())
            note_read(get_unit(), self.model, rows, columns)  # type: ignore[arg-type]
            count = 0
            for row in rows:
                count += self._record(row, histories[self.to_key(row.pk)], links)
        self.count += count

    def get_rows(self) -> QuerySet[Any, Any]:
        """The rows to look at."""
        return get_rows(self.receiver, self.model, self.using)

    def _find_missing(self, keys: Sequence[Any]) -> list[Any]:
        """Of these rows those of whose present life the log has no beginning."""
        texts = [self.to_key(key) for key in keys]
        told = self.entries.filter(object_pk__in=texts, action__in=("create", "delete"))
        last = dict(told.order_by("pk").values_list("object_pk", "action"))
        return [key for key, text in zip(keys, texts, strict=True) if last.get(text) != "create"]

    def _lock(self, keys: Sequence[Any]) -> list[Any]:
        rows = self.get_rows().filter(pk__in=keys).order_by("pk")
        return list(lock_rows(rows, connections[self.using]))

    def _read_histories(self, rows: Sequence[Model]) -> dict[str, History]:
        stamps = Stamps.of(self.model, self._get_kept())
        histories: dict[str, History] = defaultdict(partial(History, stamps))
        entries = self.entries.filter(object_pk__in=[self.to_key(row.pk) for row in rows])
        fields = entries.order_by("pk").values_list("pk", "object_pk", "action", "changes")
        for id, key, action, changes in fields.iterator(chunk_size=2000):
            if action == "delete":
                # Another row, which had this key before.
                histories.pop(key, None)
            else:
                histories[key].add(id, changes)
        return histories

    def _get_kept(self) -> list[str]:
        """The names of the fields whose updates are told though they be stamps."""
        if not self.receiver.stamps:
            return []
        return [field.name for field in self.receiver.list_fields(self.model)]

    def _record(self, row: Any, history: History, links: dict[Any, dict[Any, set[Any]]]) -> bool:
        values = dict(get_old_row(row, self.using) or {})
        for field in self.model._meta.concrete_fields:
            if field.name in history.values and field.attname in values:
                value = _revive(field, history.values[field.name])
                values[field.attname] = row.__dict__[field.attname] = value
            if field.name in history.untold and field.attname in values:
                values[field.attname] = UNKNOWN
        changes = self.receiver.get_changes(row, None, values)
        told = {} if history.first is None else {"precedes": history.first}
        with context(reason="backfill", **told):
            self.receiver.record(row, "create", changes, using=self.using)
            for field, found in links.items():
                added = _rewind(found[row.pk], history.links[field.name])
                if added:
                    change = {field.name: {"added": added}}
                    self.receiver.record(row, "m2m_add", change, using=self.using)
        return self.receiver.should_record(row, "create", changes)


def get_backfills(labels: Collection[str] = (), **options: Any) -> list[Backfill]:
    """One for each model that an AuditLog covers, or for each of ``labels`` ("shop.Cart",
    "shop.*"). Raises LookupError for a label that none covers."""
    return [Backfill(*covered, **options) for covered in get_covering(labels)]


def _revive(field: Field[Any, Any], stored: Any) -> Any:
    """A value of an entry as the field has it; as it is if the field does not understand it."""
    with suppress(NotDecodable):
        return decode(field, stored)
    return stored


def _rewind(present: set[Any], history: dict[str, bool]) -> list[Any]:
    """The links that were there before the first entry."""
    keys = {json.dumps(to_json(key)) for key in present}
    keys = {key for key in keys if history.get(key, True)}
    keys |= {key for key, was_there in history.items() if was_there}
    return sorted(map(json.loads, keys), key=lambda key: (type(key).__name__, key))
