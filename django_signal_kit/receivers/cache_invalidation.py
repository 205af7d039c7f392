"""Drops from the cache what a change made wrong."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from string import Formatter
from typing import Any

from django.conf import settings
from django.core.cache import caches
from django.core.cache.utils import make_template_fragment_key
from django.core.exceptions import FieldDoesNotExist
from django.db import connections
from django.db.models import Field, Model, QuerySet

from django_signal_kit.batching import get_unit
from django_signal_kit.exceptions import Misconfigured, did_you_mean
from django_signal_kit.receiver import ModelReceiver
from django_signal_kit.registry import registry
from django_signal_kit.senders import Coverage
from django_signal_kit.snapshots import Row, get_new_row, get_old_row

logger = logging.getLogger("django_signal_kit")


class CacheInvalidation(ModelReceiver):
    """Deletes cache keys that are built from a changed row, from its old and its new values.

    When the unit of work ends (so that the writer reads what he wrote) and again after the commit
    (another reader may have stored the old row meanwhile), each time with one ``delete_many`` a
    cache. A cache that is down is logged and never fails the write.
    """

    #: Templates over a row: ``"product:{pk}"``, ``"category:{category_id}:products"``. Anything
    #: but the key costs a query before each save, for the old value.
    keys: Sequence[str] = ()
    #: Names of ``{% cache %}`` fragments -> templates of what they vary on.
    fragments: Mapping[str, Sequence[str]] = {}
    #: Aliases of the caches to delete from.
    caches: Sequence[str] = ("default",)
    #: Names of the only fields whose change matters in an update; any if empty. Costs a query
    #: before each save.
    fields: Sequence[str] = ()

    def get_keys(self, instance: Any) -> Iterable[str]:
        """The keys that hold something of ``instance``, an instance of the model. Called with
        the new values and, for an update or a deletion, with the old ones."""
        values = _Attributes(instance)
        for template in self.keys:
            yield template.format_map(values)
        for name, vary_on in self.fragments.items():
            yield make_template_fragment_key(
                name, [template.format_map(values) for template in vary_on]
            )

    def invalidate(self, keys: Sequence[str]) -> None:
        """Delete ``keys`` from each of the caches. What a cache raises is logged."""
        for alias in self.caches:
            try:
                caches[alias].delete_many(keys)
            except Exception:
                logger.exception("%s could not delete %s from cache %r", self.name, keys, alias)

    def pre_save(self, instance: Model, using: str, **kwargs: Any) -> None:
        if self.get_old_fields(type(instance)):
            get_old_row(instance, using)

    def post_save(
        self, instance: Model, created: bool, update_fields: Any, using: str, **kwargs: Any
    ) -> None:
        old = None
        if not created and self.get_old_fields(type(instance)):
            old = get_old_row(instance, using)
        if old is not None and self.fields and not self._matters(instance, old, using):
            return
        if any(hasattr(value, "resolve_expression") for value in vars(instance).values()):
            # Only the database knows the new values yet.
            rows: QuerySet[Any] = QuerySet(type(instance), using=using)
            instance = rows.get(pk=instance.pk)
        self._collect(instance, using)
        if old is not None:
            self._collect(_make_instance(type(instance), instance.pk, old, using), using)

    def pre_delete(self, instance: Model, using: str, **kwargs: Any) -> None:
        if self.get_old_fields(type(instance)):
            get_old_row(instance, using)

    def post_delete(self, instance: Model, using: str, **kwargs: Any) -> None:
        self._collect(instance, using)
        if self.get_old_fields(type(instance)):
            old = get_old_row(instance, using)
            if old is not None:
                self._collect(_make_instance(type(instance), instance.pk, old, using), using)

    def m2m_changed(
        self,
        sender: type[Model],
        instance: Model,
        action: str,
        reverse: bool,
        model: type[Model],
        pk_set: set[Any] | None,
        using: str,
        **kwargs: Any,
    ) -> None:
        if action.startswith("post_") and registry.covers(self, type(instance)):
            self._collect(instance, using)
        if not registry.covers(self, model):
            return
        if action == "pre_clear":
            others = list(_get_linked(sender, instance, reverse, model, using))
            unit = get_unit()
            if unit is not None:
                unit.notes[self, sender, id(instance)] = others
        elif action == "post_clear":
            unit = get_unit()
            others = [] if unit is None else unit.notes.pop((self, sender, id(instance)), [])
            for other in others:
                self._collect(other, using)
        elif action.startswith("post_") and pk_set:
            rows: QuerySet[Any] = QuerySet(model, using=using)
            for other in rows.filter(pk__in=pk_set):
                self._collect(other, using)

    def flush(self, items: list[Any]) -> None:
        """Delete the collected keys, with one ``delete_many`` a cache."""
        self.invalidate(items)

    def check(self) -> None:
        for alias in self.caches:
            if alias not in settings.CACHES:
                raise Misconfigured(
                    "E012",
                    f"The option 'caches' of {self.name} has {alias!r}, which is not in CACHES.",
                    did_you_mean(alias, settings.CACHES),
                )
        try:
            names = self._get_names()
        except ValueError as error:
            raise Misconfigured(
                "E012",
                f"A template of {self.name} cannot be read: {error}.",
                "Write templates such as 'product:{pk}'.",
            ) from error
        for model in Coverage(self).get_models():
            for name in (*names, *self.fields):
                if not hasattr(model, name):
                    raise Misconfigured(
                        "E012",
                        f"{self.name} names {name!r}, and {model._meta.label} has no such "
                        f"attribute.",
                        did_you_mean(name, [field.name for field in model._meta.fields]),
                    )

    def get_old_fields(self, model: type[Model]) -> list[Field[Any, Any]]:
        """The columns that the keys are made of: all, if what makes them is not known here."""
        if type(self).get_keys is not CacheInvalidation.get_keys:
            return list(model._meta.concrete_fields)
        fields: list[Field[Any, Any]] = []
        for name in (*self._get_names(), *self.fields):
            if name in ("pk", model._meta.pk.name):
                continue
            try:
                field: Any = model._meta.get_field(name)
            except FieldDoesNotExist:
                field = next((f for f in model._meta.concrete_fields if f.attname == name), None)
            if field is None or not getattr(field, "concrete", False) or field.many_to_many:
                return list(model._meta.concrete_fields)
            fields.append(field)
        return fields

    def get_m2m_fields(self, model: type[Model]) -> list[Any]:
        """Both sides: a page of either may show the other."""
        relations = [rel for rel in model._meta.related_objects if rel.many_to_many]
        return [*super().get_m2m_fields(model), *relations]

    def _get_names(self) -> list[str]:
        templates = [*self.keys, *(part for parts in self.fragments.values() for part in parts)]
        names = [
            name.split(".")[0].split("[")[0]
            for template in templates
            for _, name, _, _ in Formatter().parse(template)
            if name is not None
        ]
        return list(dict.fromkeys(names))

    def _matters(self, instance: Model, old: Row, using: str) -> bool:
        fields: list[Any] = [instance._meta.get_field(name) for name in self.fields]
        new = get_new_row(instance, fields, using)
        return any(old[field.attname] != new[field.attname] for field in fields)

    def _collect(self, instance: Model, using: str) -> None:
        is_open = connections[using].in_atomic_block
        for key in self.get_keys(instance):
            self.collect(key, key=key, using=using)
            if is_open:
                self.collect(key, key=key, flush_on="before_commit", using=using)


class _Attributes(Mapping[str, Any]):
    """An object's attributes as str.format_map() wants them."""

    def __init__(self, instance: object) -> None:
        self.instance = instance

    def __getitem__(self, name: str) -> Any:
        return getattr(self.instance, name)

    def __iter__(self) -> Iterator[str]:
        return iter(vars(self.instance))

    def __len__(self) -> int:
        return len(vars(self.instance))


def _make_instance(model: type[Model], pk: Any, row: Row, using: str) -> Model:
    """An instance with the values of ``row``; other columns are deferred."""
    values = dict(row)
    for field in model._meta.pk_fields:
        values.setdefault(field.attname, None)
    instance = model.from_db(using, list(values), list(values.values()))
    if instance.pk is None:
        instance.pk = pk
    return instance


def _get_linked(
    through: type[Model], instance: Model, reverse: bool, model: type[Model], using: str
) -> QuerySet[Any]:
    """The rows on the other side of a many-to-many relation."""
    declaring = model if reverse else type(instance)
    field: Any = next(
        field
        for field in declaring._meta.many_to_many
        if field.remote_field.through is through
    )
    name = field.name if reverse else field.related_query_name()
    rows: QuerySet[Any] = QuerySet(model, using=using)
    return rows.filter(**{name: instance.pk})
