"""The row that belongs to every row: a profile to each user, default columns to each board."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from functools import cached_property
from typing import Any

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.db import transaction
from django.db.models import Model, QuerySet

from django_signal_kit.exceptions import Misconfigured, did_you_mean
from django_signal_kit.receiver import ModelReceiver, ModelSpec
from django_signal_kit.relations.related import Link, find_links, find_unique_field
from django_signal_kit.units.unit import FlushOn

logger = logging.getLogger("django_signal_kit")


class CreateRelated(ModelReceiver):
    """Makes what belongs to each new row, in the transaction of that row: never the one alone.

    Many new rows in one unit of work are one query and one ``bulk_create()``. A row that has one
    already is left alone. Fixtures bring their own. ``createrelated`` makes what is missing.
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

    def post_save(
        self, instance: Model, created: bool | None, update_fields: Any, using: str, **kwargs: Any
    ) -> None:
        is_changed = not created and self._writes_synced(update_fields)
        if created is not False or is_changed:
            self._note(instance, created, is_changed, using)

    def flush(self, items: list[_Pending]) -> None:
        """Make what is missing and bring in step what is there."""
        for using in dict.fromkeys(item.using for item in items):
            some = [item for item in items if item.using == using]
            # A transaction, if the options say that there is none yet.
            with transaction.atomic(using, savepoint=False):
                self._create_for_new([item.instance for item in some if item.is_new], using)
                self._create_for_unsure([item for item in some if item.is_new is None], using)
                self._synchronise([item for item in some if item.is_changed], using)

    def create_missing(self, parents: QuerySet[Any], using: str, *, dry_run: bool = False) -> int:
        """Make what those of ``parents`` lack that have no related row, and return how many rows.

        In a transaction: the parents are locked, where the database can. Whoever does the same at
        the same time, or makes a row of a one-to-one field, is not in the way.
        """
        rows = list(parents) if dry_run else self._link.lock(parents, using)
        having = self._link.read_having([self._link.get_key(row) for row in rows], using)
        groups = [
            group
            for row in rows
            if self._link.get_key(row) not in having
            and self.should_create(row)
            and (group := self._make(row, self._read_synced(row)))
        ]
        if dry_run:
            return sum(map(len, groups))
        return self._link.add(groups, self.create_related, using)

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
            for name in names:
                if name not in known:
                    raise Misconfigured(
                        "E012",
                        f"The option {option!r} of {self.name} has {name!r}, which is no field of "
                        f"{link.model._meta.label} that it may set.",
                        did_you_mean(name, known),
                    )
        self._check_sync(link)

    def _check_sync(self, link: Link) -> None:
        for source, target in self.sync.items():
            for model, name in ((link.parent, source), (link.model, target)):
                fields = {field.name: field for field in model._meta.concrete_fields}
                if name not in fields or (model is link.model and fields[name].primary_key):
                    raise Misconfigured(
                        "E012",
                        f"The option 'sync' of {self.name} has {name!r}, which is no column of "
                        f"{model._meta.label} to be kept in step.",
                        did_you_mean(name, fields),
                    )

    @cached_property
    def _link(self) -> Link:
        model = self._get_related_model()
        if self.field:
            try:
                found = [model._meta.get_field(self.field)]
            except FieldDoesNotExist:
                found = []
            found = [field for field in found if field in model._meta.concrete_fields]
            found = [field for field in found if field.many_to_one or field.one_to_one]
        else:
            found = list(find_links(model))
        if len(found) == 1:
            return Link(model, found[0])
        names = [field.name for field in find_links(model)]
        which = f"{self.field!r} is none" if self.field else f"it has {len(names)}"
        raise Misconfigured(
            "E035",
            f"{self.name} needs a foreign key or one-to-one field of {model._meta.label}, and "
            f"{which}.",
            f"Name one by the option 'field': {', '.join(map(repr, names))}."
            if names
            else "Add one, or name another model by the option 'related'.",
        )

    def _get_related_model(self) -> type[Model]:
        if isinstance(self.related, type):
            return self.related
        try:
            return apps.get_model(self.related)
        except (LookupError, ValueError):
            labels = [model._meta.label for model in apps.get_models()]
            raise Misconfigured(
                "E035",
                f"The option 'related' of {self.name} is {self.related!r}, which is no model.",
                did_you_mean(self.related, labels, 'Write "app_label.Model".'),
            ) from None

    @cached_property
    def _sync_fields(self) -> dict[str, Any]:
        get_field = self._link.model._meta.get_field
        return {source: get_field(target) for source, target in self.sync.items()}

    @cached_property
    def _sources(self) -> dict[str, str]:
        """Name and attname of each field that others follow -> attname."""
        fields: list[Any] = [self._link.parent._meta.get_field(name) for name in self.sync]
        names = {field.attname: field.attname for field in fields}
        return names | {field.name: field.attname for field in fields}

    def _writes_synced(self, update_fields: Any) -> bool:
        if not self.sync or update_fields is None:
            return bool(self.sync)
        return not self._sources.keys().isdisjoint(update_fields)

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
        if lacking:
            # The database has made another key of what it was given.
            self.create_missing(self._link.get_parents(list(lacking), using), using)

    def _create_for_unsure(self, items: list[_Pending], using: str) -> None:
        """After ``ignore_conflicts`` or an upsert nobody knows what is new, nor its key."""
        keys = [key for item in items if (key := self._link.get_key(item.instance)) is not None]
        if keys:
            self.create_missing(self._link.get_parents(keys, using), using)
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
                )
                return
            values = [getattr(instance, field.attname) for instance in untold]
            rows: QuerySet[Any] = QuerySet(self._link.parent, using=using)
            self.create_missing(rows.filter(**{f"{field.name}__in": values}), using)

    def _make(self, parent: Model, synced: Mapping[str, Any]) -> list[Model]:
        """The related rows of one parent. ``synced``: values by the parent's field."""
        defaults = self.get_defaults(parent)
        follow = {
            target.attname: target.to_python(synced[source])
            for source, target in self._sync_fields.items()
        }
        return [
            self._link.model(**{**defaults, **child, **follow, self._link.field.name: parent})
            for child in self.get_children(parent)
        ]

    def _read_synced(self, parent: Model) -> dict[str, Any]:
        sources = self._sources
        return {name: getattr(parent, sources[name]) for name in self.sync}

    def _synchronise(self, items: list[_Pending], using: str) -> None:
        instances = {self._link.get_key(item.instance): item.instance for item in items}
        instances.pop(None, None)
        if not instances:
            return
        stale, names = self._link.read_stale(list(instances), self._sync_fields, using)
        if stale:
            self._link.get_all_rows(using).bulk_update(stale, sorted(names))
        for row in stale:
            self._refresh(instances.get(self._link.get_owner(row)), row)

    def _refresh(self, parent: Model | None, row: Model) -> None:
        """The one that ``parent`` has loaded may be saved later: not with old values."""
        relation = self._link.field.remote_field
        if parent is None or not self._link.field.one_to_one or not relation.is_cached(parent):
            return
        loaded = relation.get_cached_value(parent)
        for field in self._sync_fields.values():
            if loaded is not None and field.attname in loaded.__dict__:
                setattr(loaded, field.attname, getattr(row, field.attname))


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
