"""Deletes rows that nobody points to any more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from django.apps import apps
from django.db import transaction
from django.db.models import Field, Model, QuerySet

from django_signal_kit.exceptions import Misconfigured
from django_signal_kit.options import check_names
from django_signal_kit.receiver import ModelReceiver
from django_signal_kit.relations.generic import list_generic
from django_signal_kit.relations.orphans import (
    find_left,
    find_orphans,
    hold,
    is_protecting,
    list_pointers,
)
from django_signal_kit.relations.pointers import Pointer
from django_signal_kit.relations.removal import Removal
from django_signal_kit.relations.watchlist import Watchlist
from django_signal_kit.rows.snapshots import get_old_row
from django_signal_kit.units.unit import FlushOn
from django_signal_kit.wiring.senders import Coverage
from django_signal_kit.writes.calls import tell_links_changed
from django_signal_kit.writes.links import LinkChange, list_fields


class _Loss(NamedTuple):
    """A row, known by the value of a column, that something pointed to."""

    model: type[Model]
    column: str
    value: Any
    using: str


class _Gone(NamedTuple):
    """An object that is deleted, and may leave rows behind that point to it."""

    model: type[Model]
    generic: Any
    owner: type[Model]
    pk: Any
    using: str


class OrphanCleanup(ModelReceiver):
    """Deletes a row when the last that pointed to it is gone, in the same transaction.

    Only a row that has lost a pointer in this unit of work: by a deletion, by a foreign key that
    moved away, by a link that ends, however it ends. A new row, or one
    that gains a pointer before the end, stays, and so does one that a generic foreign key names.
    The row is deleted through the ORM, so that other receivers hear it. Each is logged.
    """

    #: The relations that keep a row, by their name on its side ("products", "product_set") or as
    #: ``"app.Model.field"``; all that point to it if empty. One that protects the row from being
    #: deleted always counts.
    relations: Sequence[str] = ()
    #: Generic foreign keys of ``models``, each with the models whose deletion it is to hear:
    #: ``{"content_object": ["shop.Product"]}``. A row goes when its object is gone.
    generic: Mapping[str, Sequence[Any]] = {}
    #: The most rows to delete in one unit of work. Those found beyond it stay, with an error in
    #: the log.
    limit: int = 100
    #: Log what would be deleted, and delete nothing.
    dry_run: bool = False
    #: When orphans are looked for. Before the commit they go with what made them orphans.
    flush_on: FlushOn = "before_commit"

    _not_in_task = "orphans go in the transaction that has made them orphans"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._pointers: dict[type[Model], list[Pointer]] = {}
        self._watched = Watchlist()

    def get_pointers(self, model: type[Model]) -> list[Pointer]:
        """The foreign keys that keep a row of ``model``, those of links among them."""
        return [
            pointer
            for name, label, pointer in list_pointers(model)
            if is_protecting(pointer)
            or (not self.generic and (not self.relations or {name, label} & {*self.relations}))
        ]

    def should_delete(self, instance: Model) -> bool:
        """A last word before a row that nobody points to is deleted."""
        return True

    m2m_changed = tell_links_changed

    def links_changed(self, change: LinkChange, using: str, **kwargs: Any) -> None:
        for model, pointer in self._watched.get_links(change.relation.through):
            end = change.relation.ends.index(pointer.field)
            if change.action == "pre_add":
                hold(pointer, change.get_keys(end), using)
            elif change.action == "remove":
                self._lose(model, pointer, change.get_keys(end, exactly=True), using)

    def pre_save(
        self, sender: type[Model], instance: Model, update_fields: Any, using: str, **kwargs: Any
    ) -> None:
        for _, pointer in self._watched.get_held(sender):
            if pointer.is_written(update_fields):
                get_old_row(instance, using)

    def post_save(
        self,
        sender: type[Model],
        instance: Model,
        created: bool | None,
        update_fields: Any,
        using: str,
        **kwargs: Any,
    ) -> None:
        for model, pointer in self._watched.get_held(sender):
            if pointer.is_written(update_fields):
                old, new = pointer.read_saved(instance, created, using)
                if old != new:
                    self._lose(model, pointer, {old}, using)
                    hold(pointer, {new}, using)

    def pre_delete(self, sender: type[Model], instance: Model, using: str, **kwargs: Any) -> None:
        for model, pointer in self._watched.get_deleted(sender):
            self._lose(model, pointer, pointer.read_deleted(instance, using), using)
        for model, generic, owner in self._list_generic():
            if issubclass(sender, owner):
                self.collect(_Gone(model, generic, sender, instance.pk, using), using=using)

    def post_bulk_create(
        self, sender: type[Model], objs: Sequence[Model], using: str, **kwargs: Any
    ) -> None:
        for _, pointer in self._watched.get_held(sender):
            hold(pointer, {getattr(obj, pointer.attname) for obj in objs}, using)

    def pre_queryset_update(
        self,
        sender: type[Model],
        queryset: QuerySet[Any],
        values: dict[str, Any],
        using: str,
        **kwargs: Any,
    ) -> None:
        for model, pointer in self._watched.get_held(sender):
            if pointer.is_written(values):
                keys = pointer.read_rows(queryset, using)
                self._lose(model, pointer, set(keys.values()), using)
                value = values.get(pointer.field.name, values.get(pointer.attname))
                if isinstance(value, Model):
                    value = getattr(value, pointer.target)
                if not hasattr(value, "resolve_expression"):
                    hold(pointer, {value}, using)

    def flush(self, items: list[_Loss | _Gone]) -> None:
        """Delete those of the rows that nobody points to now."""
        losses: dict[tuple[type[Model], str, str], set[Any]] = {}
        gone: dict[tuple[type[Model], Any, type[Model], str], set[Any]] = {}
        for item in items:
            if isinstance(item, _Loss):
                losses.setdefault((item.model, item.column, item.using), set()).add(item.value)
            else:
                group = (item.model, item.generic, item.owner, item.using)
                gone.setdefault(group, set()).add(item.pk)
        removal = Removal(self.name, self.limit, self.dry_run)
        found: dict[tuple[type[Model], str], dict[Any, Any]] = {}
        for (model, column, using), keys in losses.items():
            with transaction.atomic(using, savepoint=False):
                rows = find_orphans(model, {column: keys}, self._pointers[model], using)
                found.setdefault((model, using), {}).update({row.pk: row for row in rows})
        for (model, generic, owner, using), pks in gone.items():
            rows = find_left(model, generic, owner, pks, self._pointers[model], using)
            found.setdefault((model, using), {}).update({row.pk: row for row in rows})
        for (model, using), orphans in found.items():
            rows = [row for row in orphans.values() if self.should_delete(row)]
            removal.delete(model, rows, using)

    def check(self) -> None:
        for spec in self.models:
            if _find_model(spec) is None and not _is_misspelt(spec):
                hint = 'What loses rows is named one by one: "app.Model", or the class.'
                raise self._refuse("models", spec, hint)
        if self.limit < 1:
            raise Misconfigured(
                "E024",
                f"The option 'limit' of {self.name} is {self.limit}, so nothing could be deleted.",
                "Write a number of rows, or set dry_run=True.",
            )
        self._check_names()

    def lacks(self, model: type[Model]) -> str | None:
        if self.generic or any(list_pointers(model)):
            return None
        return "no relation by which anything points to it"

    def get_m2m_fields(self, model: type[Model]) -> list[Any]:
        self._note(model)
        throughs = [pointer.holder for pointer in self._pointers.get(model, ()) if pointer.is_link]
        return [field for through in throughs for field in list_fields(through)]

    def get_senders(self, signal_name: str, model: type[Model]) -> Iterable[type[Model]]:
        self._note(model)
        senders = [
            sender
            for pointer in self._pointers.get(model, ())
            for sender in pointer.get_senders(signal_name)
        ]
        if signal_name == "pre_delete":
            owners = [owner for other, _, owner in self._list_generic() if other is model]
            senders += [
                known for known in apps.get_models() if any(issubclass(known, o) for o in owners)
            ]
        return senders

    def get_old_fields(self, model: type[Model]) -> list[Field[Any, Any]]:
        return [pointer.field for _, pointer in self._watched.get_held(model)]

    def _check_names(self) -> None:
        named = self._get_named()
        known = {
            name for model in named for found in list_pointers(model) for name in found[:2] if name
        }
        if named:
            lack = "by which nothing points to the models"
            check_names(self.name, "relations", self.relations, known, lack)
        fields = {generic.name for model in named for generic in list_generic(model)}
        for name, owners in self.generic.items():
            if named:
                lack = "and the models have no such generic foreign key"
                check_names(self.name, "generic", [name], fields, lack)
            for owner in owners:
                if _find_model(owner) is None:
                    raise self._refuse("generic", owner, 'Write "app.Model", or the class.')

    def _refuse(self, option: str, spec: Any, hint: str) -> Misconfigured:
        return Misconfigured(
            "E023",
            f"The option {option!r} of {self.name} has {spec!r}, which names no model outright.",
            hint,
        )

    def _get_named(self) -> list[type[Model]]:
        """The models that are named. Proxies and children of theirs are covered, but not looked
        at: their rows are rows of these."""
        covered = Coverage(self).get_models()
        return [model for spec in self.models if (model := _find_model(spec)) in covered and model]

    def _forget_models(self) -> None:
        models = list(self._pointers)
        self._pointers.clear()
        self._watched.clear()
        for model in models:
            self._watch(model)

    def _note(self, model: type[Model]) -> None:
        if model not in self._pointers and model in self._get_named():
            self._watch(model)

    def _watch(self, model: type[Model]) -> None:
        self._pointers[model] = self.get_pointers(model)
        for pointer in self._pointers[model]:
            self._watched.add(model, pointer)

    def _list_generic(self) -> list[tuple[type[Model], Any, type[Model]]]:
        return [
            (model, generic, owner)
            for model in self._pointers
            for generic in list_generic(model)
            for spec in self.generic.get(generic.name, ())
            if (owner := _find_model(spec)) is not None
        ]

    def _lose(self, model: type[Model], pointer: Pointer, keys: Iterable[Any], using: str) -> None:
        for key in keys:
            if key is not None:
                loss = _Loss(model, pointer.target, key, using)
                self.collect(loss, key=loss, using=using)


def _find_model(spec: Any) -> type[Model] | None:
    """The model that ``spec`` names outright."""
    if isinstance(spec, str):
        try:
            return apps.get_model(spec)
        except (LookupError, ValueError):
            return None
    is_model = isinstance(spec, type) and issubclass(spec, Model)
    return spec if is_model and not spec._meta.abstract else None


def _is_misspelt(spec: Any) -> bool:
    """Looks like the name of a model: that there is none is told as for each receiver."""
    return isinstance(spec, str) and spec.count(".") == 1 and not spec.endswith("*")
