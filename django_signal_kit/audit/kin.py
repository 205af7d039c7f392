"""Whose entries speak of a row: that of a multi-table child is in several tables, and each of them
may be written by itself, under a key of its own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, TypeAlias

from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.db.models import Field, Model, Q, QuerySet

from django_signal_kit.audit.decoding import NotDecodable, decode
from django_signal_kit.audit.keys import get_key_writer
from django_signal_kit.rows.values import to_json

Relation: TypeAlias = Literal["own", "child", "parent", "sibling"]


class Target(NamedTuple):
    """A row, and the alias of its database."""

    model: type[Model]
    pk: Any
    using: str


class KeyLostError(LookupError):
    """Nothing tells which row of a parent's table belongs to a row that is gone."""


class Family:
    """The models that share a table with ``model``, and their kinds in the database ``alias``."""

    def __init__(self, model: type[Model], alias: str) -> None:
        self.model: type[Model] = model._meta.concrete_model or model
        self.fields: dict[str, Field[Any, Any]] = {
            field.name: field for field in self.model._meta.concrete_fields
        }
        self.others = dict(_list_shared(self.model))
        manager = ContentType.objects.db_manager(alias)
        self.kinds = manager.get_for_models(self.model, *self.others)
        self.models = {kind.pk: model for model, kind in self.kinds.items()}
        #: The names of all that each of them has.
        self.names = {
            model: {field.name for field in model._meta.get_fields()} for model in self.kinds
        }
        self.to_key = {model: get_key_writer(model) for model in self.kinds}


class Kin:
    """The models that share a table with the row ``target``, and its keys there. ``today``: its
    columns, or None if it is gone. ``family``: that of the model, if it is at hand."""

    def __init__(
        self,
        log: QuerySet[Any],
        target: Target,
        today: dict[str, Any] | None,
        family: Family | None = None,
    ) -> None:
        self.log = log
        self.target = target
        self.today = today
        self.family = family = family or Family(target.model, log.db)
        self.model, self.fields = family.model, family.fields
        self.kinds, self.models = family.kinds, family.models
        #: (Content type, key) -> the models whose tables its row shares with the target's.
        self.shares: dict[tuple[Any, str], set[type[Model]]] = defaultdict(set)
        self.ancestors: dict[Any, set[type[Model]]] = defaultdict(set)
        self._add(self.model, self.model, {target.pk})
        for model, shared in family.others.items():
            for ancestor in shared:
                self._add(model, ancestor, self._find_keys(model, ancestor))

    def get_filter(self) -> Q:
        """What finds the entries about the row, and those about whole statements, which name no
        row."""
        keys = {kind: {""} for kind in self.ancestors}
        for kind, key in self.shares:
            keys[kind].add(key)
        # Most often all have the same key.
        by_keys = defaultdict(list)
        for kind, some in keys.items():
            by_keys[frozenset(some)].append(kind)
        found = Q()
        for texts, kinds in by_keys.items():
            found |= Q(content_type__in=kinds, object_pk__in=sorted(texts))
        return found

    def get_relation(self, kind: Any) -> Relation:
        """Is an entry of this kind about a row of our model, of a parent's, of a child's, or of
        another child's of the same parent?"""
        model = self.models[kind]
        if model is self.model:
            return "own"
        if issubclass(model, self.model):
            return "child"
        return "parent" if issubclass(self.model, model) else "sibling"

    def split(self, kind: Any, key: str, changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """What an entry tells of the row: by the fields of today, and by names that no field of
        its model has any more."""
        model = self.models[kind]
        # A statement is about rows of all keys.
        shared = self.shares.get((kind, key)) or self.ancestors[kind]
        in_line = self.get_relation(kind) != "sibling"
        present = self.family.names[model]
        told, gone = {}, {}
        for name, change in changes.items() if isinstance(changes, dict) else ():
            if not isinstance(change, list) or len(change) != 2:
                continue
            field = self.fields.get(name)
            if field is not None and (
                any(issubclass(ancestor, field.model) for ancestor in shared)
                # It has moved from the table of a parent to that of a child, or up.
                or (in_line and name not in present)
            ):
                told[name] = change
            elif name not in present:
                gone[name] = change
        return told, gone

    def _add(self, model: type[Model], ancestor: type[Model], keys: set[Any]) -> None:
        kind = self.kinds[model].pk
        self.ancestors[kind].add(ancestor)
        for key in keys:
            self.shares[kind, self.family.to_key[model](key)].add(ancestor)

    def _find_keys(self, model: type[Model], ancestor: type[Model]) -> set[Any]:
        """The keys of the rows of ``model`` that are in one row of ``ancestor`` with ours."""
        keys = self._find_own_keys(ancestor)
        if model is ancestor or _has_key_of(model, ancestor):
            return keys
        name = ancestor._meta.pk.name
        rows: QuerySet[Any] = QuerySet(model, using=self.target.using)
        found = set(rows.filter(**{f"{name}__in": keys}).values_list("pk", flat=True))
        entries = self.log.filter(content_type=self.kinds[model], using=self.target.using)
        for key in map(to_json, keys):
            # Rows that are gone, too.
            told = Q(**{f"changes__{name}__0": key}) | Q(**{f"changes__{name}__1": key})
            found.update(
                model._meta.pk.to_python(text)
                for text in entries.filter(told).values_list("object_pk", flat=True)
            )
        return found

    def _find_own_keys(self, ancestor: type[Model]) -> set[Any]:
        """Our key in the table of ``ancestor``, or, if the row is gone, those that it had."""
        field = ancestor._meta.pk
        if ancestor is self.model or _has_key_of(self.model, ancestor):
            return {self.target.pk}
        if self.today is not None:
            return {self.today[field.attname]}
        entries = self.log.filter(
            content_type=self.kinds[self.model],
            object_pk=self.family.to_key[self.model](self.target.pk),
            using=self.target.using,
            action__in=("create", "delete"),
        )
        found = set()
        for changes in (told := list(entries.values_list("changes", flat=True))):
            for value in changes.get(field.name, ()) if isinstance(changes, dict) else ():
                try:
                    found.add(decode(field, value))
                except NotDecodable:
                    continue
        found.discard(None)
        if told and not found:
            raise KeyLostError(
                f"The row of {self.model._meta.label} with the key {self.target.pk!r} is gone, "
                f"and no entry tells {field}, its key as a {ancestor._meta.object_name}."
            )
        return found


def _list_shared(model: type[Model]) -> Iterator[tuple[type[Model], list[type[Model]]]]:
    """Each other model that may share a row with ``model``, and the nearest of the models whose
    tables both are in."""
    line = [model, *(parent for parent in model._meta.get_parent_list() if not _is_proxy(parent))]
    for other in apps.get_models():
        if other is model or _is_proxy(other):
            continue
        shared = [ancestor for ancestor in line if issubclass(other, ancestor)]
        nearest = [
            ancestor
            for ancestor in shared
            if not any(found is not ancestor and issubclass(found, ancestor) for found in shared)
        ]
        if nearest:
            yield other, nearest


def _is_proxy(model: type[Model]) -> bool:
    return bool(model._meta.proxy)


def _has_key_of(model: type[Model], ancestor: type[Model]) -> bool:
    """Is the key of a row of ``model`` that of its row in the table of ``ancestor``?"""
    while (link := model._meta.pk.remote_field) is not None and link.parent_link:
        model = link.model
        if model._meta.concrete_model is ancestor:
            return True
    return False
