"""The row that belongs to every row: a profile to each user, default columns to each board."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from functools import cached_property
from typing import Any

from django.apps import apps
from django.db import transaction
from django.db.models import Model, QuerySet

from django_signal_kit.exceptions import Misconfigured
from django_signal_kit.options import check_names
from django_signal_kit.receiver import ModelReceiver, ModelSpec
from django_signal_kit.relations.provisional import find_yielding, give_way, note
from django_signal_kit.relations.related import Link, find_link, find_unique_field
from django_signal_kit.relations.sync import Sync
from django_signal_kit.units.loggers import get_logger
from django_signal_kit.units.unit import FlushOn

logger = get_logger("django_signal_kit.relations")


class CreateRelated(ModelReceiver):
    """Makes what belongs to each new row, in the transaction of that row: never the one alone.

    Many new rows in one unit of work are one query and one ``bulk_create()``. A row that has one
    already is left alone; and what was made for a one-to-one field gives way to a row that the
    caller then makes himself. Fixtures bring their own. ``createrelated`` makes what is missing.
    """

    flush_on: FlushOn = "before_commit"

    #: The model of the related rows: ``"shop.Profile"``, or the class.
    related: str | type[Model] = ""
    #: Its one-to-one field or foreign key to the covered model; may be empty if it has only one.
    field: str = ""
    #: Field of the related model -> its value, or a function without arguments that returns it.
    defaults: Mapping[str, Any] = {}
    #: One dict like ``defaults`` for each row to make; one row if empty. For foreign keys.
    children: Sequence[Mapping[str, Any]] = ()
    #: Field of the covered model -> field of the related one that follows it. An update that
    #: writes such a field costs a query more, and an UPDATE if a value differs.
    sync: Mapping[str, str] = {}

    _not_in_task = "until a worker has run, a row would lack what belongs to it"

    def get_defaults(self, instance: Model) -> Mapping[str, Any]:
        """The values that each row related to ``instance`` begins with. Called in the transaction,
        when the unit of work ends; so are the next two."""
        return _resolve(self.defaults)

    def get_children(self, instance: Model) -> Iterable[Mapping[str, Any]]:
        """One dict of further values for each row to make; none to make none."""
        return [_resolve(child) for child in self.children or ({},)]

    def should_create(self, instance: Model) -> bool:
        """Whether ``instance`` gets related rows. Asked only while it has none, or is new."""
        return True

    def create_related(self, rows: list[Model], using: str) -> None:
        """Write new related rows: one ``bulk_create()``, which does not call ``save()`` of theirs.
        Multi-table children, which cannot be made so, are saved one by one."""
        if self._link.model._meta.concrete_model._meta.parents:  # type: ignore[union-attr]
            for row in rows:
                row.save(using=using)
        else:
            self._link.get_all_rows(using).bulk_create(rows)

    def get_models(self) -> Sequence[ModelSpec]:
        """What ``field`` points to, unless ``models`` says otherwise."""
        return self.models or [self._link.parent]

    def get_senders(self, signal_name: str, model: type[Model]) -> Iterable[type[Model]]:
        if not signal_name.startswith("pre_"):
            return (model,)
        if signal_name in ("pre_save", "pre_bulk_create") and self._link.is_unique:
            return [known for known in apps.get_models() if issubclass(known, self._link.model)]
        return ()

    def get_freed_fields(self, instance: Model, using: str) -> Iterable[str]:
        return [self._link.field.name] if find_yielding(self._link, [instance], using) else ()

    def pre_save(self, instance: Model, using: str, **kwargs: Any) -> None:
        give_way(self._link, [instance], using)

    def post_save(
        self, instance: Model, created: bool | None, update_fields: Any, using: str, **kwargs: Any
    ) -> None:
        is_changed = not created and self._sync.is_written(update_fields)
        if created is not False or is_changed:
            self._note(instance, created, is_changed, using)

    def pre_bulk_create(
        self,
        objs: Sequence[Model],
        ignore_conflicts: bool,
        update_conflicts: bool,
        using: str,
        **kwargs: Any,
    ) -> None:
        if not (ignore_conflicts or update_conflicts):
            give_way(self._link, objs, using)

    def post_bulk_create(
        self,
        objs: Sequence[Model],
        ignore_conflicts: bool,
        update_conflicts: bool,
        using: str,
        **kwargs: Any,
    ) -> None:
        created = None if ignore_conflicts or update_conflicts else True
        for instance in objs:
            self.post_save(instance, created=created, update_fields=None, using=using)

    def flush(self, items: list[_Pending]) -> None:
        """Make what is missing and bring in step what is there."""
        for using in dict.fromkeys(item.using for item in items):
            some = [item for item in items if item.using == using]
            # A transaction, if the options say that there is none yet.
            with transaction.atomic(using, savepoint=False):
                self._create_for_new([item.instance for item in some if item.is_new], using)
                self._create_for_unsure([item for item in some if item.is_new is None], using)
                self._sync.apply([item.instance for item in some if item.is_changed], using)

    def create_missing(
        self,
        parents: QuerySet[Any],
        using: str,
        *,
        dry_run: bool = False,
        instances: Mapping[Any, Model] | None = None,
    ) -> int:
        """Make what those of ``parents`` lack that have no related row, and return how many rows.

        In a transaction: the parents are locked, where the database can. Whoever does the same at
        the same time, or makes a row of a one-to-one field, is not in the way. ``instances``: the
        parents that somebody has in memory, by their keys.
        """
        rows = list(parents) if dry_run else self._link.lock(parents, using)
        having = self._link.read_having([self._link.get_key(row) for row in rows], using)
        groups = [
            group
            for row in rows
            if self._link.get_key(row) not in having
            and self.should_create(row)
            and (group := self._make(row, self._sync.read(row)))
        ]
        if dry_run:
            return sum(map(len, groups))

        def write(rows: list[Model], using: str) -> None:
            self.create_related(rows, using)
            self._note_made(rows, instances or {}, using)

        return self._link.add(groups, write, using)

    def find_lacking(self, model: type[Model], using: str) -> QuerySet[Any]:
        """The rows of a covered model that have no related row."""
        rows: QuerySet[Any] = QuerySet(model, using=using)
        return self._link.only_lacking(rows)

    def lacks(self, model: type[Model]) -> str | None:
        if issubclass(model, self._link.parent):
            return None
        return f"no relation to it in {self._link.field}"

    def check(self) -> None:
        link = self._link
        if link.is_unique and len(self.children) > 1:
            raise Misconfigured(
                "E036",
                f"The option 'children' of {self.name} has {len(self.children)} rows, but "
                f"{link.field} allows one for each {link.parent._meta.label}.",
                "Leave one of them, or make the field a ForeignKey.",
            )
        known = {"pk", *link.model._meta._property_names}  # type: ignore[attr-defined]
        for field in link.model._meta.concrete_fields:
            known |= {field.name, field.attname}
        known -= {link.field.name, link.field.attname}
        for option, names in (
            ("defaults", self.defaults),
            ("children", [name for child in self.children for name in child]),
            ("sync", self.sync.values()),
        ):
            lack = f"which is no field of {link.model._meta.label} that it may set"
            check_names(self.name, option, names, known, lack)
        self._sync.check(self.name)

    @cached_property
    def _link(self) -> Link:
        return find_link(self.name, self.related, self.field)

    @cached_property
    def _sync(self) -> Sync:
        return Sync(self._link, self.sync)

    def _note(self, instance: Model, created: bool | None, is_changed: bool, using: str) -> None:
        key = self._link.get_key(instance)
        is_own = instance._meta.concrete_model is self._link.parent
        if created and (key is None or not is_own):
            # The row that others belong to may have been there before its multi-table child.
            created = None
        new = _Pending(instance, created, is_changed, using)
        # The keys of a database that did not tell them are all None.
        kept = self.collect(new, key=None if key is None else (using, key), using=using)
        if kept is not new:
            kept.is_changed = kept.is_changed or is_changed
            if kept.is_new is False:
                kept.is_new, kept.instance = created, instance

    def _create_for_new(self, instances: list[Model], using: str) -> None:
        """Nobody else can see these yet: nothing has to be locked."""
        parents = {
            self._link.get_key(instance): instance
            for instance in instances
            if self.should_create(instance)
        }
        if not parents:
            return
        lacking = self._link.read_lacking(list(parents), list(self.sync), using)
        rows = [
            row
            for key, parent in parents.items()
            if key in lacking
            for row in self._make(parent, lacking.pop(key))
        ]
        if rows:
            self.create_related(rows, using)
            self._note_made(rows, parents, using)
        if lacking:
            # The database has made another key of what it was given.
            self.create_missing(self._link.get_parents(list(lacking), using), using)

    def _create_for_unsure(self, items: list[_Pending], using: str) -> None:
        """After ``ignore_conflicts`` or an upsert nobody knows what is new, nor its key."""
        known = {self._link.get_key(item.instance): item.instance for item in items}
        known.pop(None, None)
        if known:
            parents = self._link.get_parents(list(known), using)
            self.create_missing(parents, using, instances=known)
        untold = [item.instance for item in items if self._link.get_key(item.instance) is None]
        if untold:
            model = type(untold[0])
            field = find_unique_field(model, untold)
            if field is None:
                logger.warning(
                    "%s cannot find %d rows of %s whose keys the database did not tell. Run "
                    "createrelated.",
                    self.name,
                    len(untold),
                    model._meta.label,
                    extra={
                        "receiver": self.name,
                        "model": model._meta.label,
                        "using": using,
                        "count": len(untold),
                    },
                )
                return
            values = [getattr(instance, field.attname) for instance in untold]
            rows: QuerySet[Any] = QuerySet(self._link.parent, using=using)
            self.create_missing(rows.filter(**{f"{field.name}__in": values}), using)

    def _note_made(self, rows: list[Model], parents: Mapping[Any, Model], using: str) -> None:
        if self._link.is_unique:
            follows = self._sync.get_targets()
            for row in rows:
                parent = parents.get(self._link.get_owner(row))
                if parent is not None and row.pk is not None:
                    note(self._link, parent, row, follows, using)

    def _make(self, parent: Model, synced: Mapping[str, Any]) -> list[Model]:
        """The related rows of one parent. ``synced``: values by the parent's field."""
        defaults = self.get_defaults(parent)
        follow = self._sync.get_values(synced)
        return [
            self._link.model(**{**defaults, **child, **follow, self._link.field.name: parent})
            for child in self.get_children(parent)
        ]


class _Pending:
    """A parent that was written. ``is_new``: True, False, or None if nobody knows."""

    __slots__ = ("instance", "is_changed", "is_new", "using")

    def __init__(self, instance: Model, is_new: bool | None, is_changed: bool, using: str) -> None:
        self.instance = instance
        self.is_new = is_new
        self.is_changed = is_changed
        self.using = using


def _resolve(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values for one row: nothing mutable is shared with another."""
    return {name: _get_value(value) for name, value in values.items()}


def _get_value(value: Any | Callable[[], Any]) -> Any:
    if callable(value):
        return value()
    return deepcopy(value) if isinstance(value, dict | list) else value
