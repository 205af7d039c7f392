"""Which rows belong to those that are written, and are to be stamped with them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from django.db.models import Model, QuerySet

from django_signal_kit.rows.columns import Column, get_columns
from django_signal_kit.rows.memory import get_loaded_row
from django_signal_kit.rows.snapshots import get_old_row, get_together
from django_signal_kit.rows.values import UNKNOWN
from django_signal_kit.stamps.paths import Path, find_paths
from django_signal_kit.stamps.touching import Touch, is_off
from django_signal_kit.units.unit import get_unit
from django_signal_kit.writes.links import SOURCE, LinkChange


class Parents:
    """The rows that the paths of ``touch`` lead to; each is noted once in a unit of work."""

    def __init__(self, texts: Collection[str], note: Callable[[Touch], Any]) -> None:
        self.texts = texts
        self._note = note
        self._paths: dict[type[Model], list[Path]] = {}
        # Many-to-many field -> the covered models that have it.
        self._linked: dict[Any, dict[Any, type[Model]]] = {}

    def get_paths(self, model: type[Model]) -> list[Path]:
        if model not in self._paths:
            self._paths[model] = find_paths(model, self.texts)
        return self._paths[model]

    def get_keys(self, model: type[Model]) -> list[Any]:
        """The foreign keys of ``model`` with which paths begin."""
        return list(dict.fromkeys(path.first for path in self.get_paths(model)))

    def listen(self, model: type[Model], fields: Iterable[Any]) -> None:
        """Of these many-to-many fields of ``model`` changes will be told."""
        for field in fields:
            self._linked.setdefault(field, {}).setdefault(model._meta.concrete_model, model)

    # What is written

    def remember(self, instance: Model, using: str) -> None:
        """Before a save that stamps ``instance``: to whom does its row belong?"""
        unit = get_unit()
        if unit is not None and not is_off():
            unit.notes[self, id(instance)] = self._get_old(instance, using)

    def save(self, instance: Model, update_fields: Collection[str] | None, using: str) -> None:
        """After it: to whom does it belong now?"""
        unit = get_unit()
        if unit is None or (self, id(instance)) not in unit.notes:
            return
        old = unit.notes.pop((self, id(instance)))
        for path in self.get_paths(type(instance)):
            field, name = path.first, path.first.attname
            keys = set() if old is None else {old.get(name, UNKNOWN)}
            if update_fields is None or not {field.name, name}.isdisjoint(update_fields):
                keys.add(instance.__dict__.get(name, UNKNOWN))
            if UNKNOWN in keys or any(hasattr(key, "resolve_expression") for key in keys):
                self._note(Touch(using, path.target, path, "pk", instance.pk))
            self._note_keys(path, keys, using)
        for target in self._list_targets():
            if isinstance(instance, target):
                self._note(Touch(using, target, None, "pk", instance.pk, is_done=True))

    def delete(self, instance: Model, using: str) -> None:
        """Before rows are deleted, while it can be said to whom they belong."""
        unit, model = get_unit(), type(instance)
        if is_off():
            return
        rows: list[Model] = [instance]
        if unit is not None:
            if (self, "deleted", model) in unit.notes:
                return
            unit.notes[self, "deleted", model] = True
            rows = list(get_together(instance))
        for path in self.get_paths(model):
            known = [(row, self._get_key(row, path.first, using)) for row in rows]
            lacking = [row.pk for row, key in known if key is UNKNOWN]
            keys = {key for _, key in known if key is not UNKNOWN and key is not None}
            if len(path.steps) == 1:
                self._note_keys(path, keys, using)
            elif keys:
                self._note_found(path, path.find(path.select(keys, using), using), using)
            if lacking:
                q = path.select_from("pk", lacking, using)
                self._note_found(path, path.find(q, using), using)

    def link(self, change: LinkChange, using: str) -> None:
        """Links of rows have been made, or are about to end: those rows have changed."""
        if change.action == "pre_add" or is_off():
            return
        attname = change.relation.get_attname(SOURCE)
        for concrete, model in self._linked.get(change.relation.field, {}).items():
            for key in change.get_keys(SOURCE):
                self._note(Touch(using, concrete, None, attname, key))
                for path in self.get_paths(model):
                    self._note(Touch(using, path.target, path, attname, key))

    def update(
        self,
        queryset: QuerySet[Any],
        rows: Iterable[Model] | None,
        values: Mapping[str, Any],
        using: str,
    ) -> None:
        """Before an update of what ``queryset`` finds; ``rows``: what it is, if that was read."""
        paths = self.get_paths(queryset.model)
        if not paths or is_off():
            return
        names = [field.attname for field in self.get_keys(queryset.model)]
        if rows is None:
            found: Iterable[tuple[Any, ...]] = (
                queryset.using(using).order_by().values_list(*names).distinct()
            )
        else:
            found = {tuple(row.__dict__.get(name) for name in names) for row in rows}
        before = [dict(zip(names, keys, strict=True)) for keys in found]
        for path in paths if before else ():
            keys = {row[path.first.attname] for row in before}
            if path.first.name in values:
                keys.add(_get_given_key(path.first, values[path.first.name]))
            self._note_keys(path, keys, using)

    # What it belongs to

    def _get_old(self, instance: Model, using: str) -> Mapping[str, Any] | None:
        """The foreign keys that the row has; None if there is none yet."""
        columns = self._get_columns(type(instance))
        loaded = get_loaded_row(instance, columns, using)
        if loaded is not None and not any(
            value is UNKNOWN and name in instance.__dict__ for name, value in loaded.items()
        ):
            return loaded
        return get_old_row(instance, using)

    def _get_key(self, row: Model, field: Any, using: str) -> Any:
        """What the foreign key of a stored row holds."""
        loaded = get_loaded_row(row, [get_columns(type(row))[field.attname]], using)
        known = UNKNOWN if loaded is None else loaded[field.attname]
        return row.__dict__.get(field.attname, UNKNOWN) if known is UNKNOWN else known

    def _get_columns(self, model: type[Model]) -> list[Column]:
        columns = get_columns(model)
        return [columns[field.attname] for field in self.get_keys(model)]

    def _list_targets(self) -> Iterator[type[Model]]:
        paths = [path for found in self._paths.values() for path in found]
        return iter(dict.fromkeys(path.target for path in paths))

    def _note_keys(self, path: Path, keys: Iterable[Any], using: str) -> None:
        for key in keys:
            if key is not None and key is not UNKNOWN and not hasattr(key, "resolve_expression"):
                self._note(Touch(using, path.target, path, "", key))

    def _note_found(self, path: Path, pks: Iterable[Any], using: str) -> None:
        for pk in pks:
            self._note(Touch(using, path.target, None, "pk", pk))


def _get_given_key(field: Any, value: Any) -> Any:
    return getattr(value, field.target_field.attname) if isinstance(value, Model) else value
