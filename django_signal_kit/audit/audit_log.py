"""Who changed what, from what to what, in the transaction of the change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

from django.core.checks import CheckMessage
from django.db.models import Field, Model

from django_signal_kit.audit.at_once import make_created, make_updated
from django_signal_kit.audit.capture.choosing import list_warnings
from django_signal_kit.audit.capture.specifying import find_obstacle, hears_cascades
from django_signal_kit.audit.changes import Changes, compare, leave_out, tell_links
from django_signal_kit.audit.configuration import check_options
from django_signal_kit.audit.entries import Entry, get_known
from django_signal_kit.audit.keys import get_secrets
from django_signal_kit.audit.lines import write
from django_signal_kit.audit.recording import CERTAIN, UNCERTAIN, Recorder, is_told_already
from django_signal_kit.current import get_context, get_details
from django_signal_kit.middleware import get_missing
from django_signal_kit.receiver import ModelReceiver
from django_signal_kit.rows.asked import ask_new_row, ask_old_row, ask_old_rows
from django_signal_kit.rows.columns import Column, get_unknown
from django_signal_kit.rows.database import Row
from django_signal_kit.rows.fields import is_in_own_table, may_change
from django_signal_kit.rows.memory import get_loaded_row, note_saved
from django_signal_kit.rows.parents import ask_old_parents, cast_up, get_old_parents
from django_signal_kit.rows.secrets import is_token_model
from django_signal_kit.rows.snapshots import (
    get_new_values,
    get_old_row,
    has_no_row,
    is_upsert,
)
from django_signal_kit.rows.values import UNKNOWN, is_known
from django_signal_kit.rows.written import as_written, is_noted
from django_signal_kit.units.unit import FlushOn, get_unit
from django_signal_kit.wiring.catalog import BULK_SIGNALS
from django_signal_kit.wiring.idle import overrides
from django_signal_kit.wiring.registry import registry
from django_signal_kit.wiring.senders import Coverage
from django_signal_kit.writes import bulk
from django_signal_kit.writes.calls import tell_links_changed
from django_signal_kit.writes.instances import (
    is_sent_by_hand,
    is_told_again,
    was_created_in_bulk,
)
from django_signal_kit.writes.links import SOURCE, TARGET, LinkChange
from django_signal_kit.writes.matched import get_parts
from django_signal_kit.writes.rowwise import in_progress

_NONE: frozenset[str] = frozenset()


class AuditLog(ModelReceiver):
    """Writes one entry for each change of a covered row, or none if nothing changed.

    Hears saves, deletions and many-to-many changes from both sides. Entry and change are in one
    transaction, which is opened in autocommit; both are kept or neither. Needs the app
    ``django_signal_kit.audit``.
    """

    flush_on: FlushOn = "before_commit"

    #: Names of the only fields to record; all if empty.
    fields: Sequence[str] = ()
    #: Names of fields never to record.
    exclude_fields: Sequence[str] = ()
    #: Parts of names, beside "password", "token" and the like, whose values are replaced whole.
    redact: Sequence[str] = ()
    #: Replace secrets by a keyed hash, so that the log shows that they changed; costs some
    #: microseconds a secret.
    hash_secrets: bool = False
    #: Record what updates make of stamps (``auto_now``, fields of LastModified), and those that
    #: change nothing else.
    stamps: bool = False
    #: Record many-to-many changes; costs a query before each, to know what really changes.
    m2m: bool = True
    #: Hear ``QuerySet.update()`` too, which reads and locks its rows before it changes them.
    #: ``"statement"``: one entry for each bulk write, which reads nothing and names no row.
    bulk: bool | Literal["all", "statement"] = "all"  # type: ignore[assignment]
    #: Where old values come from. ``"database"``: the row, read and locked before the write (one
    #: query). ``"snapshot"``: what was loaded into the instance; no query, but not what another
    #: writer has made of the row since, and unknown for an instance that was made by hand.
    old_values: Literal["database", "snapshot"] = "database"
    #: ``"strict"``: entry and change are both kept or neither. ``"best_effort"``: the change is
    #: kept; an entry that cannot be written is logged and sent as ``receiver_failed``.
    contract: Literal["strict", "best_effort"] = "strict"
    #: Who writes the entries. ``"python"``: this receiver. ``"triggers"``: the database itself,
    #: for each model of which it can tell what Python reads; ``migrate`` installs them.
    capture: Literal["python", "triggers"] = "python"
    #: What rows are called by triggers, a template for each model of which ``__str__`` does not
    #: tell: ``{"shop.Product": "{name} ({code})"}``.
    object_text: Mapping[str, str] = {}

    _not_in_task = "an entry is written in the transaction of its change, or could be missing"
    _keeps_record = True

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if self.contract == "best_effort":
            self.on_error = "log"
        cls = type(self)
        is_plain = (cls.get_actor, cls.get_context) == (AuditLog.get_actor, AuditLog.get_context)
        #: Model of a table -> whether triggers record it.
        self._captured: dict[Any, bool] = {}
        self._recorder = Recorder(
            self, self.list_fields, is_plain=is_plain, hash_secrets=self.hash_secrets
        )

    def get_actor(self) -> Any:
        """The user who does this, or None; of anything else the text is stored. By default the
        context's."""
        return get_known(get_context()["actor"])

    def get_context(self) -> Mapping[str, Any]:
        """What to store of the context, beside the actor."""
        return get_details()

    def get_object_text(self, instance: Model) -> str:
        """How the row is called in the log; ``str(instance)`` by default."""
        return str(instance)

    def get_changes(
        self, instance: Model, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None
    ) -> Changes:
        """``{field: [old, new]}`` as JSON of what differs. ``old`` and ``new`` are values by
        attname, None where there is no such row (before a create, after a delete)."""
        return compare(self._recorder.get_plan(type(instance)).stored, old, new)

    def should_record(self, instance: Model, action: str, changes: Changes) -> bool:
        """Whether to write an entry. By default not for an update of nothing but stamps.

        Beside another change ``changes`` of an update has no stamps, unless the option says so.
        """
        if action != "update" or self.stamps:
            return True
        return not self._recorder.get_plan(type(instance)).stamps.issuperset(changes)

    def pre_save(self, instance: Model, using: str, **kwargs: Any) -> None:
        if self.old_values == "snapshot":
            ask_new_row(instance)
        elif not is_upsert():
            self._ask_old_row(instance, using)
            if instance._meta.parents:
                ask_old_parents(instance, at_once=self.on_error == "log")

    def post_save(
        self,
        instance: Model,
        created: bool | None,
        update_fields: Any,
        using: str,
        raw: bool = False,
        **kwargs: Any,
    ) -> None:
        if is_sent_by_hand(instance) and (
            was_created_in_bulk(instance)
            if created
            else created is False and self.old_values == "database"
        ):
            # It has been told, or there is nothing to tell: the row is what it was before.
            return
        if is_told_again(self, instance):
            return
        columns: Sequence[Column] = self._recorder.get_plan(type(instance)).columns
        # None after an upsert: whether the row was there is not known for certain.
        old = self._get_old_row(instance, columns, using) if created is False else None
        if old is None and created is False:
            # Somebody else has made the row between our SELECT and our UPDATE.
            old = get_unknown(columns)
        if old is not None:
            columns = _get_written(columns, instance, update_fields)
        if raw:
            # Of a multi-table child a fixture brings one table; the parents' come by themselves.
            columns = [column for column in columns if is_in_own_table(column.field, instance)]
        new = get_new_values(instance, columns, using)
        if (
            self.old_values == "snapshot"
            and (unit := get_unit()) is not None
            and not is_noted(instance)
        ):
            note_saved(unit, instance, new)
        instance = as_written(instance)
        if old is None:
            if not raw:
                self._record_parents(instance, new, using)
            self._tell(instance, "create", None, new, using, certain=created is not None)
        else:
            self._tell(instance, "update", old, new, using)

    def pre_delete(self, instance: Model, using: str, **kwargs: Any) -> None:
        self._recorder.note_text(instance, using)
        if self.old_values == "database":
            self._ask_old_row(instance, using)

    def post_delete(self, instance: Model, using: str, **kwargs: Any) -> None:
        columns = self._recorder.get_plan(type(instance)).columns
        old = self._get_old_row(instance, columns, using)
        # Somebody else has deleted it, and told so, when the statement came.
        if old is None or has_no_row(instance):
            return
        instance = as_written(instance)
        if is_told_already(self, instance):
            return
        self._tell(instance, "delete", old, None, using)

    m2m_changed = tell_links_changed

    def links_changed(self, change: LinkChange, using: str, **kwargs: Any) -> None:
        if change.action == "add":
            self._record_links(change, "m2m_add", "added")
        elif change.action == "remove":
            self._record_links(change, "m2m_clear" if change.is_clear else "m2m_remove", "removed")

    def post_bulk_create(
        self,
        sender: type[Model],
        objs: Sequence[Model],
        using: str,
        ignore_conflicts: bool,
        update_conflicts: bool,
        **kwargs: Any,
    ) -> None:
        certain = {"certain": False} if ignore_conflicts or update_conflicts else {}
        self._record_statement(sender, "create", {}, using, rows=len(objs), **certain)

    def post_bulk_update(
        self, sender: type[Model], fields: Iterable[str], count: int, using: str, **kwargs: Any
    ) -> None:
        self._record_statement(sender, "update", dict.fromkeys(fields, UNKNOWN), using, rows=count)

    def post_queryset_update(
        self, sender: type[Model], values: Mapping[str, Any], count: int, using: str, **kwargs: Any
    ) -> None:
        self._record_statement(sender, "update", values, using, rows=count)

    def get_methods(self, signal_names: Iterable[str]) -> Mapping[str, Callable[..., Any]]:
        methods = super().get_methods(signal_names)
        if self.bulk == "statement":
            return methods
        # The row methods hear the rows of bulk writes.
        return {name: call for name, call in methods.items() if name not in BULK_SIGNALS}

    def _get_methods_for_all(self) -> Mapping[str, Callable[..., None]]:
        if self.old_values != "database" or self._has_own(_ABOUT_ONE):
            return {}
        return {"pre_save": self._ask_for_all, "post_save": self._record_all}

    def _has_own(self, methods: Iterable[tuple[str, Any]]) -> bool:
        """Has somebody put a method of his own in the place of one of these? That may be since the
        receiver was connected."""
        cls, own = type(self), vars(self)
        for name, method in methods:  # noqa: SIM110 - several times quicker
            if name in own or getattr(cls, name) is not method:
                return True
        return False

    def record(
        self,
        instance: Model,
        action: str,
        changes: Changes,
        *,
        using: str,
        certain: bool = True,
    ) -> None:
        """Collect an entry about ``instance``; it is written when the unit of work ends.

        An entry that is not ``certain`` says so in its context: after ``ignore_conflicts`` or an
        upsert nobody can tell whether a row was made, changed or left alone.
        """
        if action == "update" and not self.stamps:
            changes = leave_out(changes, self._recorder.get_plan(type(instance)).stamps)
        if self.should_record(instance, action, changes):
            self._collect_entry(instance, action, changes, using=using, certain=certain)

    def _collect_entry(
        self, instance: Model, action: str, told: Changes | str, *, using: str, certain: bool
    ) -> None:
        more = CERTAIN if certain else UNCERTAIN
        entry = self._recorder.make_entry(instance, action, told, using, more)
        self.collect(entry, using=using)

    def flush(self, items: list[Entry]) -> None:
        """Write the entries, all in one INSERT or as many as the database's limits force."""
        # An override of this method may have more to do in the transaction.
        self._recorder.log.write(items, may_commit=type(self).flush is AuditLog.flush)

    def check(self) -> None:
        check_options(self, AuditLog)

    def get_warnings(self) -> list[CheckMessage]:
        warnings = [*list_warnings(self, Coverage(self).get_models())]
        if not overrides(self, AuditLog, ["get_actor"]):
            warnings += get_missing(f"{self.name} does not know who makes a request")
        return warnings

    def get_old_fields(self, model: type[Model]) -> Iterable[Field[Any, Any]]:
        return self.list_fields(model) if self.old_values == "database" else ()

    def get_loaded_fields(self, model: type[Model]) -> Iterable[Field[Any, Any]]:
        return self.list_fields(model) if self.old_values == "snapshot" else ()

    def _forget_models(self) -> None:
        self._recorder.forget_plans()
        self._captured.clear()

    def hears(self, model: type[Model]) -> bool:
        """Not what triggers record."""
        return self.capture == "python" or not self._is_captured(model)

    def _hears_database(self, model: type[Model]) -> bool:
        return self.capture == "triggers" and hears_cascades(self, model)

    def _is_captured(self, model: type[Model]) -> bool:
        table: Any = model._meta.concrete_model
        try:
            return self._captured[table]
        except KeyError:
            # A proxy's rows are recorded as those of its model.
            found = registry.covers(self, table) and not find_obstacle(self, table)
            self._captured[table] = found
            return found

    def list_fields(self, model: type[Model]) -> list[Field[Any, Any]]:
        """The concrete fields of ``model`` that go into the log."""
        return [field for field in model._meta.concrete_fields if self._records(field.name)]

    def get_m2m_fields(self, model: type[Model]) -> list[Any]:
        if not self.m2m:
            return []
        return [field for field in super().get_m2m_fields(model) if self._records(field.name)]

    def _leaves_out(self, model: type[Model]) -> bool:
        return is_token_model(model, get_secrets(self))

    def _records(self, name: str) -> bool:
        return (not self.fields or name in self.fields) and name not in self.exclude_fields

    def _tell(
        self,
        instance: Model,
        action: str,
        old: Row | None,
        new: Row | None,
        using: str,
        *,
        certain: bool = True,
    ) -> None:
        """Collect an entry about what became of a row, unless nothing did."""
        decides = self._has_own(_DECIDING)
        told: Any
        if decides:
            told = self.get_changes(instance, old, new)
        else:
            lines = self._recorder.get_plan(type(instance)).lines
            told = write(lines, old, new, self._get_untold(type(instance)))
        if action == "update":
            if not told:
                return
            certain = is_known(old or {})
        record = self.record if decides else self._collect_entry
        record(instance, action, told, using=using, certain=certain)

    def _get_untold(self, model: type[Model]) -> frozenset[str]:
        """The fields of which nothing is told in an update."""
        return _NONE if self.stamps else self._recorder.get_plan(model).stamps

    def _get_old_row(self, instance: Model, columns: Sequence[Column], using: str) -> Row | None:
        if self.old_values == "database":
            return get_old_row(instance, using)
        return get_loaded_row(instance, columns, using) or get_unknown(columns)

    def _ask_old_row(self, instance: Model, using: str) -> None:
        if self.on_error == "log":
            # Now, so that an error in reading it is not one of the write.
            get_old_row(instance, using)
        else:
            ask_old_row(instance, using)

    def _ask_for_all(self, model: type[Model], rows: Any, using: str, **kwargs: Any) -> None:
        if not self._has_own(_ABOUT_ONE):
            ask_old_rows(model)
            return
        for row in in_progress(rows):
            self.pre_save(row, using)

    def _record_all(
        self,
        model: type[Model],
        rows: Any,
        using: str,
        created: bool | None,
        update_fields: Any,
        **kwargs: Any,
    ) -> None:
        """:meth:`post_save` for the rows of a bulk write."""
        for part in get_parts(rows):
            told = in_progress(part, created)
            if any(type(row) is not model for row in part) or self._has_own(_ABOUT_ONE):
                for row in told:
                    self.post_save(row, created, update_fields, using)
                continue
            if created is False:
                untold = self._get_untold(model)
                entries = make_updated(
                    self._recorder, model, told, update_fields, using, untold=untold
                )
            else:
                entries = make_created(
                    self._recorder, model, told, using, certain=created is not None
                )
            self._collect_all(entries, using)

    def _record_parents(self, instance: Model, new: Row, using: str) -> None:
        """What making ``instance`` a child of rows that were there has changed of them."""
        for model, old in get_old_parents(instance):
            if not registry.covers(self, model):
                continue
            parent = cast_up(instance, model, using)
            self._tell(parent, "update", old, new, using)

    def _record_statement(
        self,
        model: type[Model],
        action: str,
        values: Mapping[str, Any],
        using: str,
        **more: Any,
    ) -> None:
        """One entry for all rows of a bulk write: what they were nobody has read."""
        if not self.stamps:
            values = leave_out(values, self._recorder.get_plan(model).stamps)
        entry = self._recorder.make_statement_entry(model, action, values, using, more)
        if entry is not None:
            self.collect(entry, using=using)

    def _records_links(self, change: LinkChange) -> bool:
        # The rows of an explicit through model that is covered itself tell the same, and more.
        through = change.relation.through
        is_told_by_rows = registry.covers(self, through) and (
            change.instance is None or bool(self.bulk and through in bulk.covered)
        )
        # What a call of one relation does to another that shares its rows nobody has asked for.
        is_asked_for = self._records(change.relation.field.name) and not change.is_aside
        return is_asked_for and not is_told_by_rows

    def _record_links(self, change: LinkChange, action: str, verb: str) -> None:
        if not self._records_links(change):
            return
        groups = change.group(SOURCE, exactly=True)
        if not groups:
            return
        pks = change.get_pks(TARGET, set().union(*groups.values()))
        models = registry.get_covered(self, change.relation.get_model(SOURCE))
        to_members = partial(self._recorder.to_members, change.relation.field)
        for key, instance in change.load(SOURCE, groups, models):
            keys = {pks[other] for other in groups[key] if other in pks}
            changes = {change.relation.field.name: tell_links(verb, keys, to_members)}
            self.record(instance, action, changes, using=change.using)


def _list_methods(*names: str) -> tuple[tuple[str, Any], ...]:
    return tuple((name, vars(AuditLog)[name]) for name in names)


# The hooks that say what is told of a row.
_DECIDING = _list_methods("record", "get_changes", "should_record")
# Those that are called for each row, and what calls them.
_ABOUT_ONE = (
    *_DECIDING,
    *_list_methods("pre_save", "post_save"),
    *_list_methods("_get_old_row", "_ask_old_row", "_record_parents"),
)


def get_recorder(receiver: AuditLog) -> Recorder:
    """What makes the entries of ``receiver``."""
    return receiver._recorder


def _get_written(
    columns: Sequence[Column], instance: Model, update_fields: Any
) -> Sequence[Column]:
    """The columns that a save may change: not those it leaves out, nor what was not loaded."""
    if update_fields is None:
        return columns
    return [column for column in columns if may_change(column.field, update_fields)]
